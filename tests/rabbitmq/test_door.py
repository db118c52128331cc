"""The door and its broker: what is declared, what is held, and what becomes of it when either goes away."""

import asyncio
import logging
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aio_pika
import asyncpg
import pytest
from pika.exceptions import UnroutableError

from config.settings import Settings
from domain.request_errors import BrokerUnavailable
from rabbitmq.audio_files import AudioFiles
from rabbitmq.main import Door
from services.platform import Platform, open_platform
from tests.conftest import ROOT
from tests.rabbitmq.conftest import numbers, opened, under
from tests.support.amqp_client import EXCHANGES, QUEUES, REQUESTS, RESULTS, RETRIES, AmqpClient
from tests.support.broker import RabbitMQServer
from tests.support.by_message import all_is_told, hear, job_of, jobs_of, request
from tests.support.endpoints import make_due, run_sql
from tests.support.servers import PostgresServer, free_port
from tests.support.waiting import eventually

ATTEMPTS = {"RABBITMQ_CONNECT_ATTEMPTS": "2"}
AROUND = {
    "x-message-ttl": 5000,
    "x-dead-letter-exchange": "whisper_exchange",
    "x-dead-letter-routing-key": "transcription.request",
}

SEED = ROOT.parent / "shared" / "seeds" / "002_3096ff2191e52617.txt"

# What is declared


@pytest.mark.usefixtures("door")
async def test_the_topology_is_declared_as_the_contract_has_it(client: AmqpClient) -> None:
    for exchange in EXCHANGES:
        await client.do(lambda channel, name=exchange: channel.exchange_declare(name, "direct", durable=True))
    for queue in (REQUESTS, RESULTS):
        await client.declare(queue)
    await client.declare(RETRIES, **AROUND)
    for exchange, key in zip(EXCHANGES[1:], ("transcription.result", "transcription.retry"), strict=True):
        await client.do(lambda channel, at=(exchange, key): channel.basic_publish(*at, b"{}", mandatory=True))


async def test_queues_may_be_quorum_queues(environ: dict[str, str], client: AmqpClient) -> None:
    async with opened(under(environ, RABBITMQ_QUEUE_TYPE="quorum")):
        quorum = {"x-queue-type": "quorum"}
        await client.declare(REQUESTS, **quorum, **{"x-delivery-limit": 1_000_000_000})
        await client.declare(RESULTS, **quorum)
        safely = {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}
        await client.declare(RETRIES, **AROUND, **quorum, **safely)


