"""Submissions that say where the recording is: by form or JSON, taken or refused at once, and shown to nobody."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest

from domain.access import Caller
from services import ending
from services.platform import Platform
from tests.api.conftest import JOBS
from tests.support.audio import tone
from tests.support.endpoints import run_sql
from tests.support.receiver import Received, Receiver, response

Work = Callable[..., Awaitable[None]]

SECOND = tone(1.0)
PUBLIC = "https://93.184.216.34/visit.mp3?sig=shh"
"""Nobody asks for it: there is no worker."""


@pytest.fixture(scope="module")
def environ(environ: dict[str, str]) -> dict[str, str]:
    return {**environ, "AUDIO_URL_ALLOW_HTTP": "1", "AUDIO_URL_ALLOW_PRIVATE": "1"}


@pytest.fixture
def recording(receiver: Receiver) -> str:
    """The URL of one."""

    async def serve(_: Received) -> bytes:
        return response(200, body=SECOND)

    receiver.answer = serve
    return receiver.url


async def submit(client: httpx.AsyncClient, audio_url: str, *, key: str | None = None, **said: Any) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return await client.post(f"{JOBS}/transcribe", json={"audio_url": audio_url, **said}, headers=headers)


async def test_a_recording_is_named_in_json_and_heard(
    client: httpx.AsyncClient, work: Work, receiver: Receiver, recording: str
) -> None:
    answer = await submit(client, recording, engine="scripted", filename="visit.wav", session_id=str(uuid4()))
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert receiver.connections == 0
    await work(answer.json()["job_id"])
    result = (await client.get(f"{JOBS}/result/{answer.json()['job_id']}")).json()
    assert (result["text"], result["filename"]) == ("one two three", "visit.wav")
    assert (await client.get(result["audio_url"])).content == SECOND
    assert (await client.get(f"{JOBS}/{answer.json()['job_id']}/audio")).content == SECOND


async def test_a_recording_is_named_in_a_form(client: httpx.AsyncClient, work: Work, recording: str) -> None:
    form = {"audio_url": (None, recording), "engine": (None, "scripted")}
    answer = await client.post(f"{JOBS}/transcribe", files=form)
    assert answer.status_code == 202, answer.text
    await work(answer.json()["job_id"])
    assert (await client.get(f"{JOBS}/result/{answer.json()['job_id']}")).json()["filename"] is None


@pytest.mark.parametrize("engine", ["asr", "whisperx"])
async def test_the_routes_of_engines_take_it_as_well(client: httpx.AsyncClient, engine: str) -> None:
    answer = await client.post(f"{JOBS}/transcribe/{engine}", json={"audio_url": PUBLIC, "channel_roles": ["A", "b"]})
    assert (answer.status_code, answer.json()["engine"]) == (202, engine)


async def test_options_in_json_are_those_of_the_form(client: httpx.AsyncClient, platform: Platform) -> None:
    said = {"engine": "scripted", "num_speakers": 2, "on_unsupported": "warn", "options": {"beam": {"size": 5}}}
    answer = await submit(client, PUBLIC, **said)
    assert answer.status_code == 202, answer.text
    ((params,),) = await run_sql(
        platform, f"SELECT engine_params FROM transcript_jobs WHERE id = '{answer.json()['job_id']}'"
    )
    assert (params["num_speakers"], params["on_unsupported"]) == (2, "warn")


@pytest.mark.parametrize("first", ["audio_url", "file"])
async def test_a_recording_and_a_url_are_one_too_many(
    client: httpx.AsyncClient, platform: Platform, first: str
) -> None:
    parts: dict[str, Any] = {"audio_url": (None, PUBLIC), "file": ("visit.wav", SECOND, "audio/wav")}
    before = await run_sql(platform, "SELECT count(*) FROM transcript_jobs")
    answer = await client.post(f"{JOBS}/transcribe", files=[(first, parts.pop(first)), *parts.items()])
    assert answer.status_code == 422
    assert answer.json()["error"]["field"] == "audio_url"
    assert await run_sql(platform, "SELECT count(*) FROM transcript_jobs") == before


@pytest.mark.parametrize("said", [{}, {"audio_url": ""}, {"audio_url": None}, {"engine": "scripted"}])
async def test_no_recording_at_all_is_named(client: httpx.AsyncClient, said: dict[str, Any]) -> None:
    answer = await client.post(f"{JOBS}/transcribe", json=said)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "missing_file")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 422, "invalid_request"),
        (b"[]", 422, "invalid_request"),
        (b"not json", 422, "invalid_request"),
        (b"\xff\xfe", 422, "invalid_request"),
        (b'{"audio_url": 5}', 422, "invalid_request"),
        (b'{"audio_url": ["https://example.com/"]}', 422, "invalid_request"),
        (b'{"audio_url": "https://a.example/", "audio_url": "https://b.example/"}', 422, "invalid_request"),
        (b'{"audio_url": "https://a.example/", "enginge": "auto"}', 422, "invalid_request"),
        (b'{"audio_url": "https://a.example/", "num_speakers": 1e400}', 422, "invalid_request"),
        (b'{"audio_url": "https://a.example/", "language": "\\ud800"}', 422, "invalid_request"),
        (b'{"audio_url": "https://a.example/", "channel_roles": [1]}', 422, "invalid_request"),
        (b'{"audio_url": "https://a.example/", "channel_roles": {}}', 422, "invalid_request"),
        (b'{"audio_url": "https://a.example/", "options": ' + b"[" * 500 + b"]" * 500 + b"}", 422, "invalid_request"),
        (b'{"audio_url": "https://a.example/' + b"a" * 5000 + b'"}', 422, "audio_url_refused"),
        (b'{"audio_url": "https://a.example/", "filename": "' + b"a" * 70_000 + b'"}', 413, "body_too_large"),
    ],
)
async def test_a_body_that_does_not_fit_is_refused(
    client: httpx.AsyncClient, body: bytes, status: int, code: str
) -> None:
    answer = await client.post(f"{JOBS}/transcribe", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text


async def test_the_same_submission_again_makes_no_second_job(client: httpx.AsyncClient) -> None:
    key = str(uuid4())
    first, second = await asyncio.gather(*(submit(client, PUBLIC, key=key) for _ in range(2)))
    assert first.content == second.content
    other = await submit(client, f"{PUBLIC}&other", key=key)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")


async def test_before_it_is_fetched_there_is_no_recording_to_play(client: httpx.AsyncClient) -> None:
    job_id = (await submit(client, PUBLIC)).json()["job_id"]
    answer = await client.get(f"{JOBS}/{job_id}/audio")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "audio_not_there")


async def test_a_url_is_shown_nowhere(
    client: httpx.AsyncClient, platform: Platform, work: Work, receiver: Receiver, recording: str
) -> None:
    assert "shh" in recording
    job_id = (await submit(client, recording, engine="scripted")).json()["job_id"]
    ways = (f"{JOBS}/status/{job_id}", JOBS, f"{JOBS}/result/{job_id}", f"{JOBS}/stream/{job_id}")
    before = [await client.get(way) for way in ways[:2]]
    await work(job_id)
    answers = [*before, *[await client.get(way) for way in ways]]
    await ending.erase(platform, Caller("local"), job_id)  # type: ignore[arg-type]
    answers.append(await client.get(f"{JOBS}/{job_id}/receipt"))
    assert [answer.text for answer in answers if "shh" in answer.text or str(receiver.port) in answer.text] == []
