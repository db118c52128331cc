"""What an engine took for a job: its own seconds, and nobody else's."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest

from db import engine_reports
from domain.transcript import Heard, Notice, Progress, Segment, StageReached
from engines.contract import DOWNLOAD_STAGE
from services.platform import Platform
from tests.support.audio import tone
from tests.support.jobs import claimed, make_job
from tests.support.scripted import ScriptedEngine, registry_of
from workers.pipeline import run_attempt
from workers.recorder import Recorder

AUDIO_SECONDS = 60.0

Told = Sequence[tuple[float, Heard]]
"""What is said, and how many seconds after the engine was called."""


def progress(done: float, stage: str = "transcribe") -> Progress:
    return Progress(stage=stage, done=done, total=AUDIO_SECONDS)


SEGMENT = Segment(start=0, end=1, text="one")


@pytest.fixture
async def seconds_of(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[..., Awaitable[float | None]]]:
    now = 1000.0
    monkeypatch.setattr("workers.recorder.monotonic", lambda: now)

    async def seconds(told: Told, *, given: StageReached | None = None) -> float | None:
        nonlocal now
        attempt = await claimed(platform)
        recorder = Recorder(platform, attempt, worker="w", engine="e", seconds=AUDIO_SECONDS, persist=_at_once)
        now += 17  # decoding, say
        async with recorder:
            called = now
            if given is not None:
                recorder.begin("scripted", None, given)
            for after, heard in told:
                now = called + after
                await recorder.take(heard)
            now += 23  # roles and flags, say
        return recorder.engine_seconds

    yield seconds


async def _at_once(write: Callable[[], Awaitable[bool]]) -> None:
    await write()


Seconds = Callable[..., Awaitable[float | None]]


async def test_an_engine_is_timed_from_the_call_to_its_last_word(seconds_of: Seconds) -> None:
    assert await seconds_of([(3, SEGMENT), (5, progress(30)), (9, progress(60))]) == pytest.approx(9)


async def test_the_wait_for_a_turn_and_a_model_is_not_the_engines(seconds_of: Seconds) -> None:
    download = Progress(stage=DOWNLOAD_STAGE, done=1, total=2)
    told = [
        (40, download),
        (90, Notice(code="n", message="m")),
        (100, progress(0)),
        (104, SEGMENT),
        (107, progress(60)),
    ]
    assert await seconds_of(told) == pytest.approx(7)


async def test_a_later_stage_that_begins_at_nothing_does_not_start_the_clock_anew(seconds_of: Seconds) -> None:
    told = [(1, progress(0)), (5, progress(60)), (6, progress(0, "align")), (8, progress(60, "align")), (9, SEGMENT)]
    assert await seconds_of(told) == pytest.approx(8)


async def test_a_diarizer_of_the_platforms_own_is_not_the_engine(seconds_of: Seconds) -> None:
    assert await seconds_of([(2, SEGMENT), (4, progress(60)), (50, progress(60, "diarize"))]) == pytest.approx(4)


@pytest.mark.parametrize("told", [[], [(3, Notice(code="n", message="m"))]])
async def test_an_engine_that_said_nothing_of_its_work_was_not_timed(seconds_of: Seconds, told: Told) -> None:
    assert await seconds_of(told) is None


async def test_what_went_on_from_a_text_that_was_there_was_not_timed(seconds_of: Seconds) -> None:
    given = StageReached(stage="transcribe", segments=(SEGMENT,))
    assert await seconds_of([(1, progress(0, "align")), (2, SEGMENT)], given=given) is None


async def test_a_job_that_has_ended_tells_how_fast_its_engine_is(platform: Platform) -> None:
    job_id = await make_job(platform, content=tone(1.0))
    await run_attempt(platform, registry_of(ScriptedEngine(name="timed")), job_id, worker="worker-1")
    async with platform.sessions.alone() as session:
        factors = await engine_reports.real_time_factors(session, ["timed"])
    assert 0 < factors["timed"] < 10
