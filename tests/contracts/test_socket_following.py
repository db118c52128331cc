"""Seed 004 over WebSocket: every message of the protocol in both directions, told to clients as they are known."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from uuid import UUID

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from domain.errors import NoAudio
from domain.lifecycle import JobState
from domain.transcript import Segment
from services import attempts, ending, tickets
from services.platform import Platform
from tests.api.conftest import JOBS
from tests.contracts.conftest import Line, Message, announce, claim
from tests.support.audio import tone
from tests.support.endpoints import run_sql
from tests.support.jobs import ME, NOBODY_HEARD, force, in_state, make_job

Work = Callable[..., Awaitable[None]]

FEW = 20


def envelope_fits(message: Message, job_id: object) -> bool:
    keys = set(message) == {"type", "job_id", "data", "timestamp"}
    return keys and message["job_id"] == str(job_id) and message["timestamp"].endswith("Z")


# What the server says


async def test_a_client_is_told_of_a_job_from_the_line_to_its_result(url: str, platform: Platform, work: Work) -> None:
    job_id = await make_job(platform, content=tone(1.0))
    async with Line.open(url, job_id) as line:
        connected, waiting = await line.hear(), await line.hear()
        await work(job_id)
        told, code = await line.hear_all()
    assert all(envelope_fits(message, job_id) for message in (connected, waiting, *told))
    assert connected["type"] == "connected"
    assert connected["data"] == {"message": "Conectado exitosamente", "job_id": str(job_id)}
    assert waiting["type"] == "progress"
    assert (waiting["data"]["status"], waiting["data"]["progress"]) == ("queued", 0.0)
    assert {message["type"] for message in told[:-1]} <= {"progress"}
    data = told[-1]["data"]
    assert (told[-1]["type"], data["status"], data["progress"]) == ("completed", "completed", 100.0)
    assert data["message"] == "Transcripción completada"
    assert data["completed_at"].endswith("Z")
    assert {"text", "language", "segments", "processing_time"} <= set(data["result"])
    assert data["result"]["text"] == "one two three"
    assert [segment["text"] for segment in data["result"]["segments"]] == ["one", "two", "three"]
    assert code == 1000


async def test_progress_is_told_as_it_is_announced_and_never_falls(url: str, platform: Platform) -> None:
    attempt = await claim(platform, await make_job(platform))
    async with Line.open(url, attempt.job_id) as line:
        await line.hear_until("progress")
        for done in (27.3, 12.0, 59.99):  # in between, a second attempt that begins anew
            await announce(platform, attempt, done)
            told = (await line.hear())["data"]
            assert set(told) == {"status", "progress", "message", "estimated_time_remaining"}
            assert (told["status"], told["estimated_time_remaining"]) == ("processing", 12.5)
            assert told["message"] == f"Procesando {done:.0f}/60 s de audio"
            assert told["progress"] == {27.3: 45.5, 12.0: 45.5, 59.99: 99.9}[done]


async def test_what_has_been_said_already_is_not_said_again(url: str, platform: Platform) -> None:
    attempt = await claim(platform, await make_job(platform))
    async with Line.open(url, attempt.job_id) as line:
        await line.hear_until("progress")
        segments = [(n, Segment(start=n, end=n + 1, text="one")) for n in range(1, FEW)]
        await attempts.note_progress(platform, attempt, stage="transcribe", audio_done=6.0, segments=segments)
        await attempts.complete(platform, attempt, NOBODY_HEARD)
        told, _ = await line.hear_all()
    said = [json.dumps(message["data"]) for message in told]
    assert len(said) == len(set(said))


@pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED])
async def test_who_comes_behind_the_end_is_told_of_it_and_hung_up_on(
    url: str, platform: Platform, state: JobState
) -> None:
    job_id = await in_state(platform, state)
    async with Line.open(url, job_id) as line:
        told, code = await line.hear_all()
    kind = "completed" if state == JobState.COMPLETED else "error"
    assert [message["type"] for message in told] == ["connected", kind]
    assert (told[-1]["data"]["status"], code) == (state, 1000)


async def test_a_failure_is_an_error_with_its_reason(url: str, platform: Platform) -> None:
    attempt = await claim(platform, await make_job(platform))
    async with Line.open(url, attempt.job_id) as line:
        await line.hear_until("progress")
        await attempts.fail(platform, attempt, NoAudio("there is no sound in it"), retryable=False)
        (error,), code = await line.hear_all()
    data = error["data"]
    assert envelope_fits(error, attempt.job_id)
    assert (error["type"], data["status"], data["error"]) == ("error", "failed", "there is no sound in it")
    assert (data["code"], code) == ("media_no_audio", 1000)
    assert data["completed_at"].endswith("Z")


async def test_a_cancelled_job_is_an_error_with_that_status(
    url: str, platform: Platform, client: httpx.AsyncClient
) -> None:
    job_id = await make_job(platform)
    async with Line.open(url, job_id) as line:
        await line.hear_until("progress")
        await client.delete(f"/job/{job_id}")
        (error,), code = await line.hear_all()
    assert (error["type"], error["data"]["status"], code) == ("error", "cancelled", 1000)
    assert error["data"]["error"] == "Cancelado por usuario"


async def test_a_job_that_is_erased_is_gone_for_those_who_follow_it(url: str, platform: Platform) -> None:
    job_id = await make_job(platform)
    async with Line.open(url, job_id) as line:
        await line.hear_until("progress")
        await ending.erase(platform, ME, job_id)
        told, code = await line.hear_all()
    assert (told[-1]["data"]["code"], code) == ("job_not_found", 4404)


async def test_a_result_that_nobody_can_read_is_told_with_its_code(url: str, platform: Platform) -> None:
    job_id = await in_state(platform, JobState.COMPLETED)
    (found,) = await run_sql(platform, f"SELECT result_key FROM transcript_jobs WHERE id = '{job_id}'")
    await platform.store.delete(found[0])
    async with Line.open(url, job_id) as line:
        told, code = await line.hear_all()
    assert (told[-1]["type"], told[-1]["data"]["code"], code) == ("error", "object_not_found", 4404)


# What a client says


async def test_a_ping_is_answered(url: str, platform: Platform) -> None:
    job_id = await make_job(platform)
    async with Line.open(url, job_id) as line:
        await line.hear_until("progress")
        await line.say({"type": "ping", "job_id": str(job_id)})
        pong = await line.hear()
    assert envelope_fits(pong, job_id)
    assert pong["type"] == "pong"


async def test_a_question_for_the_status_is_answered_even_if_nothing_is_new(url: str, platform: Platform) -> None:
    job_id = await in_state(platform, JobState.PROCESSING)
    await run_sql(platform, f"UPDATE transcript_jobs SET audio_seconds = 60, audio_done = 27.3 WHERE id = '{job_id}'")
    async with Line.open(url, job_id) as line:
        first = (await line.hear_until("progress"))[-1]
        for _ in range(2):
            await line.say({"type": "get_status", "job_id": str(job_id)})
            again = await line.hear()
            assert (again["type"], again["data"]) == ("progress", first["data"])
    assert first["data"]["progress"] == 45.5


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("", "bad_message"),
        ("{", "bad_message"),
        ("[]", "bad_message"),
        ("9" * 5_000, "bad_message"),
        ("[" * 60_000, "bad_message"),
        ({}, "unknown_message"),
        ({"type": "restart"}, "unknown_message"),
        ({"type": ["ping"]}, "unknown_message"),
        ({"type": "ping", "job_id": "JOB_ID"}, "wrong_job"),
        ({"type": "get_status", "job_id": None}, "wrong_job"),
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_what_is_no_message_is_told_and_the_connection_stays(
    url: str, platform: Platform, said: object, code: str
) -> None:
    job_id = await make_job(platform)
    async with Line.open(url, job_id) as line:
        await line.hear_until("progress")
        await line.say(said)
        error = await line.hear()
        assert envelope_fits(error, job_id)
        assert (error["type"], error["data"]["code"]) == ("error", code)
        assert error["data"]["error"]
        assert "status" not in error["data"]  # which would be the job's
        await line.say({"type": "ping"})
        assert (await line.hear())["type"] == "pong"


async def test_a_binary_message_is_refused(url: str, platform: Platform) -> None:
    async with Line.open(url, await make_job(platform)) as line:
        await line.hear_until("progress")
        await line.say(b'{"type": "ping"}')
        (error,), code = await line.hear_all()
    assert (error["data"]["code"], code) == ("binary_message", 1003)


@pytest.mark.parametrize("job_id", [str(UUID(int=7)), "JOB_ID", "0"])
async def test_an_unknown_job_is_told_and_hung_up_on(url: str, job_id: str) -> None:
    async with Line.open(url, job_id) as line:
        (error,), code = await line.hear_all()
    assert envelope_fits(error, job_id)
    assert (error["type"], error["data"]["code"], code) == ("error", "job_not_found", 4404)


async def test_anothers_job_is_unknown(url: str, platform: Platform) -> None:
    job_id = await make_job(platform)
    await force(platform, f"UPDATE transcript_jobs SET owner = 'somebody else' WHERE id = '{job_id}'")
    async with Line.open(url, job_id) as line:
        told, code = await line.hear_all()
    assert ([message["data"]["code"] for message in told], code) == (["job_not_found"], 4404)


async def test_a_ticket_opens_one_connection_once(url: str, platform: Platform) -> None:
    job_id = await in_state(platform, JobState.COMPLETED)
    ticket = (await tickets.issue(platform, ME, job_id)).token
    told = []
    for _ in range(2):
        async with Line.open(url, job_id, query=f"?ticket={ticket}") as line:
            heard, code = await line.hear_all()
            told.append((heard[-1]["type"], heard[-1]["data"].get("code"), code))
    assert told == [("completed", None, 1000), ("error", "bad_ticket", 4403)]


@pytest.mark.parametrize(
    ("headers", "code"),
    [({"Host": "evil.example"}, "host_not_allowed"), ({"Origin": "https://evil.example"}, "origin_not_allowed")],
)
async def test_a_page_of_a_strangers_gets_no_connection(
    url: str, platform: Platform, headers: dict[str, str], code: str
) -> None:
    """By hand, as a client that is well-behaved names its own Host."""
    job_id, address = await make_job(platform), url.removeprefix("http://")
    lines = {
        "Host": address,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        **headers,
    }
    host, _, port = address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    writer.write(f"GET /ws/transcription/{job_id} HTTP/1.1\r\n{head}\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    assert answer.startswith("HTTP/1.1 403")
    assert json.loads(answer.partition("\r\n\r\n")[2])["error"]["code"] == code


async def test_a_page_of_ours_gets_a_connection(url: str, platform: Platform) -> None:
    job_id = await in_state(platform, JobState.COMPLETED)
    async with Line.open(url, job_id, origin=url) as line:
        assert (await line.hear_all())[1] == 1000
    with pytest.raises(InvalidStatus):
        async with Line.open(url, job_id, origin="https://evil.example"):
            pass


async def test_a_native_job_is_followed_here_and_one_of_ours_over_there(
    url: str, platform: Platform, client: httpx.AsyncClient
) -> None:
    file = {"file": ("a.wav", b"RIFF", "audio/wav")}
    native = (await client.post(f"{JOBS}/transcribe", data={"engine": "scripted"}, files=file)).json()["job_id"]
    ours = (await client.post("/transcribe-job", files=file)).json()["job_id"]
    for job_id in (native, ours):
        await client.delete(f"/job/{job_id}")
    async with Line.open(url, native) as line:
        assert (await line.hear_all())[0][-1]["data"]["status"] == "cancelled"
    async with client.stream("GET", f"{JOBS}/stream/{ours}") as stream:
        events = [json.loads(text[6:]) async for text in stream.aiter_lines() if text.startswith("data: ")]
    assert events[-1]["status"] == "cancelled"
