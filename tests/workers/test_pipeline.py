"""One attempt at a job, with real media, a real store and real PostgreSQL; only the engine follows a script."""

import asyncio
import wave
from array import array
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text

from config.load import load_settings
from config.settings import Settings
from domain.capabilities import EngineReport
from domain.errors import EngineFailed, JobHasNoResult
from domain.lifecycle import JobOptions
from domain.transcript import Detected, Heard, Notice, Progress, Segment
from engines.contract import Hearing
from services import attempts, ending, reading, submission
from services.platform import Platform
from storage import layout
from tests.support.audio import tone
from tests.support.hostile_media import wav
from tests.support.jobs import ME, body, force, make_job, row
from tests.support.scripted import ScriptedEngine, registry_of
from workers.pipeline import run_attempt

SECOND = tone(1.0)


@pytest.fixture(scope="module")
def settings(environ: dict[str, str]) -> Settings:
    return load_settings({**environ, "JOB_LEASE_SEC": "0.5"})


async def run(platform: Platform, engine: ScriptedEngine, job_id: UUID) -> None:
    await run_attempt(platform, registry_of(engine), job_id, worker="worker-1")


async def states(platform: Platform, job_id: UUID) -> list[str]:
    """The durable story of a job."""
    async with platform.sessions.begin() as session:
        told = await session.scalars(
            text("SELECT event ->> 'status' FROM job_events WHERE job_id = :id ORDER BY seq"), {"id": job_id}
        )
        return list(told)


async def for_ever(_: Path, hearing: Hearing) -> AsyncIterator[Heard]:
    yield Segment(start=0, end=hearing.audio_seconds / 2, text="half")
    await asyncio.Event().wait()


async def test_a_recording_becomes_a_transcript(platform: Platform) -> None:
    job_id = await make_job(platform, content=SECOND)
    await run(platform, ScriptedEngine(), job_id)
    result = await reading.result(platform, ME, job_id)
    assert [segment.text for segment in result.heard.segments] == ["one", "two", "three"]
    assert result.heard.duration == pytest.approx(1.0)
    assert (result.heard.engine, result.heard.engine_reason) == ("scripted", "the only engine that is ready")
    assert result.job.content_type == "audio/wav"
    assert await states(platform, job_id) == ["queued", "processing", "completed"]


async def test_segments_are_kept_in_order_under_the_fence_that_heard_them(platform: Platform) -> None:
    job_id = await make_job(platform, content=SECOND)
    await run(platform, ScriptedEngine(), job_id)
    async with platform.sessions.begin() as session:
        kept = await session.execute(
            text("SELECT fence, n, segment ->> 'text' FROM transcript_segments WHERE job_id = :id ORDER BY n"),
            {"id": job_id},
        )
        assert [tuple(found) for found in kept] == [(1, 1, "one"), (1, 2, "two"), (1, 3, "three")]


async def test_what_the_engine_notices_reaches_the_result(platform: Platform) -> None:
    async def script(_: Path, hearing: Hearing) -> AsyncIterator[Heard]:
        yield Detected(language="pt", probability=0.9)
        yield Notice(code="odd", message="something odd")
        yield Progress(stage="transcribe", done=hearing.audio_seconds, total=hearing.audio_seconds)

    job_id = await make_job(platform, content=SECOND)
    await run(platform, ScriptedEngine(script), job_id)
    heard = (await reading.result(platform, ME, job_id)).heard
    assert heard.language == "pt"
    assert [notice.code for notice in heard.warnings] == ["odd"]
    assert heard.segments == ()


async def test_a_transient_failure_goes_back_to_the_queue_and_costs_a_try(platform: Platform) -> None:
    async def script(_: Path, __: Hearing) -> AsyncIterator[Heard]:
        yield Segment(start=0, end=0.1, text="one")
        raise EngineFailed("the engine hiccuped", retryable=True)

    job_id = await make_job(platform, content=SECOND)
    await run(platform, ScriptedEngine(script), job_id)
    after = await row(platform, job_id)
    assert (after["state"], after["attempts"], after["crash_count"]) == ("queued", 1, 0)
    assert after["run_at"] > after["updated_at"]  # type: ignore[operator]
    assert "waiting to try again (1 of 3)" in str(after["message"])


