"""What stages reached is kept: by a retry, by a late failure, by a rerun, and by the platform's own diarizer."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import zstandard

from config.load import load_settings
from config.settings import Settings
from domain.capabilities import EngineReport
from domain.errors import AudioDeleted, DatabaseUnavailable, EngineFailed, IdempotencyKeyReused, Invalid, ResultNotReady
from domain.lifecycle import JobOptions
from domain.transcript import Detected, Heard, Notice, Segment, StageReached, Transcript
from engines.contract import Hearing
from services import attempts, ending, engine_reports, once, reading, rerunning, retention, stages, submission
from services.platform import Platform
from services.rerunning import Rerun
from storage import layout
from tests.support.audio import tone
from tests.support.jobs import ME, body, force, row
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


async def test_a_retry_begins_behind_the_last_stage_that_was_reached(platform: Platform) -> None:
    job_id = await submit(platform, "staged")
    await run(platform, job_id, staged(fail_in="diarize"))
    assert (await row(platform, job_id))["state"] == "queued"
    second = staged()
    await run(platform, job_id, second)
    given = second.heard[0].given
    assert given is not None
    assert (given.stage, second.heard[0].language) == ("align", "pt")
    result = await heard(platform, job_id)
    assert ([segment.text for segment in result.segments], result.language) == (["GOOD", "MORNING"], "pt")
    assert (tags(result), result.speakers_from) == ([0, 1], "staged")


async def test_what_one_engine_reached_is_not_given_to_another(platform: Platform) -> None:
    job_id = await submit(platform, "auto")
    await run(platform, job_id, staged(fail_in="diarize"))
    second = plain()
    await run(platform, job_id, second)
    assert second.heard[0].given is None
    assert (await heard(platform, job_id)).engine == "plain"


async def test_a_late_failure_for_good_leaves_the_text_with_a_warning(platform: Platform) -> None:
    job_id = await submit(platform, "staged")
    await run(platform, job_id, staged(fail_in="diarize", retryable=False))
    result = await heard(platform, job_id)
    assert [segment.text for segment in result.segments] == ["GOOD", "MORNING"]
    assert [notice.code for notice in result.warnings] == ["stages_failed"]
    assert "no diarize today" in result.warnings[0].message


async def test_a_late_failure_that_lasts_does_so_once_the_tries_are_spent(platform: Platform) -> None:
    job_id = await submit(platform, "staged")
    for _ in range(4):
        await run(platform, job_id, staged(fail_in="diarize"))
    assert [notice.code for notice in (await heard(platform, job_id)).warnings] == ["stages_failed"]


async def test_a_failure_before_any_stage_is_one(platform: Platform) -> None:
    job_id = await submit(platform, "staged")
    await run(platform, job_id, staged(fail_in="transcribe", retryable=False))
    assert (await row(platform, job_id))["state"] == "failed"


async def test_the_diarizer_gives_speakers_to_an_engine_that_has_none(platform: Platform) -> None:
    job_id = await submit(platform, "plain", num_speakers=2)
    own = diarizer()
    await run(platform, job_id, plain(), own)
    result = await heard(platform, job_id)
    assert (tags(result), result.speakers_from, result.engine) == ([0, 1, 0], "diarizer", "plain")
    assert own.heard[0].num_speakers == 2


@pytest.mark.parametrize("wish", [None, False])
async def test_the_diarizer_is_left_alone_where_nobody_wishes_for_speakers(
    platform: Platform, wish: bool | None
) -> None:
    job_id = await submit(platform, "plain", enable_diarization=wish)
    own = diarizer()
    await run(platform, job_id, plain(), own)
    assert own.heard == []
    assert tags(await heard(platform, job_id)) == [None, None, None]


async def test_a_diarizer_that_fails_leaves_the_text_with_a_warning(platform: Platform) -> None:
    async def fails(_: Path, __: Hearing) -> AsyncIterator[Heard]:
        raise EngineFailed("it has no ears", retryable=False)
        yield

    job_id = await submit(platform, "plain", enable_diarization=True)
    await run(platform, job_id, plain(), diarizer(fails))
    result = await heard(platform, job_id)
    assert len(result.segments) == 3
    assert [notice.code for notice in result.warnings] == ["diarization_failed"]


async def test_a_diarizer_that_is_down_is_tried_again_without_transcribing_again(platform: Platform) -> None:
    async def down(_: Path, __: Hearing) -> AsyncIterator[Heard]:
        raise EngineFailed("it is starting", retryable=True)
        yield

    job_id = await submit(platform, "plain", enable_diarization=True)
    first, second = plain(), plain()
    await run(platform, job_id, first, diarizer(down))
    await run(platform, job_id, second, diarizer())
    assert (len(first.heard), len(second.heard)) == (1, 0)
    assert tags(await heard(platform, job_id)) == [0, 1, 0]


async def test_auto_moves_on_where_an_engine_is_down_before_it_has_begun(platform: Platform) -> None:
    async def down(_: Path, __: Hearing) -> AsyncIterator[Heard]:
        raise EngineFailed("nobody answers", retryable=True)
        yield

    job_id = await submit(platform, "auto")
    best = ScriptedEngine(down, name="staged", report=STAGED)
    await run(platform, job_id, best, plain())
    result = await heard(platform, job_id)
    assert (len(best.heard), result.engine) == (1, "plain")
    assert "staged" in result.engine_reason
    assert (await row(platform, job_id))["attempts"] == 0


async def test_auto_does_not_move_on_from_an_engine_that_has_begun(platform: Platform) -> None:
    async def breaks(_: Path, __: Hearing) -> AsyncIterator[Heard]:
        yield Segment(start=0, end=0.5, text="one")
        raise EngineFailed("it broke", retryable=True)

    job_id = await submit(platform, "auto")
    second = plain()
    await run(platform, job_id, ScriptedEngine(breaks, name="staged", report=STAGED), second)
    assert second.heard == []
    assert (await row(platform, job_id))["attempts"] == 1


@pytest.fixture
async def parent(platform: Platform) -> UUID:
    """A job whose speakers could not be told apart."""
    job_id = await submit(platform, "staged", max_speakers=4)
    await run(platform, job_id, staged(fail_in="diarize", retryable=False))
    return job_id


async def test_a_rerun_does_one_stage_and_leaves_the_parent_as_it_was(platform: Platform, parent: UUID) -> None:
    receipt = await rerunning.rerun(platform, ME, parent, Rerun(stages=("diarize",), num_speakers=2))
    engine = staged()
    await run(platform, receipt.job_id, engine)
    (hearing,) = engine.heard
    assert hearing.given is not None
    assert (hearing.given.stage, hearing.num_speakers, hearing.max_speakers) == ("align", 2, None)
    child = await heard(platform, receipt.job_id)
    assert (tags(child), child.warnings) == ([0, 1], ())
    assert [segment.text for segment in child.segments] == ["GOOD", "MORNING"]
    assert tags(await heard(platform, parent)) == [None, None]
    assert (await row(platform, receipt.job_id))["parent_job_id"] == parent


async def test_a_rerun_can_begin_further_back(platform: Platform, parent: UUID) -> None:
    receipt = await rerunning.rerun(platform, ME, parent, Rerun(stages=("align", "diarize")))
    engine = staged()
    await run(platform, receipt.job_id, engine)
    given = engine.heard[0].given
    assert given is not None
    assert (given.stage, [segment.text for segment in given.segments]) == ("transcribe", ["good", "morning"])


async def test_where_no_stage_was_kept_the_transcript_itself_is_gone_on_from(platform: Platform) -> None:
    job_id = await submit(platform, "plain")
    await run(platform, job_id, plain())
    receipt = await rerunning.rerun(platform, ME, job_id, Rerun(stages=("diarize",)))
    idle, own = plain(), diarizer()
    await run(platform, receipt.job_id, idle, own)
    assert idle.heard == []
    child = await heard(platform, receipt.job_id)
    assert (tags(child), child.speakers_from, child.text) == ([0, 1, 0], "diarizer", "one two three")


async def test_a_rerun_can_tell_speakers_apart_that_were_told_apart_before(platform: Platform) -> None:
    job_id = await submit(platform, "staged")
    await run(platform, job_id, staged())
    receipt = await rerunning.rerun(platform, ME, job_id, Rerun(stages=("diarize",)))
    engine = staged()
    await run(platform, receipt.job_id, engine)
    given = engine.heard[0].given
    assert given is not None
    assert [segment.speaker_tag for segment in given.segments] == [None, None]


async def test_a_rerun_outlives_its_parent(platform: Platform, parent: UUID) -> None:
    receipt = await rerunning.rerun(platform, ME, parent, Rerun(stages=("diarize",)))
    assert (await ending.erase(platform, ME, parent)).erased_at is not None
    assert [found async for found in platform.store.list(layout.job_prefix("local", parent))] == []
    await run(platform, receipt.job_id, staged())
    assert tags(await heard(platform, receipt.job_id)) == [0, 1]


@pytest.mark.parametrize(
    ("stages", "says"),
    [
        (("transcribe",), "align, diarize"),
        (("translate",), "align, diarize"),
        (("align",), "'diarize' rests on 'align'"),
    ],
)
async def test_stages_that_cannot_be_done_anew_are_refused(
    platform: Platform, parent: UUID, stages: tuple[str, ...], says: str
) -> None:
    with pytest.raises(Invalid, match=says) as refused:
        await rerunning.rerun(platform, ME, parent, Rerun(stages=stages))
    assert refused.value.field == "stages"


async def test_a_job_that_has_not_ended_cannot_be_gone_on_from(platform: Platform) -> None:
    job_id = await submit(platform, "staged")
    with pytest.raises(ResultNotReady):
        await rerunning.rerun(platform, ME, job_id, Rerun(stages=("diarize",)))


async def test_without_its_recording_a_job_cannot_be_gone_on_from(platform: Platform, parent: UUID) -> None:
    stage = layout.stages_prefix("local", parent)
    assert [found async for found in platform.store.list(stage)] != []
    await force(platform, f"UPDATE transcript_jobs SET completed_at = now() - interval '90 days' WHERE id = '{parent}'")
    assert await retention.delete_expired_audio(platform) >= 1
    assert [found async for found in platform.store.list(stage)] == []
    with pytest.raises(AudioDeleted):
        await rerunning.rerun(platform, ME, parent, Rerun(stages=("diarize",)))


async def test_warnings_of_before_come_along_and_those_put_right_do_not(platform: Platform) -> None:
    async def warns(_: Path, hearing: Hearing) -> AsyncIterator[Heard]:
        yield Notice(code="odd", message="something odd")
        yield Notice(code="diarization_unavailable", message="no weights")
        yield Segment(start=0, end=1, text="one")

    job_id = await submit(platform, "plain")
    await run(platform, job_id, ScriptedEngine(warns, name="plain", report=PLAIN))
    receipt = await rerunning.rerun(platform, ME, job_id, Rerun(stages=("diarize",)))
    await run(platform, receipt.job_id, plain(), diarizer())
    assert [notice.code for notice in (await heard(platform, receipt.job_id)).warnings] == ["odd"]


async def test_kept_stages_are_no_orphans_while_their_job_has_its_recording(
    platform: Platform, parent: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {found.key async for found in platform.store.list(layout.job_prefix("local", parent))}
    monkeypatch.setattr(retention, "timedelta", lambda **_: timedelta(seconds=-60))
    await retention.delete_orphans(platform)
    after = {found.key async for found in platform.store.list(layout.job_prefix("local", parent))}
    assert before == after
    assert any(layout.stage_of(key) for key in after)


async def test_kept_stages_without_a_recording_are_orphans(
    platform: Platform, parent: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = layout.stages_prefix("local", parent)
    assert [found async for found in platform.store.list(stage)] != []
    await force(platform, f"UPDATE transcript_jobs SET source_key = NULL WHERE id = '{parent}'")
    monkeypatch.setattr(retention, "timedelta", lambda **_: timedelta(seconds=-60))
    await retention.delete_orphans(platform)
    assert [found async for found in platform.store.list(stage)] == []


async def test_a_rerun_whose_commit_nobody_heard_of_has_what_it_needs(
    platform: Platform, parent: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[UUID] = []
    submit = submission.submit

    async def unheard(*said: Any, **more: Any) -> None:
        made.append((await submit(*said, **more)).job_id)
        raise DatabaseUnavailable

    monkeypatch.setattr(submission, "submit", unheard)
    with pytest.raises(DatabaseUnavailable):
        await rerunning.rerun(platform, ME, parent, Rerun(stages=("diarize",)))
    await run(platform, made[0], staged())
    assert tags(await heard(platform, made[0])) == [0, 1]


async def test_what_an_engine_says_that_cannot_be_kept_costs_nothing_else(platform: Platform) -> None:
    async def script(_: Path, __: Hearing) -> AsyncIterator[Heard]:
        yield Detected(language="e\0n")
        yield StageReached(stage="transcribe", language="en\ud800", segments=text("good\0"))
        yield Segment(start=0, end=1, text="good\0 morn\ud800ing")

    job_id = await submit(platform, "plain", enable_diarization=False)
    await run(platform, job_id, ScriptedEngine(script, name="plain", report=PLAIN))
    transcript = await heard(platform, job_id)
    assert (transcript.language, transcript.text) == ("en", "good morning")


async def test_an_engine_whose_diarizer_is_missing_leaves_the_speakers_to_the_platforms_own(platform: Platform) -> None:
    without = PLAIN.model_copy(update={"speakers_unasked": True})
    for wish in (None, True):
        job_id = await submit(platform, "plain", enable_diarization=wish)
        lead = ScriptedEngine(name="plain", report=without)
        await run(platform, job_id, lead, diarizer())
        assert lead.heard[0].enable_diarization is False
        assert tags(await heard(platform, job_id)) == [0, 1, 0]


async def test_an_attempt_that_has_lost_its_job_leaves_no_text_behind(platform: Platform) -> None:
    job_id = await submit(platform, "staged")
    attempt = await attempts.claim(platform, job_id, worker="zombie")
    assert attempt is not None
    await ending.erase(platform, ME, job_id)
    assert await attempts.cancel(platform, attempt)
    await retention.finish_erasures(platform)
    assert (await ending.receipt(platform, ME, job_id)).erased_at is not None
    await stages.keep(platform, attempt, StageReached(stage="transcribe", segments=text("too late")))
    assert [found async for found in platform.store.list(layout.job_prefix("local", job_id))] == []


@pytest.mark.parametrize("damage", [b"no zstd", zstandard.compress(b'{"stage": "align", "of_the_future": 1}')])
async def test_what_was_kept_and_cannot_be_read_is_done_again(platform: Platform, damage: bytes) -> None:
    job_id = await submit(platform, "staged")
    await run(platform, job_id, staged(fail_in="diarize"))
    await platform.store.put(layout.stage("local", job_id, "align", 1), body(damage))
    second = staged()
    await run(platform, job_id, second)
    assert second.heard[0].given is None
    assert tags(await heard(platform, job_id)) == [0, 1]


async def test_one_engines_words_never_go_out_under_anothers_name(platform: Platform) -> None:
    async def down(_: Path, __: Hearing) -> AsyncIterator[Heard]:
        raise EngineFailed("nobody answers", retryable=True)
        yield

    async def fails(_: Path, __: Hearing) -> AsyncIterator[Heard]:
        raise EngineFailed("it cannot hear this", retryable=False)
        yield

    job_id = await submit(platform, "auto")
    await run(platform, job_id, staged(fail_in="diarize"))
    gone = ScriptedEngine(down, name="staged", report=STAGED)
    await run(platform, job_id, gone, ScriptedEngine(fails, name="plain", report=PLAIN))
    after = await row(platform, job_id)
    assert (after["state"], after["error_details"]["message"]) == ("failed", "it cannot hear this")  # type: ignore[index]


@pytest.mark.parametrize("keeps", [0, 1])
async def test_a_diarizer_that_loses_words_is_not_believed(platform: Platform, keeps: int) -> None:
    async def loses(_: Path, hearing: Hearing) -> AsyncIterator[Heard]:
        assert hearing.given is not None
        for segment in hearing.given.segments[:keeps]:
            yield segment.model_copy(update={"speaker_tag": 0})

    job_id = await submit(platform, "plain", enable_diarization=True)
    await run(platform, job_id, plain(), diarizer(loses))
    result = await heard(platform, job_id)
    assert result.text == "one two three"
    assert [notice.code for notice in result.warnings] == ["diarization_failed"]


async def test_the_result_names_the_model_that_heard_it(platform: Platform) -> None:
    small, large = (STAGED.model_copy(update={"default_model": name}) for name in ("small", "large"))
    job_id = await submit(platform, "staged")
    first, second = staged(fail_in="diarize"), staged()
    first.answer, second.answer = small, large
    await run(platform, job_id, first)
    await run(platform, job_id, second)
    assert (await heard(platform, job_id)).model == "small"


async def test_a_rerun_goes_when_its_parent_would_or_when_it_is_told_to(platform: Platform) -> None:
    kept = await submission.keep(platform, ME, body(tone(2.0)))
    wanted = submission.Submission(JobOptions(engine="plain"), delete_after_seconds=60)
    parent = (await submission.submit(platform, ME, wanted, kept, filename="visit.wav")).job_id
    await run(platform, parent, plain())
    for said, expected in ((None, 60), (30, 30)):
        wish = Rerun(stages=("diarize",), delete_after_seconds=said)
        child = (await rerunning.rerun(platform, ME, parent, wish)).job_id
        assert (await row(platform, child))["delete_after_seconds"] == expected


async def test_a_rerun_that_is_sent_again_is_answered_even_when_its_parent_has_gone(
    platform: Platform, parent: UUID
) -> None:
    key, wish = once.Key.parse("a-key-of-a-rerun"), Rerun(stages=("diarize",))
    first = await rerunning.rerun(platform, ME, parent, wish, key=key)
    await ending.erase(platform, ME, parent)
    again = await rerunning.rerun(platform, ME, parent, wish, key=key)
    assert (again.job_id, again.replayed) == (first.job_id, True)
    with pytest.raises(IdempotencyKeyReused):
        await rerunning.rerun(platform, ME, parent, Rerun(stages=("align", "diarize")), key=key)