async def test_queues_that_are_there_in_another_way_are_used_as_they_are(
    platform: Platform,
    settings: Settings,
    client: AmqpClient,
    served: Path,
    number: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for queue in QUEUES:
        await client.declare(queue, **{"x-queue-type": "quorum"})
    with caplog.at_level(logging.WARNING):
        async with opened(settings):
            await client.publish(request(number, served))
            await hear(platform, await job_of(platform, number), "texto")
            assert (await client.receive()).said["success"]
    said = [record.getMessage() for record in caplog.records if "used as they are" in record.getMessage()]
    assert len(said) == 3
    assert "inequivalent arg 'x-queue-type'" in said[0]


@pytest.mark.usefixtures("door")
async def test_a_queue_that_is_deleted_is_declared_again(
    platform: Platform, client: AmqpClient, served: Path, number: int
) -> None:
    await client.do(lambda channel: channel.queue_delete(REQUESTS))

    async def arrives() -> bool:
        try:
            await client.publish(request(number, served))
        except UnroutableError:
            return False
        return True

    await eventually(arrives)
    assert await job_of(platform, number)


# What is held


@asynccontextmanager
async def locked(platform: Platform) -> AsyncIterator[None]:
    """Nobody can keep a request meanwhile."""
    url = platform.settings.database.url.get_secret_value().replace("escriba_app@", "postgres@")
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE amqp_requests IN EXCLUSIVE MODE")
            yield
    finally:
        await connection.close()


@pytest.mark.usefixtures("door")
async def test_no_more_is_held_than_there_are_workers_and_nothing_is_acknowledged_before_it_is_kept(
    platform: Platform, client: AmqpClient, served: Path
) -> None:
    workers = platform.settings.workers.count
    asked = [next(numbers) for _ in range(workers + 3)]
    async with locked(platform):
        for number in asked:
            await client.publish(request(number, served))
        await eventually(lambda: waits(client, 3))
        await eventually(lambda: hold_on(platform, workers))
        assert await client.count(REQUESTS) == 3
    for number in asked:
        assert await job_of(platform, number)


async def waits(client: AmqpClient, count: int) -> bool:
    return await client.count(REQUESTS) == count


async def hold_on(platform: Platform, count: int) -> bool:
    return len(await run_sql(platform, "SELECT 1 FROM pg_locks WHERE NOT granted")) == count


async def test_what_was_held_when_the_door_closed_comes_again(
    platform: Platform, environ: dict[str, str], client: AmqpClient, served: Path, number: int
) -> None:
    async with locked(platform):
        async with opened(under(environ, WORKER_GRACE_SEC="0.1")):
            await client.publish(request(number, served))
            await eventually(lambda: hold_on(platform, 1))
        assert await client.count(REQUESTS) == 1
    async with opened(under(environ)):
        assert await job_of(platform, number)
        await eventually(lambda: waits(client, 0))
    assert len(await jobs_of(platform, number)) == 1


# What goes away


@pytest.mark.usefixtures("door")
async def test_a_request_waits_for_the_database(
    platform: Platform, postgres: PostgresServer, client: AmqpClient, served: Path, number: int
) -> None:
    postgres.kill()
    try:
        await client.publish(request(number, served))
        await eventually(lambda: waits(client, 0))
    finally:
        postgres.restart()
    await hear(platform, await job_of(platform, number), "texto")
    assert (await client.receive()).said["success"]


@pytest.mark.parametrize("how", ["kill", "restart"])
@pytest.mark.usefixtures("door")
async def test_the_door_outlives_its_broker(
    platform: Platform, broker: RabbitMQServer, client: AmqpClient, served: Path, number: int, how: str
) -> None:
    await client.publish(request(number, served))
    job_id = await job_of(platform, number)
    if how == "kill":
        broker.kill()
        await hear(platform, job_id, "texto")
    await asyncio.to_thread(broker.restart)
    if how == "restart":
        await hear(platform, job_id, "texto")
    assert (await client.receive()).said["attachment_id"] == number
    another = next(numbers)
    await client.publish(request(another, served))
    assert await job_of(platform, another)


@pytest.mark.usefixtures("door")
async def test_a_result_that_no_queue_wants_is_kept_until_one_does(
    platform: Platform, client: AmqpClient, served: Path, number: int
) -> None:
    at = (RESULTS, "whisper_results_exchange", "transcription.result")
    await client.do(lambda channel: channel.queue_unbind(*at))
    await client.publish(request(number, served))
    await hear(platform, await job_of(platform, number), "texto")

    async def is_unroutable() -> bool:
        return await run_sql(platform, "SELECT 1 FROM deliveries WHERE error = 'unroutable'") != []

    await eventually(is_unroutable)
    await client.do(lambda channel: channel.queue_bind(*at))
    await make_due(platform)
    assert (await client.receive()).said["attachment_id"] == number
    await eventually(lambda: all_is_told(platform))


# The process


@asynccontextmanager
async def process(environ: dict[str, str]) -> AsyncIterator[tuple[asyncio.subprocess.Process, asyncio.Task[bytes]]]:
    """`python -m rabbitmq`, and what it says once it takes requests; b"" where it ends before."""
    reading, writing = os.pipe()
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    started = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "rabbitmq", "--ready-fd", str(writing)),
        env={**kept, **environ, "PYTHONPATH": str(ROOT)},
        pass_fds=(writing,),
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(writing)
    ready = asyncio.create_task(asyncio.to_thread(os.read, reading, 16))
    try:
        yield started, ready
    finally:
        if started.returncode is None:
            started.kill()
            await started.wait()
        await ready
        os.close(reading)


