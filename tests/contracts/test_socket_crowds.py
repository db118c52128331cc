"""Seed 004 over WebSocket: many clients, slow ones, silent ones and dead ones."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from api.dialects.socket_conversation import LARGEST_MESSAGE_BYTES
from domain.lifecycle import JobState
from services import attempts
from services.platform import Platform
from tests.contracts.conftest import Line, announce, api_process, claim
from tests.support.jobs import NOBODY_HEARD, in_state, make_job
from tests.support.servers import RedisServer
from tests.support.waiting import eventually

FEW = 20


async def test_connections_are_counted_by_job_and_no_longer_once_they_close(
    url: str, platform: Platform, client: httpx.AsyncClient
) -> None:
    async def counts() -> Any:
        return (await client.get("/queue/info")).json()["websockets"]

    one, other = await make_job(platform), await make_job(platform)
    before = await counts()
    async with Line.open(url, one) as first, Line.open(url, one) as second, Line.open(url, other) as third:
        for line in (first, second, third):
            await line.hear_until("progress")
        seen = await counts()
        assert seen["total_connections"] == before["total_connections"] + 3
        assert seen["jobs_with_connections"] == before["jobs_with_connections"] + 2
        assert {str(one), str(other)} <= set(seen["active_jobs"])

    async def are_gone() -> bool:
        return bool(await counts() == before)

    await eventually(are_gone)


async def test_two_hundred_clients_are_told_the_end_once_each_though_redis_is_cut_off(
    url: str, platform: Platform, redis: RedisServer
) -> None:
    attempt = await claim(platform, await make_job(platform))
    arrived = asyncio.Semaphore(0)

    async def one() -> list[str]:
        async with Line.open(url, attempt.job_id) as line:
            first = await line.hear_until("progress")
            arrived.release()
            rest, code = await line.hear_all()
            assert code == 1000
            return [message["type"] for message in (*first, *rest)]

    clients = [asyncio.create_task(one()) for _ in range(200)]
    for _ in clients:
        await arrived.acquire()
    redis.stop_signal()
    try:
        await attempts.complete(platform, attempt, NOBODY_HEARD)
        told = await asyncio.gather(*clients)
    finally:
        redis.cont()
    assert all(kinds[0] == "connected" and kinds[-1] == "completed" for kinds in told)
    assert all(kinds.count("completed") == 1 for kinds in told)


async def test_a_slow_client_loses_progress_and_never_the_end(url: str, platform: Platform) -> None:
    """It reads nothing until the job has ended; a client beside it, which reads all, sets the pace."""
    attempt = await claim(platform, await make_job(platform))
    steps, size = 1_500, 10_000  # more than the kernel's buffers hold
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    narrow.setblocking(False)
    host, _, port = url.removeprefix("http://").partition(":")
    await asyncio.get_running_loop().sock_connect(narrow, (host, int(port)))
    unread: dict[str, Any] = {"sock": narrow, "max_queue": 1, "compression": None, "ping_interval": None}
    async with Line.open(url, attempt.job_id, **unread) as slow, Line.open(url, attempt.job_id) as quick:
        await quick.hear_until("progress")
        for step in range(steps):
            await announce(platform, attempt, None, message=f"{step}{'.' * size}")
            assert (await quick.hear())["data"]["message"].startswith(f"{step}.")
        await attempts.complete(platform, attempt, NOBODY_HEARD)
        await quick.hear_until("completed")
        told, code = await slow.hear_all()
    assert (told[-1]["type"], code) == ("completed", 1000)
    assert FEW < len(told) < steps


def limits(environ: dict[str, str]) -> dict[str, str]:
    return {**environ, "WEBSOCKET_PING_INTERVAL": "0.1", "WEBSOCKET_TIMEOUT": "0.5"}


def on_pong(line: Line, what: Callable[[Frame], object]) -> None:
    """Have `what` done instead of answering a ping."""
    protocol, send = line.connection.protocol, line.connection.protocol.send_frame
    protocol.send_frame = lambda frame: what(frame) if frame.opcode == Opcode.PONG else send(frame)  # type: ignore


async def test_a_client_that_answers_pings_stays_however_silent_it_is(
    platform: Platform, environ: dict[str, str], url: str
) -> None:
    attempt = await claim(platform, await make_job(platform))
    pongs: list[Frame] = []
    async with api_process(limits(environ)) as api, Line.open(api, attempt.job_id, ping_interval=None) as line:
        send = line.connection.protocol.send_frame

        def answer(frame: Frame) -> None:
            pongs.append(frame)
            send(frame)

        on_pong(line, answer)
        await line.hear_until("progress")
        await eventually(lambda: len(pongs) > 8)  # for longer than WEBSOCKET_TIMEOUT
        await attempts.complete(platform, attempt, NOBODY_HEARD)
        told, code = await line.hear_all()
    assert (told[-1]["type"], code) == ("completed", 1000)


async def test_a_client_that_answers_no_ping_is_hung_up_on(
    platform: Platform, environ: dict[str, str], url: str
) -> None:
    job_id = await in_state(platform, JobState.PROCESSING)
    async with api_process(limits(environ)) as api, Line.open(api, job_id, ping_interval=None) as line:
        on_pong(line, lambda frame: None)
        told, code = await line.hear_all()
    assert told[0]["type"] == "connected"
    assert code == 1011


async def test_a_message_that_is_too_long_is_refused(platform: Platform, environ: dict[str, str], url: str) -> None:
    job_id = await in_state(platform, JobState.PROCESSING)
    async with api_process(environ) as api, Line.open(api, job_id) as line:
        await line.hear_until("progress")
        await line.say(" " * (LARGEST_MESSAGE_BYTES - 20) + '{"type": "ping"}')
        assert (await line.hear_until("pong"))[-1]["type"] == "pong"
        with pytest.raises(ConnectionClosed):
            await line.say(" " * (LARGEST_MESSAGE_BYTES + 1))
            await line.connection.recv()
        assert line.connection.close_code == 1009
