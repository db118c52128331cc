"""Reruns: the last stages done anew, of what was kept of a job."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from domain.access import PERSONAL, Caller, Scope
from domain.errors import AudioDeleted, DatabaseUnavailable, IdempotencyKeyReused, Invalid, ResultNotReady
from domain.lifecycle import JobOptions
from domain.transcript import Heard, Notice, Segment
from engines.contract import Hearing
from services import ending, once, rerunning, retention, submission
from services.platform import Platform
from services.rerunning import Rerun
from storage import layout
from tests.support.audio import tone
from tests.support.jobs import ME, body, force, row
from tests.support.scripted import ScriptedEngine
from tests.support.staged import PLAIN, diarizer, heard, plain, run, staged, submit, tags
from tests.support.staged import reported as reported
from tests.support.staged import settings as settings


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


@pytest.mark.parametrize(("scopes", "lane"), [(PERSONAL, "interactive"), ({Scope.WRITE}, "normal")])
async def test_a_rerun_goes_in_its_parents_lane_where_its_caller_may(
    platform: Platform, parent: UUID, scopes: frozenset[Scope], lane: str
) -> None:
    await force(platform, f"UPDATE transcript_jobs SET lane = 'interactive' WHERE id = '{parent}'")
    caller = Caller(ME.owner, frozenset(scopes))
    receipt = await rerunning.rerun(platform, caller, parent, Rerun(stages=("diarize",), num_speakers=2))
    assert (await row(platform, receipt.job_id))["lane"] == lane


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
