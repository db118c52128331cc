"""Every attempt is counted under how it ended, and of those that got so far, how long what took."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from config.load import load_settings
from config.settings import Settings
from domain.errors import EngineFailed
from domain.transcript import Heard, Progress, Segment
from engines.contract import Hearing
from messaging.transport import Envelope, Outcome
from services import attempts, ending
from services.attempts import Attempt, Standing
from services.platform import Platform
from tests.support.audio import tone
from tests.support.grown import Grown
from tests.support.jobs import ME, force, make_job
from tests.support.scripted import Script, ScriptedEngine, registry_of
from workers.pipeline import run_attempt
from workers.relay import Timed


@pytest.fixture(scope="module")
def settings(environ: dict[str, str]) -> Settings:
    return load_settings({**environ, "JOB_LEASE_SEC": "0.5", "JOB_MAX_RETRIES": "1"})


async def run(platform: Platform, job_id: UUID, script: Script, name: str) -> None:
    await run_attempt(platform, registry_of(ScriptedEngine(script, name=name)), job_id, worker="worker-1")


async def heard_in_full(_: Path, hearing: Hearing) -> AsyncIterator[Heard]:
    yield Progress(stage="transcribe", done=0, total=hearing.audio_seconds)
    await asyncio.sleep(0.01)
    yield Segment(start=0, end=hearing.audio_seconds, text="all")


async def for_ever(_: Path, hearing: Hearing) -> AsyncIterator[Heard]:
    yield Segment(start=0, end=hearing.audio_seconds / 2, text="half")
    await asyncio.Event().wait()


async def fails_once(_: Path, hearing: Hearing) -> AsyncIterator[Heard]:
    raise EngineFailed("it was one of those days", retryable=True)
    yield Segment(start=0, end=hearing.audio_seconds, text="never")


async def has_a_bug(_: Path, hearing: Hearing) -> AsyncIterator[Heard]:
    raise ZeroDivisionError
    yield Segment(start=0, end=hearing.audio_seconds, text="never")


async def test_a_completed_job_is_measured_from_when_it_could_begin(platform: Platform) -> None:
    job_id, grown = await make_job(platform, content=tone(2.0)), Grown()
    await force(platform, f"UPDATE transcript_jobs SET run_at = now() - interval '100 s' WHERE id = '{job_id}'")
    await run(platform, job_id, heard_in_full, "good")
    assert grown("attempts_total", engine="good", outcome="completed") == 1
    assert grown("job_wait_seconds_sum", engine="good") >= 100
    assert grown("job_seconds_sum", engine="good") > grown("job_wait_seconds_sum", engine="good")
    assert grown("audio_seconds_total", engine="good") == pytest.approx(2.0)
    assert grown("real_time_factor_count", engine="good") == 1
    assert grown("real_time_factor_sum", engine="good") > 0
    assert {stage: grown("stage_seconds_count", stage=stage) for stage in ("fetch", "decode", "hear", "save")} == {
        "fetch": 1, "decode": 1, "hear": 1, "save": 1,
    }  # fmt: skip


async def test_a_heartbeat_that_comes_right_behind_the_end_ends_nothing(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row is no longer held then, as if it had been lost."""
    naming, beaten = attempts.complete, asyncio.Event()
    beat = attempts.heartbeat

    async def complete(*said: Any, **more: Any) -> bool:
        done = await naming(*said, **more)
        await beaten.wait()
        return done

    async def heartbeat(platform: Platform, attempt: Attempt) -> Standing:
        standing = await beat(platform, attempt)
        if standing == Standing.LOST:
            asyncio.get_running_loop().call_later(0, beaten.set)
        return standing

    monkeypatch.setattr(attempts, "complete", complete)
    monkeypatch.setattr(attempts, "heartbeat", heartbeat)
    job_id, grown = await make_job(platform, content=tone(1.0)), Grown()
    await run(platform, job_id, heard_in_full, "late")
    assert grown("attempts_total", engine="late", outcome="completed") == 1
    assert grown("real_time_factor_count", engine="late") == 1


async def test_failures_are_counted_by_whether_they_are_tried_again_and_by_code(platform: Platform) -> None:
    job_id, grown = await make_job(platform, content=tone(1.0)), Grown()
    for _ in range(2):
        await force(platform, f"UPDATE transcript_jobs SET run_at = now() WHERE id = '{job_id}'")
        await run(platform, job_id, fails_once, "poor")
    assert grown("attempts_total", engine="poor", outcome="retried") == 1
    assert grown("attempts_total", engine="poor", outcome="failed") == 1
    assert grown("attempt_failures_total", code="engine_failed") == 2
    assert grown("job_seconds_count", engine="poor") == 0
    assert grown("stage_seconds_count", stage="hear") == 0
    assert grown("job_wait_seconds_count", engine="poor") == 1  # for the first try, and for no other


@pytest.mark.parametrize(
    ("content", "script", "code"),
    [(b"no recording", heard_in_full, "media_unsupported"), (None, has_a_bug, "internal")],
)
async def test_the_code_says_what_it_was(platform: Platform, content: bytes | None, script: Script, code: str) -> None:
    job_id, grown = await make_job(platform, content=content or tone(1.0)), Grown()
    await run(platform, job_id, script, "any")
    assert grown("attempt_failures_total", code=code) == 1


async def cancel(platform: Platform, job_id: UUID, _: asyncio.Task[None]) -> None:
    await ending.cancel(platform, ME, job_id)


async def shut_down(platform: Platform, job_id: UUID, attempt: asyncio.Task[None]) -> None:
    attempt.cancel()


async def run_late(platform: Platform, job_id: UUID, _: asyncio.Task[None]) -> None:
    await force(platform, f"UPDATE transcript_jobs SET deadline_at = now() - interval '1 s' WHERE id = '{job_id}'")


async def lose(platform: Platform, job_id: UUID, _: asyncio.Task[None]) -> None:
    await force(platform, f"UPDATE transcript_jobs SET fence = fence + 1 WHERE id = '{job_id}'")


Stop = Callable[[Platform, UUID, "asyncio.Task[None]"], Coroutine[Any, Any, None]]


@pytest.mark.parametrize(
    ("stop", "outcome"), [(cancel, "cancelled"), (shut_down, "released"), (run_late, "overdue"), (lose, "lost")]
)
async def test_an_attempt_that_is_stopped_is_counted_by_why(platform: Platform, stop: Stop, outcome: str) -> None:
    job_id, grown = await make_job(platform, content=tone(1.0)), Grown()
    engine = ScriptedEngine(for_ever, name="endless")
    attempt = asyncio.create_task(run_attempt(platform, registry_of(engine), job_id, worker="worker-1"))
    await engine.began.wait()
    await stop(platform, job_id, attempt)
    with suppress(asyncio.CancelledError):
        await attempt
    assert grown("attempts_total", engine="endless", outcome=outcome) == 1


class Answering:
    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome

    async def send(self, envelope: Envelope, to: str) -> Outcome:
        return self._outcome

    async def close(self) -> None: ...


@pytest.mark.parametrize(("error", "outcome"), [(None, "delivered"), ("timeout", "timeout")])
async def test_tries_to_deliver_are_counted_by_what_came_of_them(error: str | None, outcome: str) -> None:
    grown, transport = Grown(), Timed(Answering(Outcome(error, None, 1)), "webhook")
    await transport.send(Envelope("id", b""), "somewhere")
    assert grown("delivery_attempts_total", destination="webhook", outcome=outcome) == 1
    assert grown("delivery_seconds_count", destination="webhook") == 1
