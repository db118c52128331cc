"""Requests by message: into a job, out with one answer, however often each of them comes."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pika
import pytest
from aio_pika import IncomingMessage
from aio_pika.exceptions import ChannelInvalidStateError

from config.settings import Settings
from domain.access import LOCAL_OWNER
from domain.audio_requests import EXTENSIONS
from domain.errors import DatabaseUnavailable
from domain.lifecycle import JobOptions
from services import submission
from services.platform import Platform
from services.submission import Receipt
from tests.rabbitmq.conftest import opened, under
from tests.support.amqp_client import REQUESTS, AmqpClient
from tests.support.audio import tone
from tests.support.by_message import all_is_told, expect_no_more, hear, is_acked, job_of, jobs_of, request
from tests.support.grown import Grown
from tests.support.jobs import row
from tests.support.waiting import eventually

FIELDS = ["attachment_id", "texto", "duration", "model", "success", "import_batch_id"]

# A request and its result


@pytest.mark.usefixtures("door")
async def test_a_request_is_answered_as_the_contract_has_it(
    platform: Platform, client: AmqpClient, served: Path, number: int
) -> None:
    await client.publish(request(number, served, language="es", import_batch_id=7))
    job_id = await job_of(platform, number)
    await hear(platform, job_id, "Hola, esto es una prueba.")
    result = await client.receive()
    assert list(result.said) == FIELDS
    assert result.said == {
        "attachment_id": number,
        "texto": "Hola, esto es una prueba.",
        "duration": 12.45,
        "model": "base",
        "success": True,
        "import_batch_id": 7,
    }
    assert result.properties.delivery_mode == 2
    assert result.properties.content_type == "application/json"
    assert result.properties.message_id
    await expect_no_more(platform, client)


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize(
    ("said", "language"),
    [({"language": "es"}, "es"), ({"language": ""}, None), ({}, None), ({"language": None}, None)],
    ids=str,
)
async def test_the_language_is_as_said_or_found_out(
    platform: Platform, client: AmqpClient, served: Path, number: int, said: dict[str, Any], language: str | None
) -> None:
    await client.publish(request(number, served, **said))
    job_id = await job_of(platform, number)
    kept = JobOptions.model_validate((await row(platform, job_id))["engine_params"])
    assert kept.language == language
    await hear(platform, job_id, "texto")
    assert (await client.receive()).said["import_batch_id"] is None


@pytest.mark.usefixtures("door")
async def test_the_job_is_the_platforms_own_and_tried_once_by_itself(
    platform: Platform, client: AmqpClient, served: Path, number: int
) -> None:
    await client.publish(request(number, served))
    job_id = await job_of(platform, number)
    kept = await row(platform, job_id)
    assert (kept["owner"], kept["max_retries"], kept["parent_job_id"]) == (LOCAL_OWNER, 0, None)
    assert kept["source_bytes"] == (served / "a.wav").stat().st_size
    await hear(platform, job_id, "texto")
    await client.receive()


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize("ending_", EXTENSIONS)
async def test_each_of_the_eight_endings_is_taken_in_any_case(
    platform: Platform, client: AmqpClient, served: Path, number: int, ending_: str
) -> None:
    name = f"audio{ending_.upper()}"
    (served / name).write_bytes(tone(0.1))
    await client.publish(request(number, served, name))
    await hear(platform, await job_of(platform, number), "texto")
    assert (await client.receive()).said["success"]


# What is wrong with a request is said once, and at once


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize(
    ("body", "attachment_id"),
    [
        (b"", 0),
        (b"\xff\xfe", 0),
        (b"[1, 2]", 0),
        (b"[" * 50_000, 0),
        (b'{"attachment_id": "12", "audio_file_path": "/a.wav"}', 0),
        (b'{"attachment_id": true, "audio_file_path": "/a.wav"}', 0),
        (b'{"attachment_id": 12.5, "audio_file_path": "/a.wav"}', 0),
        (b'{"attachment_id": 1%s, "audio_file_path": "/a.wav"}' % (b"0" * 5000), 0),
        (b'{"attachment_id": 9223372036854775808, "audio_file_path": "/a.wav"}', 0),
        (b'{"audio_file_path": "/a.wav"}', 0),
        (b'{"attachment_id": 12}', 12),
        (b'{"attachment_id": 12, "audio_file_path": null}', 12),
        (b'{"attachment_id": 12, "audio_file_path": 7}', 12),
        (b'{"attachment_id": 12, "audio_file_path": "/a.wav", "language": 7}', 12),
        (b'{"attachment_id": 12, "audio_file_path": "/a.wav", "import_batch_id": "x"}', 12),
        (b'{"attachment_id": 12, "audio_file_path": "/a.wav", "retry_count": -1}', 12),
        (b'{"attachment_id": 12, "audio_file_path": "/a.wav", "pad": "%s"}' % (b"x" * 70_000), 0),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_a_malformed_message_gets_one_error_result(
    platform: Platform, client: AmqpClient, body: bytes, attachment_id: int
) -> None:
    await client.publish(body)
    said = (await client.receive()).said
    assert list(said) == [*FIELDS, "error_message"]
    assert said["error_message"].startswith("this message is no request: ")
    assert {**said, "error_message": ""} == {
        "attachment_id": attachment_id,
        "texto": "",
        "duration": 0,
        "model": "base",
        "success": False,
        "import_batch_id": None,
        "error_message": "",
    }
    await expect_no_more(platform, client)


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("nothing.wav", "Audio file not found"),
        ("folder.wav", "Audio file not found"),
        ("link.wav", "Audio file not found"),
        ("../a.wav", "audio_file_path is not an absolute path"),
        ("a.txt", "ends in none of"),
        ("a", "ends in none of"),
        ("empty.wav", "the file is empty"),
        ("large.wav", "over the limit"),
    ],
)
async def test_what_cannot_be_read_gets_one_error_result(
    platform: Platform, client: AmqpClient, served: Path, number: int, name: str, complaint: str
) -> None:
    (served / "folder.wav").mkdir(exist_ok=True)
    (served / "link.wav").unlink(missing_ok=True)
    (served / "link.wav").symlink_to("a.wav")
    for plain in ("a.txt", "a"):
        (served / plain).write_bytes(tone(0.1))
    (served / "empty.wav").touch()
    with (served / "large.wav").open("wb") as large:
        large.truncate(platform.settings.api.max_file_size_bytes + 1)
    await client.publish(request(number, served, name, import_batch_id=7))
    said = (await client.receive()).said
    assert (said["attachment_id"], said["import_batch_id"], said["success"]) == (number, 7, False)
    assert complaint in said["error_message"]
    assert str(served) not in said["error_message"]
    assert await jobs_of(platform, number) == []
    await expect_no_more(platform, client)


@pytest.mark.usefixtures("door")
async def test_what_no_engine_can_honour_gets_one_error_result(
    platform: Platform, client: AmqpClient, served: Path, number: int
) -> None:
    await client.publish(request(number, served, language="no language at all"))
    assert "BCP 47" in (await client.receive()).said["error_message"]
    await expect_no_more(platform, client)


async def test_without_a_folder_that_is_served_every_request_gets_an_error_result(
    environ: dict[str, str], client: AmqpClient, served: Path, number: int
) -> None:
    async with opened(under(environ, AUDIO_FILE_ROOTS="")):
        await client.publish(request(number, served))
        assert "AUDIO_FILE_ROOTS" in (await client.receive()).said["error_message"]


async def test_a_job_belongs_to_the_owner_of_the_folder(
    environ: dict[str, str], platform: Platform, client: AmqpClient, served: Path, number: int
) -> None:
    async with opened(under(environ, AUDIO_FILE_ROOTS=f"{served}=ana")):
        await client.publish(request(number, served))
        job_id = await job_of(platform, number)
        assert (await row(platform, job_id))["owner"] == "ana"
        await hear(platform, job_id, "texto")
        assert (await client.receive()).said["success"]


@pytest.mark.usefixtures("door")
async def test_what_comes_and_what_goes_is_counted(
    platform: Platform, client: AmqpClient, served: Path, number: int
) -> None:
    grown = Grown()
    await client.publish(request(number, served))
    await client.publish(request(number, served))
    await client.publish(request(number, served, "nothing.wav"))
    await client.receive()
    await eventually(lambda: has_taken_all(client))
    await hear(platform, await job_of(platform, number), "texto")
    await client.receive()
    await eventually(lambda: all_is_told(platform))
    for outcome in ("accepted", "repeated", "audio_file_not_found"):
        assert grown("message_requests_total", outcome=outcome) == 1
    assert grown("delivery_attempts_total", destination="rabbitmq", outcome="delivered") == 2


# A request that comes again


@pytest.mark.usefixtures("door")
async def test_a_request_that_comes_again_before_it_is_answered_is_the_same(
    platform: Platform, client: AmqpClient, served: Path, number: int
) -> None:
    for _ in range(3):
        await client.publish(request(number, served))
    await eventually(lambda: has_taken_all(client))
    await hear(platform, await job_of(platform, number), "texto")
    await client.receive()
    await expect_no_more(platform, client)
    assert len(await jobs_of(platform, number)) == 1


async def has_taken_all(client: AmqpClient) -> bool:
    return await client.count(REQUESTS) == 0


@pytest.mark.usefixtures("door")
async def test_without_a_name_a_request_that_comes_again_once_answered_is_another(
    platform: Platform, client: AmqpClient, served: Path, number: int
) -> None:
    ids = set()
    for n in (1, 2):
        await client.publish(request(number, served))
        await hear(platform, await job_of(platform, number, number=n), "texto")
        ids.add((await client.receive()).properties.message_id)
        await eventually(lambda: all_is_told(platform))
        await eventually(lambda: is_acked(platform, number))
    assert len(ids) == 2


@pytest.mark.usefixtures("door")
async def test_with_a_name_a_request_is_the_same_for_ever(
    platform: Platform, client: AmqpClient, served: Path, number: int
) -> None:
    await client.publish(request(number, served), message_id=f"visit {number}")
    await hear(platform, await job_of(platform, number), "texto")
    await client.receive()
    await client.publish(request(number, served), message_id=f"visit {number}")
    await expect_no_more(platform, client)
    assert len(await jobs_of(platform, number)) == 1


@pytest.mark.usefixtures("door")
async def test_one_name_for_two_requests_makes_them_no_one(
    platform: Platform, client: AmqpClient, served: Path, number: int
) -> None:
    await client.publish(request(number, served), message_id="the same")
    await client.publish(request(number, served, import_batch_id=7), message_id="the same")
    assert await job_of(platform, number, number=2)


async def test_a_message_that_was_kept_and_never_acknowledged_makes_no_second_result(
    platform: Platform,
    settings: Settings,
    client: AmqpClient,
    served: Path,
    number: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its door died in between, and the job had been answered by the time that the broker sent it again."""

    async def gets_lost(*_: object, **__: object) -> None:
        raise ChannelInvalidStateError("the connection was lost")

    async with opened(settings):
        monkeypatch.setattr(IncomingMessage, "ack", gets_lost)
        await client.publish(request(number, served))
        await hear(platform, await job_of(platform, number), "texto")
        await client.receive()
        await eventually(lambda: all_is_told(platform))
    monkeypatch.undo()
    assert await client.count(REQUESTS) == 1
    async with opened(settings):
        await expect_no_more(platform, client)
    assert len(await jobs_of(platform, number)) == 1


