"""An engine in stages and what it hears, for tests of what is kept of them. The fixtures are for who imports them."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest

from config.load import load_settings
from config.settings import Settings
from domain.capabilities import EngineReport
from domain.errors import EngineFailed
from domain.lifecycle import JobOptions
from domain.transcript import Detected, Heard, Segment, StageReached, Transcript
from engines.contract import Hearing
from services import engine_reports, reading, submission
from services.platform import Platform
from tests.support.audio import tone
from tests.support.jobs import ME, body, force
from tests.support.scripted import ScriptedEngine, registry_of
from workers.pipeline import run_attempt

STAGES = ("transcribe", "align", "diarize")

STAGED = EngineReport(engine="staged", available=True, quality=50, detects_language=True, diarizes=True, stages=STAGES)

PLAIN = EngineReport(engine="plain", available=True, quality=10, detects_language=True)

DIARIZER = EngineReport(engine="diarizer", available=True, stages=("diarize",))


@pytest.fixture(scope="module")
def settings(environ: dict[str, str]) -> Settings:
    return load_settings({**environ, "JOB_LEASE_SEC": "0.5"})


@pytest.fixture(autouse=True)
async def reported(platform: Platform) -> None:
    await engine_reports.record(platform, worker="worker-1", reports=[STAGED, PLAIN, DIARIZER])


async def submit(platform: Platform, engine: str, **options: object) -> UUID:
    kept = await submission.keep(platform, ME, body(tone(2.0)))
    wanted = submission.Submission(JobOptions.model_validate({"engine": engine, **options}))
    return (await submission.submit(platform, ME, wanted, kept, filename="visit.wav")).job_id


async def run(platform: Platform, job_id: UUID, *engines: ScriptedEngine) -> None:
    await force(platform, f"UPDATE transcript_jobs SET run_at = now() WHERE id = '{job_id}'")
    await run_attempt(platform, registry_of(*engines), job_id, worker="worker-1")


async def heard(platform: Platform, job_id: UUID) -> Transcript:
    return (await reading.result(platform, ME, job_id)).heard


def text(*words: str) -> tuple[Segment, ...]:
    return tuple(Segment(start=n, end=n + 0.5, text=word) for n, word in enumerate(words))


def staged(*, fail_in: str | None = None, retryable: bool = True) -> ScriptedEngine:
    """Transcribes, aligns (which spells the words in capitals) and diarizes (a speaker a segment), as it is given."""

    async def script(_: Path, hearing: Hearing) -> AsyncIterator[Heard]:
        segments = hearing.given.segments if hearing.given else text("good", "morning")
        done = STAGES.index(hearing.given.stage) + 1 if hearing.given else 0
        for stage in STAGES[done:]:
            if stage == fail_in:
                raise EngineFailed(f"no {stage} today", retryable=retryable)
            if stage == "transcribe":
                yield Detected(language="pt", probability=0.9)
            if stage == "align":
                segments = tuple(segment.model_copy(update={"text": segment.text.upper()}) for segment in segments)
            if stage != "diarize":
                yield StageReached(stage=stage, language="pt", segments=segments)
        for tag, segment in enumerate(segments):
            yield segment.model_copy(update={"speaker_tag": tag})

    return ScriptedEngine(script, name="staged", report=STAGED)


async def two_voices(_: Path, hearing: Hearing) -> AsyncIterator[Heard]:
    assert hearing.given is not None
    for tag, segment in enumerate(hearing.given.segments):
        yield segment.model_copy(update={"speaker_tag": tag % 2})


def diarizer(script: object = two_voices) -> ScriptedEngine:
    return ScriptedEngine(script, name="diarizer", report=DIARIZER)  # type: ignore[arg-type]


def plain() -> ScriptedEngine:
    return ScriptedEngine(name="plain", report=PLAIN)


def tags(transcript: Transcript) -> list[int | None]:
    return [segment.speaker_tag for segment in transcript.segments]
