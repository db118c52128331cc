"""The line that jobs stand in, and what they have before them: by what was measured, or unknown."""

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from domain.access import PERSONAL, Caller, Scope
from domain.capabilities import EngineReport
from domain.errors import JobNotFound
from domain.lifecycle import JobState
from services import attempts, engine_reports, queueing
from services.platform import Platform
from services.queueing import Outlook
from tests.support.audio import tone
from tests.support.endpoints import run_sql
from tests.support.jobs import ME, force, in_state, make_job, nobody_waits

HOSTED = EngineReport(engine="hosted", available=True, quality=50, memory=())
"""One recording after another."""
REMOTE = EngineReport(engine="remote", available=True, quality=10)
"""As many at once as it is given."""

ADMIN = Caller("operator", PERSONAL | {Scope.ADMIN})


@pytest.fixture(autouse=True)
async def nothing_before(platform: Platform) -> AsyncIterator[None]:
    """No job waits, no engine has done anything, and there is one worker."""
    await nobody_waits(platform)
    await run_sql(platform, "UPDATE transcripts SET engine_seconds = NULL")
    await engine_reports.record(platform, worker="w", reports=[HOSTED, REMOTE])
    yield
    await force(platform, "DELETE FROM engine_reports")


async def measured(platform: Platform, engine: str, *, audio: float, took: float) -> None:
    """A job of the engine's that is done."""
    job_id = await in_state(platform, JobState.COMPLETED)
    row = f"(SELECT transcript_id FROM transcript_jobs WHERE id = '{job_id}')"
    said = f"engine = '{engine}', duration = {audio}, engine_seconds = {took}"
    await run_sql(platform, f"UPDATE transcripts SET {said} WHERE id = {row}")


async def queued(platform: Platform, engine: str, *, seconds: float) -> UUID:
    return await make_job(platform, engine=engine, content=tone(seconds))


async def outlook(platform: Platform, job_id: UUID) -> Outlook:
    return await queueing.outlook(platform, ME, job_id)


async def test_the_next_to_be_taken_is_first_whoever_the_others_belong_to(platform: Platform) -> None:
    await make_job(platform, owner=Caller("somebody else"))
    mine = await make_job(platform)
    assert (await outlook(platform, mine)).position == 2


async def test_a_job_that_waits_for_its_retry_is_behind_those_that_are_due(platform: Platform) -> None:
    later, due = await make_job(platform), await make_job(platform)
    await run_sql(platform, f"UPDATE transcript_jobs SET run_at = now() + interval '9 s' WHERE id = '{later}'")
    assert [(await outlook(platform, job_id)).position for job_id in (due, later)] == [1, 2]


@pytest.mark.parametrize("state", [JobState.PENDING, JobState.PROCESSING, JobState.COMPLETED, JobState.CANCELLED])
async def test_a_job_that_does_not_wait_has_no_position(platform: Platform, state: JobState) -> None:
    await make_job(platform)
    assert (await outlook(platform, await in_state(platform, state))).position == 0


async def test_nothing_measured_is_nothing_known(platform: Platform) -> None:
    await measured(platform, "remote", audio=10, took=5)
    assert await outlook(platform, await queued(platform, "hosted", seconds=1)) == Outlook(1, None, None)


async def test_one_recording_after_another_is_waited_for(platform: Platform) -> None:
    await measured(platform, "hosted", audio=10, took=5)
    ahead = await queued(platform, "hosted", seconds=1)
    await run_sql(platform, f"UPDATE transcript_jobs SET audio_seconds = 100, audio_done = 40 WHERE id = '{ahead}'")
    await queued(platform, "remote", seconds=1)  # which is in nobody's way
    mine = await outlook(platform, await queued(platform, "hosted", seconds=2))
    assert mine.work_seconds == pytest.approx(1.0)
    assert mine.remaining_seconds == pytest.approx(30.0 + 1.0)


