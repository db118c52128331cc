"""One recording through each of the seven doors, and each job read through every door that can be read."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import require_services
from tests.contracts.conftest import Line
from tests.e2e.conftest import MICRO_WHISPER
from tests.support.amqp_client import AmqpClient
from tests.support.broker import RabbitMQServer, is_installed
from tests.support.by_curl import plain
from tests.support.receiver import Received, receiving, response
from tests.support.waiting import eventually
from tests.support.whole import Whole, whole_platform

JOBS = "/api/transcribe/jobs"

Door = Callable[[httpx.AsyncClient, Path], Awaitable[tuple[str, str | None]]]
"""Sends the recording: the job's id, and the text where the door itself answers with it."""
Reader = Callable[[httpx.AsyncClient, str], Awaitable[str]]


@pytest.fixture(scope="module")
def broker() -> AsyncIterator[RabbitMQServer]:
    if not is_installed() and not require_services():
        pytest.skip("needs rabbitmq-server: make ci-services")
    with RabbitMQServer() as server:
        yield server


@pytest.fixture(scope="module")
def recording(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In a folder whose files may be requested by message."""
    return Path(shutil.copy(shared_data / "en" / "riva_en-US_sample.wav", tmp_path_factory.mktemp("served")))


@pytest.fixture(scope="module")
def whole(broker: RabbitMQServer, recording: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Whole]:
    environ = {
        "WHISPER_MODEL": str(MICRO_WHISPER),
        "WHISPER_DEVICE": "cpu",
        "WORKERS_COUNT": "1",
        "MODELS_OFFLINE": "1",
        "RABBITMQ_URL": broker.url,
        "AUDIO_FILE_ROOTS": str(recording.parent),
        "AUDIO_URL_ALLOW_HTTP": "1",
        "AUDIO_URL_ALLOW_PRIVATE": "1",
    }
    with whole_platform(tmp_path_factory.mktemp("doors"), **environ) as platform:
        yield platform


@pytest.fixture
async def client(whole: Whole) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=whole.url, timeout=120) as client:
        yield client


def sent(recording: Path) -> dict[str, tuple[str, bytes]]:
    return {"file": (recording.name, recording.read_bytes())}


async def answered(response: Awaitable[httpx.Response]) -> dict[str, Any]:
    answer = (await response).raise_for_status()
    said: dict[str, Any] = answer.json()
    return said


# The doors


async def native(client: httpx.AsyncClient, recording: Path) -> tuple[str, str | None]:
    return (await answered(client.post(f"{JOBS}/transcribe", files=sent(recording))))["job_id"], None


async def streaming(client: httpx.AsyncClient, recording: Path) -> tuple[str, str | None]:
    return (await answered(client.post("/transcribe", files=sent(recording))))["job_id"], None


async def subtitles(client: httpx.AsyncClient, recording: Path) -> tuple[str, str | None]:
    job_id = (await answered(client.post("/upload", files=sent(recording))))["job_id"]
    await answered(client.post(f"/jobs/{job_id}/run", json={"output_type": "text"}))
    return job_id, None


async def socket(client: httpx.AsyncClient, recording: Path) -> tuple[str, str | None]:
    job_id = (await answered(client.post("/transcribe-job", files=sent(recording))))["job_id"]
    async with Line.open(str(client.base_url).rstrip("/"), job_id) as line:
        told, _ = await line.hear_all()
    return job_id, told[-1]["data"]["result"]["text"]


async def openai(client: httpx.AsyncClient, recording: Path) -> tuple[str, str | None]:
    form = {"model": "whisper-1"}
    said = await answered(client.post("/v1/audio/transcriptions", files=sent(recording), data=form))
    return said["job_id"], said["text"]


async def by_url(client: httpx.AsyncClient, recording: Path) -> tuple[str, str | None]:
    async def give(_: Received) -> bytes:
        return response(200, "Content-Type: audio/wav", body=recording.read_bytes())

    async with receiving() as server:
        server.answer = give
        job_id = (await answered(client.post(f"{JOBS}/transcribe", json={"audio_url": server.url})))["job_id"]
        await ended(client, job_id)  # a worker fetches it
    return job_id, None


async def by_message(client: httpx.AsyncClient, recording: Path, broker: RabbitMQServer) -> tuple[str, str | None]:
    async with AmqpClient.connected(broker.url) as producer:
        await producer.publish({"attachment_id": 7, "audio_file_path": str(recording), "language": "en"})
        result = (await producer.receive()).said
    newest = (await answered(client.get(JOBS, params={"limit": 1})))["jobs"][0]
    assert (result["attachment_id"], result["success"]) == (7, True)
    return newest["job_id"], result["texto"]


# The readers


async def read_native(client: httpx.AsyncClient, job_id: str) -> str:
    return str((await answered(client.get(f"{JOBS}/result/{job_id}")))["text"])


async def read_words(client: httpx.AsyncClient, job_id: str) -> str:
    said, kind = [], ""
    async with client.stream("GET", f"/transcribe/{job_id}") as stream:
        async for line in stream.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "event":
                kind = value
            elif name == "data" and kind == "delta":
                said.append(json.loads(value)["text"])
    return "".join(said)


async def read_socket(client: httpx.AsyncClient, job_id: str) -> str:
    return str((await answered(client.get(f"/job/{job_id}")))["result"]["text"])


async def read_file(client: httpx.AsyncClient, job_id: str) -> str:
    return (await client.get(f"/jobs/{job_id}/result")).raise_for_status().text


async def read_preview(client: httpx.AsyncClient, job_id: str) -> str:
    return str((await answered(client.get(f"/jobs/{job_id}/preview")))["text"])


READERS: tuple[Reader, ...] = (read_native, read_words, read_socket, read_file, read_preview)


async def ended(client: httpx.AsyncClient, job_id: str) -> None:
    async def has_ended() -> bool:
        status = (await answered(client.get(f"{JOBS}/status/{job_id}")))["status"]
        assert status not in ("failed", "cancelled")
        return bool(status == "completed")

    await eventually(has_ended, within=120)


@pytest.mark.parametrize("door", [native, streaming, subtitles, socket, openai, by_url], ids=lambda door: door.__name__)
async def test_a_job_of_any_door_is_read_through_all(client: httpx.AsyncClient, recording: Path, door: Door) -> None:
    await is_the_same_everywhere(client, recording, *await door(client, recording))


async def test_a_job_by_message_is_read_through_all(
    client: httpx.AsyncClient, recording: Path, broker: RabbitMQServer
) -> None:
    await is_the_same_everywhere(client, recording, *await by_message(client, recording, broker))


async def is_the_same_everywhere(client: httpx.AsyncClient, recording: Path, job_id: str, answer: str | None) -> None:
    await ended(client, job_id)
    read = await asyncio.gather(*(reader(client, job_id) for reader in READERS))
    heard = [text for text in (*read, answer) if text is not None]
    wanted = plain((Path(MICRO_WHISPER).parent.parent / "en" / recording.name).with_suffix(".txt").read_text())
    assert [plain(text) for text in heard] == [wanted] * len(heard)