async def test_a_job_fails_once_its_tries_are_spent(platform: Platform) -> None:
    async def script(_: Path, __: Hearing) -> AsyncIterator[Heard]:
        raise EngineFailed("the engine hiccuped", retryable=True)
        yield

    job_id = await make_job(platform, content=SECOND)
    for _ in range(4):
        await force(platform, f"UPDATE transcript_jobs SET run_at = now() WHERE id = '{job_id}'")
        await run(platform, ScriptedEngine(script), job_id)
    after = await row(platform, job_id)
    assert (after["state"], after["attempts"], after["fence"]) == ("failed", 3, 4)
    assert after["error_details"] == {"code": "engine_failed", "message": "the engine hiccuped"}


async def test_a_permanent_failure_ends_the_job_at_once(platform: Platform) -> None:
    async def script(_: Path, __: Hearing) -> AsyncIterator[Heard]:
        raise EngineFailed("this cannot work", retryable=False)
        yield

    job_id = await make_job(platform, content=SECOND)
    await run(platform, ScriptedEngine(script), job_id)
    assert (await row(platform, job_id))["state"] == "failed"
    with pytest.raises(JobHasNoResult, match="this cannot work"):
        await reading.result(platform, ME, job_id)


async def test_a_bug_in_an_engine_is_tried_again_and_named_internal(platform: Platform) -> None:
    async def script(_: Path, __: Hearing) -> AsyncIterator[Heard]:
        raise ZeroDivisionError("secret words")
        yield

    job_id = await make_job(platform, content=SECOND)
    await run(platform, ScriptedEngine(script), job_id)
    after = await row(platform, job_id)
    assert (after["state"], after["attempts"]) == ("queued", 1)
    assert after["error_details"]["code"] == "internal"  # type: ignore[index]
    assert "secret" not in str(after)


async def test_what_is_no_recording_fails_with_its_own_code(platform: Platform) -> None:
    job_id = await make_job(platform, content=b"these are words, not sounds" * 100)
    await run(platform, ScriptedEngine(), job_id)
    after = await row(platform, job_id)
    assert (after["state"], after["error_details"]["code"]) == ("failed", "media_unsupported")  # type: ignore[index]
    assert after["attempts"] == 0


async def test_cancelling_stops_the_engine(platform: Platform) -> None:
    engine = ScriptedEngine(for_ever)
    job_id = await make_job(platform, content=SECOND)
    attempt = asyncio.create_task(run(platform, engine, job_id))
    await engine.began.wait()
    cancelled = await ending.cancel(platform, ME, job_id)
    assert cancelled.state == "processing"
    await attempt
    assert engine.ended.is_set()
    assert await states(platform, job_id) == ["queued", "processing", "cancelled"]