async def test_the_process_says_when_it_is_ready_and_ends_when_asked(
    platform: Platform, environ: dict[str, str], client: AmqpClient, served: Path, number: int
) -> None:
    async with process(environ) as (door, ready):
        assert await ready == b"ready\n"
        await client.publish(request(number, served))
        await job_of(platform, number)
        door.send_signal(signal.SIGTERM)
        _, said = await door.communicate()
    assert door.returncode == 0
    assert str(served) not in said.decode()


async def test_a_start_without_a_broker_is_given_up_with_a_reason(environ: dict[str, str]) -> None:
    url = f"amqp://guest:a-secret@127.0.0.1:{free_port()}/"
    async with process({**environ, **ATTEMPTS, "RABBITMQ_URL": url}) as (door, ready):
        _, said = await door.communicate()
        assert await ready == b""
    assert door.returncode == 1
    assert b"RabbitMQ could not be reached in 2 tries" in said
    assert b"a-secret" not in said


async def test_what_could_not_be_connected_is_closed_all_the_same(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[aio_pika.Connection] = []

    class Remembered(aio_pika.Connection):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            made.append(self)

    monkeypatch.setattr(aio_pika, "Connection", Remembered)
    settings = under(environ, **ATTEMPTS, RABBITMQ_URL=f"amqp://127.0.0.1:{free_port()}/")
    files = AudioFiles(settings.rabbitmq, limit=1)
    async with open_platform(settings, application="rabbitmq") as platform:
        with pytest.raises(BrokerUnavailable):
            await Door(platform, files, None).serve(asyncio.Event())
    await files.close()
    assert [connection.is_closed for connection in made] == [True, True]


# Outside clients


async def run(program: str, *arguments: str) -> asyncio.subprocess.Process:
    command = (sys.executable, "-u", "-c", program, *arguments)
    return await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)


@pytest.mark.usefixtures("door", "shared_data")
async def test_the_two_programs_of_the_contract_run_as_written(
    platform: Platform, broker: RabbitMQServer, served: Path
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", SEED.read_text(encoding="utf-8"), re.DOTALL)
    publish, consume = (
        block.replace("ConnectionParameters('localhost')", f"ConnectionParameters('localhost', {broker.port})").replace(
            "/tmp/shared_audio/audio.mp3", f"{served}/a.wav"
        )
        for block in blocks
    )
    consumer = await run(consume)
    try:
        assert await (await run(publish)).wait() == 0
        await hear(platform, await job_of(platform, 1), "Hola")
        assert consumer.stdout is not None
        async with asyncio.timeout(60):
            assert (await consumer.stdout.readline()).decode() == "[1] Hola\n"
    finally:
        consumer.kill()
        await consumer.wait()


@pytest.mark.usefixtures("door")
async def test_the_consumer_of_the_examples_keeps_a_result_that_comes_twice_once(
    platform: Platform, broker: RabbitMQServer, client: AmqpClient, served: Path, tmp_path: Path
) -> None:
    first, second = next(numbers), next(numbers)
    await client.publish(request(first, served))
    await hear(platform, await job_of(platform, first), "Hola")
    await eventually(lambda: all_is_told(platform))
    await run_sql(platform, "UPDATE deliveries SET state = 'pending', next_at = now()")  # as where a confirm got lost
    await eventually(lambda: all_is_told(platform))
    await client.publish(request(second, served))
    await hear(platform, await job_of(platform, second), "adiós")
    program = (ROOT / "examples/rabbitmq-consumer/results.py").read_text()
    consumer = await run(program, broker.url, str(tmp_path / "results.sqlite"))
    try:
        assert consumer.stdout is not None
        async with asyncio.timeout(60):
            said = [(await consumer.stdout.readline()).decode() for _ in range(2)]
    finally:
        consumer.kill()
        await consumer.wait()
    assert said == [f"{first} Hola\n", f"{second} adiós\n"]