async def test_a_recording_ahead_of_unknown_length_counts_as_the_last_ones_did(platform: Platform) -> None:
    await measured(platform, "hosted", audio=10, took=5)
    await queued(platform, "hosted", seconds=1)
    mine = await outlook(platform, await queued(platform, "hosted", seconds=2))
    assert mine.remaining_seconds == pytest.approx(5.0 + 1.0)


async def test_an_engine_that_hears_many_at_once_is_waited_for_as_long_less(platform: Platform) -> None:
    await measured(platform, "remote", audio=10, took=6)
    await queued(platform, "remote", seconds=1)
    mine = await outlook(platform, await queued(platform, "remote", seconds=10))
    assert mine.remaining_seconds == pytest.approx(6.0 / platform.settings.workers.max_concurrent_jobs + 6.0)


async def test_auto_is_the_engine_that_it_would_take_and_waits_in_its_line(platform: Platform) -> None:
    await measured(platform, "hosted", audio=10, took=5)
    first = await queued(platform, "auto", seconds=2)
    assert (await outlook(platform, first)).work_seconds == pytest.approx(1.0)
    named = await outlook(platform, await queued(platform, "hosted", seconds=2))
    assert named.remaining_seconds == pytest.approx(5.0 + 1.0)


async def test_what_a_running_job_has_heard_is_behind_it(platform: Platform) -> None:
    await measured(platform, "hosted", audio=10, took=5)
    job_id = await queued(platform, "hosted", seconds=1)
    await attempts.claim(platform, job_id, worker="w")
    await run_sql(platform, f"UPDATE transcript_jobs SET audio_seconds = 100, audio_done = 40 WHERE id = '{job_id}'")
    mine = await outlook(platform, job_id)
    assert mine.work_seconds == pytest.approx(50.0)
    assert mine.remaining_seconds == pytest.approx(30.0)


async def test_where_nobody_can_begin_the_end_is_unknown(platform: Platform) -> None:
    await measured(platform, "hosted", audio=10, took=5)
    job_id = await queued(platform, "hosted", seconds=2)
    await force(platform, "UPDATE engine_reports SET reported_at = now() - interval '5 s'")
    mine = await outlook(platform, job_id)
    assert mine.work_seconds == pytest.approx(1.0)
    assert mine.remaining_seconds is None


async def test_a_recording_that_is_gone_costs_only_the_estimate(platform: Platform) -> None:
    await measured(platform, "hosted", audio=10, took=5)
    job_id = await queued(platform, "hosted", seconds=2)
    (key,) = (await run_sql(platform, f"SELECT source_key FROM transcript_jobs WHERE id = '{job_id}'"))[0]
    await platform.store.delete(key)
    assert await outlook(platform, job_id) == Outlook(1, None, None)


async def test_anothers_job_is_not_found(platform: Platform) -> None:
    theirs = await make_job(platform, owner=Caller("somebody else"))
    for job_id in (theirs, uuid4()):
        with pytest.raises(JobNotFound):
            await outlook(platform, job_id)


async def test_the_line_is_the_callers_own_and_an_administrators_whole(platform: Platform) -> None:
    lonely = Caller(f"owner-{uuid4()}")
    before = (await queueing.line(platform, ADMIN)).tally
    await make_job(platform, owner=lonely)
    running = await make_job(platform, owner=lonely)
    await attempts.claim(platform, running, worker="w")
    theirs = (await queueing.line(platform, lonely)).tally
    whole = (await queueing.line(platform, ADMIN)).tally
    assert (theirs.waiting, theirs.working, theirs.total) == (1, 1, 2)
    assert (whole.waiting, whole.working, whole.total) == (before.waiting + 1, before.working + 1, before.total + 2)


async def test_what_workers_attend_to_at_once_is_counted_by_those_that_live(platform: Platform) -> None:
    each = platform.settings.workers.max_concurrent_jobs
    await engine_reports.record(platform, worker="another", reports=[HOSTED])
    line = await queueing.line(platform, ME)
    assert (line.workers, line.capacity) == (2, 2 * each)
    await force(platform, "UPDATE engine_reports SET reported_at = now() - interval '5 s'")
    line = await queueing.line(platform, ME)
    assert (line.workers, line.capacity) == (0, 0)