async def test_a_request_whose_commit_was_not_heard_of_makes_no_second_job(
    platform: Platform,
    settings: Settings,
    client: AmqpClient,
    served: Path,
    number: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """PostgreSQL went away behind it, and the job had been answered by the time that the door tried again."""
    submit, answered = submission.submit, asyncio.Event()

    async def is_not_heard_of(*args: Any, **more: Any) -> Receipt:
        receipt = await submit(*args, **more)
        if answered.is_set():
            return receipt
        await answered.wait()
        raise DatabaseUnavailable

    monkeypatch.setattr(submission, "submit", is_not_heard_of)
    async with opened(settings):
        await client.publish(request(number, served))
        await hear(platform, await job_of(platform, number), "texto")
        await client.receive()
        await eventually(lambda: all_is_told(platform))
        answered.set()
        await eventually(lambda: is_acked(platform, number))
        await expect_no_more(platform, client)
    assert len(await jobs_of(platform, number)) == 1


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize(
    "properties",
    [
        {"message_id": b"petici\xf3n"},
        {"timestamp": 1_764_481_024_000_000_000},
        {"headers": {b"a\xf1o": "2026"}},
    ],
    ids=["a name", "a time", "the name of a header"],
)
async def test_a_message_whose_properties_nobody_can_read_holds_up_no_other(
    platform: Platform, client: AmqpClient, served: Path, number: int, properties: dict[str, Any]
) -> None:
    words, odd = json.dumps(request(number, served)).encode(), pika.BasicProperties(delivery_mode=2, **properties)
    await client.do(lambda channel: channel.basic_publish("whisper_exchange", "transcription.request", words, odd))
    await client.publish(request(number, served, import_batch_id=8))
    for n in (1, 2):
        await hear(platform, await job_of(platform, number, number=n), "texto")
    assert {(await client.receive()).said["import_batch_id"] for _ in range(2)} == {None, 8}


async def test_another_request_that_the_broker_sends_again_is_no_answered_one(
    platform: Platform, settings: Settings, client: AmqpClient, served: Path, number: int
) -> None:
    async with opened(settings):
        await client.publish(request(number, served))
        await hear(platform, await job_of(platform, number), "texto")
        await client.receive()
        await eventually(lambda: all_is_told(platform))
        await eventually(lambda: is_acked(platform, number))
    await client.publish(request(number, served))
    await client.put_back(REQUESTS)
    async with opened(settings):
        assert await job_of(platform, number, number=2)
