"""The streaming dialect: words as they are heard, each once and in order, whatever happens meanwhile."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx
import pytest

from api.dialects.words import Place, deltas
from config.load import load_settings
from domain.access import Caller
from domain.errors import NoAudio
from domain.events import Cursor
from domain.lifecycle import JobState
from domain.transcript import Segment, Transcript, Word
from services import attempts, ending, retention
from services.attempts import Attempt
from services.platform import Platform
from storage import layout
from tests.api.conftest import JOBS
from tests.support.jobs import ME, force, make_job
from tests.support.waiting import eventually

TEXTS = ("Good morning, how are you?", "I have a cough", "since Monday.")


def segments(texts: tuple[str, ...] = TEXTS, *, later: float = 0.0) -> list[Segment]:
    """A second a word."""
    found, at = [], later
    for text in texts:
        words = tuple(Word(start=at + n, end=at + n + 1, text=word) for n, word in enumerate(text.split()))
        found.append(Segment(start=at, end=words[-1].end, text=text, words=words))
        at = words[-1].end
    return found


def heard(texts: tuple[str, ...] = TEXTS) -> Transcript:
    return Transcript(
        language="en", duration=20, engine="test", engine_reason="a test asked for it", segments=tuple(segments(texts))
    )


@dataclass
class Told:
    """What a client was told, and where it stands."""

    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    last: str | None = None

    @property
    def text(self) -> str:
        return "".join(data["text"] for name, data in self.events if name == "delta")

    @property
    def end(self) -> tuple[str, dict[str, Any]] | None:
        return next(((name, data) for name, data in self.events if name != "delta"), None)


async def listen(client: httpx.AsyncClient, job_id: UUID, told: Told, *, most: int = 1000) -> int:
    """Follow until the end, or until `most` events have come; the status of the answer."""
    headers = {"Last-Event-ID": told.last} if told.last else {}
    async with client.stream("GET", f"/transcribe/{job_id}", headers=headers) as answer:
        async for name, data, place in events_of(answer):
            told.events.append((name, data))
            told.last = place
            most -= 1
            if not most:
                break
        return answer.status_code


async def events_of(answer: httpx.Response) -> AsyncIterator[tuple[str, dict[str, Any], str]]:
    said: dict[str, str] = {}
    async for line in answer.aiter_lines():
        name, _, value = line.partition(": ")
        if line and not line.startswith(":"):
            said[name] = value
        elif said:
            yield said["event"], json.loads(said["data"]), said["id"]
            said = {}


@pytest.fixture
async def attempt(platform: Platform) -> Attempt:
    found = await attempts.claim(platform, await make_job(platform), worker="w")
    assert found is not None
    return found


async def tell(platform: Platform, attempt: Attempt, found: list[Segment], *, first: int = 1) -> None:
    numbered = list(enumerate(found, start=first))
    assert await attempts.note_progress(platform, attempt, stage="transcribe", audio_done=None, segments=numbered)


@asynccontextmanager
async def listening(client: httpx.AsyncClient, job_id: UUID) -> AsyncIterator[Told]:
    told = Told()
    task = asyncio.create_task(listen(client, job_id, told))
    yield told
    async with asyncio.timeout(20):
        assert await task == 200


async def test_a_recording_is_taken_and_its_stream_named(client: httpx.AsyncClient) -> None:
    answer = await client.post("/transcribe", files={"file": ("a.wav", b"RIFF....")}, data={"language": "es"})
    assert answer.status_code == 202
    job_id = answer.json()["job_id"]
    assert answer.json() == {"job_id": job_id, "status": "queued", "stream_url": f"/transcribe/{job_id}"}
    assert (await client.get(f"{JOBS}/status/{job_id}")).json()["status"] == "queued"


async def test_language_may_be_left_out(client: httpx.AsyncClient) -> None:
    assert (await client.post("/transcribe", files={"file": ("a.wav", b"RIFF....")})).status_code == 202
    missing = await client.post("/transcribe", data={"language": "es"}, files={"other": (None, "x")})
    assert missing.json()["error"]["code"] in ("missing_file", "invalid_request")


async def test_words_come_as_they_are_heard_and_together_are_the_text(
    client: httpx.AsyncClient, platform: Platform, attempt: Attempt
) -> None:
    async with listening(client, attempt.job_id) as told:
        for number, segment in enumerate(segments(), start=1):
            await tell(platform, attempt, [segment], first=number)
        assert await attempts.complete(platform, attempt, heard())
    assert told.text == heard().text
    words = [(data["text"].strip(), data["start"], data["end"]) for name, data in told.events if name == "delta"]
    assert words[:2] == [("Good", 0.0, 1.0), ("morning,", 1.0, 2.0)]
    assert len(words) == sum(len(text.split()) for text in TEXTS)
    name, data = told.events[-1]
    assert (name, data["job_id"], data["language"]) == ("completed", str(attempt.job_id), "en")


async def test_the_text_is_an_object_under_the_key_that_is_told(
    client: httpx.AsyncClient, platform: Platform, attempt: Attempt
) -> None:
    assert await attempts.complete(platform, attempt, heard(), unkept=list(enumerate(segments(), start=1)))
    told = Told()
    for _ in range(2):  # two clients, one object
        told = Told()
        await listen(client, attempt.job_id, told)
    assert told.end is not None
    key = told.end[1]["transcript_key"]
    async with platform.store.open(key) as chunks:
        assert b"".join([chunk async for chunk in chunks]).decode() == heard().text
    await retention.delete_orphans(platform)
    assert await platform.store.size(key) > 0
    await ending.erase(platform, ME, attempt.job_id)
    prefix = layout.job_prefix(attempt.owner, attempt.job_id)
    assert [found async for found in platform.store.list(prefix)] == []


async def test_an_old_text_is_no_orphan_while_its_result_is_there(
    client: httpx.AsyncClient, platform: Platform, attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await attempts.complete(platform, attempt, heard(), unkept=list(enumerate(segments(), start=1)))
    told = Told()
    await listen(client, attempt.job_id, told)
    assert told.end is not None
    times = platform.settings.retention.model_copy(update={"orphan_hours": 1e-9})
    monkeypatch.setattr(platform.settings, "__dict__", platform.settings.__dict__ | {"retention": times})
    await retention.delete_orphans(platform)
    assert await platform.store.size(told.end[1]["transcript_key"]) > 0


@pytest.mark.parametrize("most", [1, 2, 4, 5, 6, 9, 10])
async def test_a_client_that_is_cut_off_at_any_word_gets_each_once(
    client: httpx.AsyncClient, platform: Platform, attempt: Attempt, most: int
) -> None:
    assert await attempts.complete(platform, attempt, heard(), unkept=list(enumerate(segments(), start=1)))
    told = Told()
    for _ in range(12):
        if await listen(client, attempt.job_id, told, most=most) == 204:
            break
    assert told.text == heard().text
    assert [name for name, _ in told.events].count("completed") == 1


@pytest.mark.parametrize("cut", [1, 3, 5, 7])
async def test_after_a_crash_the_words_go_on_behind_the_last_second_told(
    client: httpx.AsyncClient, platform: Platform, attempt: Attempt, cut: int
) -> None:
    """The second attempt cuts the recording into other phrases; every word comes once all the same."""
    told = Told()
    await tell(platform, attempt, segments()[:2])
    await listen(client, attempt.job_id, told, most=cut)
    await attempts.release(platform, attempt, reason="a test")
    await force(platform, f"UPDATE transcript_jobs SET run_at = now() WHERE id = '{attempt.job_id}'")
    again = await attempts.claim(platform, attempt.job_id, worker="w2")
    assert again is not None
    others = ("Good morning,", "how are", "you? I have a", "cough since Monday.")
    whole = heard(others)
    assert await attempts.complete(platform, again, whole, unkept=list(enumerate(whole.segments, start=1)))
    await listen(client, attempt.job_id, told)
    assert told.text.split() == heard().text.split()
    assert told.text == heard().text


async def test_a_client_that_stays_over_a_crash_gets_each_word_once(
    client: httpx.AsyncClient, platform: Platform, attempt: Attempt
) -> None:
    async with listening(client, attempt.job_id) as told:
        await tell(platform, attempt, segments()[:2])
        await eventually(lambda: len(told.events) == 9)
        await attempts.release(platform, attempt, reason="a test")
        again = await attempts.claim(platform, attempt.job_id, worker="w2")
        assert again is not None
        assert await attempts.complete(platform, again, heard(), unkept=list(enumerate(segments(), start=1)))
    assert told.text == heard().text


async def test_a_cancelled_job_ends_with_an_error_that_says_so(client: httpx.AsyncClient, platform: Platform) -> None:
    job_id = await make_job(platform)
    async with listening(client, job_id) as told:
        await ending.cancel(platform, ME, job_id)
    assert told.end == (
        "error",
        {"job_id": str(job_id), "status": JobState.CANCELLED, "code": "cancelled", "message": "cancelled"},
    )


async def test_a_failed_job_ends_with_its_code(client: httpx.AsyncClient, platform: Platform, attempt: Attempt) -> None:
    assert await attempts.fail(platform, attempt, NoAudio("there is no sound in it"), retryable=False)
    told = Told()
    await listen(client, attempt.job_id, told)
    assert told.end is not None
    assert (told.end[0], told.end[1]["code"]) == ("error", "media_no_audio")


async def test_whoever_has_been_told_the_end_is_told_nothing(
    client: httpx.AsyncClient, platform: Platform, attempt: Attempt
) -> None:
    assert await attempts.complete(platform, attempt, heard())
    told = Told()
    assert await listen(client, attempt.job_id, told) == 200
    assert await listen(client, attempt.job_id, told) == 204


async def test_a_job_whose_result_is_gone_when_its_end_is_told_ends_the_stream_without_an_end(
    client: httpx.AsyncClient, platform: Platform, attempt: Attempt
) -> None:
    assert await attempts.complete(platform, attempt, heard(), unkept=list(enumerate(segments(), start=1)))
    await platform.store.delete(layout.result(attempt.owner, attempt.job_id, attempt.fence))
    told = Told()
    assert await listen(client, attempt.job_id, told) == 200
    assert (told.text, told.end) == (heard().text, None)


async def test_an_unknown_job_and_another_s_are_not_found(client: httpx.AsyncClient, platform: Platform) -> None:
    theirs = await make_job(platform, owner=Caller("somebody else"))
    for job_id in (theirs, UUID(int=0)):
        answer = await client.get(f"/transcribe/{job_id}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "job_not_found")


@pytest.mark.parametrize("last", ["", "x", "1.2.3", "1.2.3.4-", "1.2.3.4-1.2.3", "1.2.3.4-1.2.3.x", "9" * 400])
async def test_an_id_that_is_none_of_ours_begins_anew(
    client: httpx.AsyncClient, platform: Platform, attempt: Attempt, last: str
) -> None:
    assert await attempts.complete(platform, attempt, heard(), unkept=list(enumerate(segments(), start=1)))
    told = Told(last=last)
    assert await listen(client, attempt.job_id, told) == 200
    assert told.text == heard().text


def test_a_place_is_read_as_it_is_written() -> None:
    place = Place(Cursor(seq=3, fence=2, n=7, end_ms=1500), fence=2, n=8, words=3, end_ms=2250)
    assert Place.parse(str(place)) == place


@pytest.mark.parametrize(
    ("text", "words", "expected"),
    [
        ("Hello there.", ("Hello", "there."), ["Hello", " there."]),
        ("Hello, there!", ("Hello", "there"), ["Hello", ", there!"]),
        ("今日は良い天気", ("今日", "は", "良い", "天気"), ["今日", "は", "良い", "天気"]),
        ("no words known", (), ["no words known"]),
        ("not these", ("other", "words"), ["not these"]),
        ("  ", (), []),
    ],
)
def test_a_segment_is_cut_so_that_nothing_of_its_text_is_lost(
    text: str, words: tuple[str, ...], expected: list[str]
) -> None:
    timed = tuple(Word(start=n, end=n + 1, text=word) for n, word in enumerate(words))
    found = [delta.text for delta in deltas(Segment(start=0, end=9, text=text, words=timed))]
    assert found == expected
    assert "".join(found) == text.strip()


def test_the_settings_of_the_seed_are_taken_by_their_names() -> None:
    said = {
        "GRABADORA_REDIS_URL": "redis://redis:6379/0",
        "GRABADORA_DATABASE_URL": "postgresql+asyncpg://grabadora:shh@postgres/grabadora",
        "GRABADORA_S3_ENDPOINT_URL": "http://minio:9000",
        "GRABADORA_S3_ACCESS_KEY": "access",
        "GRABADORA_S3_SECRET_KEY": "secret",
        "GRABADORA_JWT_SECRET_KEY": "a signing key for tests of 32 bytes",
    }
    for quantization in ("float32", "float16", "int8"):
        settings = load_settings(said | {"GRABADORA_TRANSCRIPTION_QUANTIZATION": quantization})
        assert settings.engines.whisper_compute_type == quantization
    assert settings.storage.endpoint == "http://minio:9000"
    assert settings.accounts.jwt_key is not None