async def test_a_worker_that_shuts_down_as_it_keeps_a_failure_gives_the_job_back_uncharged(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stumble(_: Path, hearing: Hearing) -> AsyncIterator[Heard]:
        raise EngineFailed("it stumbled", retryable=True)
        yield

    async def never(*_: object, **__: object) -> bool:
        keeping.set()
        return await asyncio.Event().wait()

    keeping = asyncio.Event()
    monkeypatch.setattr(attempts, "fail", never)
    job_id = await make_job(platform, content=tone(1.0))
    attempt = asyncio.create_task(run(platform, ScriptedEngine(stumble), job_id))
    await keeping.wait()
    attempt.cancel()
    await asyncio.gather(attempt, return_exceptions=True)
    after = await row(platform, job_id)
    assert (after["state"], after["attempts"], after["crash_count"]) == ("queued", 0, 0)


async def test_a_worker_that_shuts_down_gives_the_job_back_uncharged(platform: Platform) -> None:
    engine = ScriptedEngine(for_ever)
    job_id = await make_job(platform, content=SECOND)
    attempt = asyncio.create_task(run(platform, engine, job_id))
    await engine.began.wait()
    attempt.cancel()
    with suppress(asyncio.CancelledError):
        await attempt
    after = await row(platform, job_id)
    assert (after["state"], after["attempts"], after["crash_count"], after["fence"]) == ("queued", 0, 0, 1)
    assert engine.ended.is_set()


@pytest.mark.parametrize("ending_of_try", ["shutdown", "transient failure"])
async def test_a_cancelled_job_that_would_go_back_to_the_queue_is_cancelled(
    platform: Platform, ending_of_try: str
) -> None:
    fail = asyncio.Event()

    async def script(_: Path, __: Hearing) -> AsyncIterator[Heard]:
        await fail.wait()
        raise EngineFailed("the engine hiccuped", retryable=True)
        yield

    engine = ScriptedEngine(script)
    job_id = await make_job(platform, content=SECOND)
    attempt = asyncio.create_task(run(platform, engine, job_id))
    await engine.began.wait()
    await ending.cancel(platform, ME, job_id)
    if ending_of_try == "shutdown":
        attempt.cancel()
    else:
        fail.set()
    with suppress(asyncio.CancelledError):
        await attempt
    assert (await row(platform, job_id))["state"] == "cancelled"


async def test_a_worker_that_lost_its_lease_stops_and_writes_nothing(platform: Platform) -> None:
    engine = ScriptedEngine(for_ever)
    job_id = await make_job(platform, content=SECOND)
    attempt = asyncio.create_task(run(platform, engine, job_id))
    await engine.began.wait()
    await force(platform, f"UPDATE transcript_jobs SET fence = fence + 1, worker_id = 'other' WHERE id = '{job_id}'")
    taken = await row(platform, job_id)
    await attempt
    assert engine.ended.is_set()
    after = await row(platform, job_id)
    assert {**after, "updated_at": 0} == {**taken, "updated_at": 0}


async def test_a_zombie_leaves_no_object_behind(platform: Platform) -> None:
    async def script(_: Path, hearing: Hearing) -> AsyncIterator[Heard]:
        await force(platform, f"UPDATE transcript_jobs SET fence = fence + 1 WHERE id = '{job_id}'")
        yield Segment(start=0, end=hearing.audio_seconds, text="too late")

    job_id = await make_job(platform, content=SECOND)
    await run(platform, ScriptedEngine(script), job_id)
    objects = [found.key async for found in platform.store.list(layout.job_prefix("local", job_id))]
    assert objects == [layout.source("local", job_id)]
    assert await states(platform, job_id) == ["queued", "processing"]


async def test_an_attempt_that_takes_too_long_fails_with_its_own_code(platform: Platform) -> None:
    engine = ScriptedEngine(for_ever)
    job_id = await make_job(platform, content=SECOND)
    attempt = asyncio.create_task(run(platform, engine, job_id))
    await engine.began.wait()
    await force(platform, f"UPDATE transcript_jobs SET deadline_at = now() - interval '1 s' WHERE id = '{job_id}'")
    await attempt
    after = await row(platform, job_id)
    assert (after["state"], after["error_details"]["code"]) == ("failed", "deadline")  # type: ignore[index]


async def test_a_job_whose_engine_is_away_waits_and_says_why(platform: Platform) -> None:
    away = EngineReport(engine="scripted", available=False, reason="it is being repaired")
    job_id = await make_job(platform)
    await run(platform, ScriptedEngine(report=away), job_id)
    after = await row(platform, job_id)
    assert (after["state"], after["fence"]) == ("queued", 0)
    assert "it is being repaired" in str(after["message"])
    assert after["run_at"] > after["updated_at"]  # type: ignore[operator]


async def test_a_job_that_its_engine_can_never_do_fails(platform: Platform) -> None:
    job_id = await make_job(platform, content=SECOND)
    await force(
        platform,
        'UPDATE transcript_jobs SET engine_params = \'{"engine": "scripted", "language": "tlh"}\''
        f" WHERE id = '{job_id}'",
    )
    english = EngineReport(engine="scripted", available=True, languages=("en-US",))
    await run(platform, ScriptedEngine(report=english), job_id)
    after = await row(platform, job_id)
    assert after["state"] == "failed"
    assert "does not know 'tlh'" in str(after["message"])


async def test_a_job_is_attempted_once_however_often_it_is_rung_for(platform: Platform) -> None:
    engine = ScriptedEngine()
    job_id = await make_job(platform, content=SECOND)
    await asyncio.gather(*(run(platform, engine, job_id) for _ in range(8)))
    assert len(engine.heard) == 1
    assert await states(platform, job_id) == ["queued", "processing", "completed"]


async def test_an_attempt_leaves_no_file_behind(platform: Platform) -> None:
    job_id = await make_job(platform, content=SECOND)
    await run(platform, ScriptedEngine(), job_id)
    folder = platform.settings.media.work_dir
    assert folder is not None
    assert list(folder.glob("attempt-*")) == []


def stereo(left: bytes, right: bytes) -> bytes:
    """A WAV with another sound on each channel, one after the other."""
    silent = bytes(len(left))
    frames = array("h")
    for one, other in zip(memoryview(left + silent).cast("h"), memoryview(silent + right).cast("h"), strict=True):
        frames.extend((one, other))
    return wav(frames.tobytes(), channels=2)


async def each_channel(audio: Path, hearing: Hearing) -> AsyncIterator[Heard]:
    """Hears one segment, where its channel is loud."""
    with wave.open(str(audio)) as file:
        half = memoryview(file.readframes(file.getnframes() // 2)).cast("h")
    start = 0.0 if max(half) > 1000 else hearing.audio_seconds / 2
    yield Segment(start=start, end=start + hearing.audio_seconds / 2, text=f"from {start:.0f}")


CALL = stereo(tone(1.0)[44:], tone(1.0, pitch_hz=300)[44:])


async def submit_with(platform: Platform, content: bytes, **options: object) -> UUID:
    kept = await submission.keep(platform, ME, body(content))
    wanted = submission.Submission(JobOptions.model_validate({"engine": "auto", **options}))
    return (await submission.submit(platform, ME, wanted, kept, filename="a.wav")).job_id


async def test_a_speaker_on_each_channel_is_heard_apart(platform: Platform) -> None:
    job_id = await submit_with(platform, CALL, channel_roles=("provider", "patient"))
    engine = ScriptedEngine(each_channel)
    await run(platform, engine, job_id)
    heard = (await reading.result(platform, ME, job_id)).heard
    assert [(segment.speaker_tag, segment.text) for segment in heard.segments] == [(0, "from 0"), (1, "from 1")]
    assert heard.speaker_roles == {"0": "provider", "1": "patient"}
    assert [hearing.enable_diarization for hearing in engine.heard] == [False, False]


async def test_a_call_is_known_for_one_without_being_told(platform: Platform) -> None:
    job_id = await submit_with(platform, CALL)
    await run(platform, ScriptedEngine(each_channel), job_id)
    heard = (await reading.result(platform, ME, job_id)).heard
    assert [segment.speaker_tag for segment in heard.segments] == [0, 1]


async def test_who_wants_no_speakers_gets_none(platform: Platform) -> None:
    job_id = await submit_with(platform, CALL, enable_diarization=False)
    engine = ScriptedEngine(each_channel)
    await run(platform, engine, job_id)
    assert len(engine.heard) == 1


async def test_channels_with_one_sound_tell_nobody_apart_and_the_result_says_so(platform: Platform) -> None:
    job_id = await submit_with(platform, tone(1.0, channels=2), channel_roles=("provider", "patient"))
    engine = ScriptedEngine()
    await run(platform, engine, job_id)
    heard = (await reading.result(platform, ME, job_id)).heard
    assert len(engine.heard) == 1
    assert [notice.code for notice in heard.warnings] == ["channels_identical"]
    assert heard.speaker_roles == {}


@pytest.mark.parametrize(
    ("content", "options", "code"),
    [
        (SECOND, {"channel_roles": ("provider", "patient")}, "channel_roles_unused"),
        (CALL, {"channel_roles": ("provider", "patient", "companion")}, "channel_roles_uneven"),
        (CALL, {"channel_roles": ("provider", "patient"), "num_speakers": 3}, "speakers_on_channels"),
    ],
)
async def test_what_the_channels_leave_no_use_for_is_said(
    platform: Platform, content: bytes, options: dict[str, object], code: str
) -> None:
    job_id = await submit_with(platform, content, **options)
    speakers = EngineReport(engine="scripted", available=True, detects_language=True, diarizes=True)
    await run(platform, ScriptedEngine(each_channel, report=speakers), job_id)
    assert [notice.code for notice in (await reading.result(platform, ME, job_id)).heard.warnings] == [code]
