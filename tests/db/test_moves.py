"""Every move × state × flag on real PostgreSQL: the guards and the trigger say what the table of moves says."""

import itertools
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from db import jobs, uploads
from db.tables import Job
from domain.lifecycle import MOVES, TERMINAL, WORKER_CRASHED, JobState, allowed
from services.platform import Platform
from tests.support.jobs import claimed, force, in_state, make_job, row

HOUR, NOW = timedelta(hours=1), timedelta(0)
ERROR = {"code": "test", "message": "a test asked for it"}

Call = Callable[[Any, Any, int], Awaitable[Job | None]]

CALLS: dict[str, Call] = {
    "finalise": lambda session, job_id, fence: uploads.finalise(session, job_id, owner="local", session_id=None),
    "claim": lambda session, job_id, fence: jobs.claim(session, job_id, worker="w", lease=HOUR, floor=HOUR),
    "complete": lambda session, job_id, fence: jobs.complete(session, job_id, fence, result_key="k", message=None),
    "fail": lambda session, job_id, fence: jobs.fail(session, job_id, fence, error=ERROR),
    "retry": lambda session, job_id, fence: jobs.retry(
        session, job_id, fence, delay=HOUR, error=ERROR, message="waiting"
    ),
    "release": lambda session, job_id, fence: jobs.release(session, job_id, fence, message="drained", delay=NOW),
    "cancel_working": jobs.cancel_working,
    "cancel_waiting": lambda session, job_id, fence: jobs.cancel_waiting(session, job_id, owner="local"),
    "give_up": lambda session, job_id, fence: jobs.give_up(session, job_id, error=WORKER_CRASHED),
    "purge": lambda session, job_id, fence: jobs.purge(session, job_id, owner="local"),
}

FOUND_CANCELLED = {"retry", "release"}
"""Moves back to the queue, which cancel instead where that is wished for."""

STOPPED_BY_WISH = {"claim", "complete", "fail"}
NEEDS_WISH = {"cancel_working"}


def expected(name: str, state: JobState, wished: bool) -> JobState | None:
    """What the table of moves says: the state reached, or None where the move must do nothing."""
    sources = {move.source for move in MOVES if move.name == name}
    if name == "cancel_waiting":
        sources |= {JobState.PENDING}
    if state not in sources:
        return None
    if (wished and name in STOPPED_BY_WISH) or (not wished and name in NEEDS_WISH):
        return None
    if wished and name in FOUND_CANCELLED:
        return JobState.CANCELLED
    return next(move.target for move in MOVES if move.name == name)


@pytest.mark.parametrize("wished", [False, True], ids=["wanted", "cancel wished"])
@pytest.mark.parametrize("state", list(JobState))
@pytest.mark.parametrize("name", CALLS)
async def test_a_move_happens_from_its_own_states_only(
    platform: Platform, name: str, state: JobState, wished: bool
) -> None:
    job_id = await in_state(platform, state)
    wish = "now()" if wished else "NULL"
    await force(platform, f"UPDATE transcript_jobs SET cancel_requested_at = {wish} WHERE id = '{job_id}'")
    before = await row(platform, job_id)
    async with platform.sessions.begin() as session:
        moved = await CALLS[name](session, job_id, int(str(before["fence"])))
    after = await row(platform, job_id)
    target = expected(name, state, wished)
    if target is None:
        assert moved is None
        assert after == before
        return
    assert moved is not None
    assert after["state"] == target
    assert after["seq"] == int(str(before["seq"])) + 1
    if target in TERMINAL:
        assert after["completed_at"] is not None


@pytest.mark.parametrize("name", ["complete", "fail", "retry", "release", "cancel_working"])
async def test_a_worker_with_an_old_fence_moves_nothing(platform: Platform, name: str) -> None:
    attempt = await claimed(platform)
    if name in NEEDS_WISH:
        await force(platform, f"UPDATE transcript_jobs SET cancel_requested_at = now() WHERE id = '{attempt.job_id}'")
    before = await row(platform, attempt.job_id)
    async with platform.sessions.begin() as session:
        assert await CALLS[name](session, attempt.job_id, attempt.fence - 1) is None
    assert await row(platform, attempt.job_id) == before


async def test_the_database_refuses_every_transition_that_is_not_in_the_table(platform: Platform) -> None:
    for source, target in itertools.product(JobState, JobState):
        if source == target:
            continue
        job_id = await in_state(platform, source)
        change = text("UPDATE transcript_jobs SET state = :state WHERE id = :id")
        try:
            async with platform.sessions.begin() as session:
                await session.execute(change, {"state": target, "id": job_id})
            refused = False
        except DBAPIError as error:
            refused = "cannot become" in str(error.orig)
        assert refused != allowed(source, target), f"{source} > {target}"


@pytest.mark.parametrize("change", ["fence = fence + 1", "result_key = 'forged'", "seq = seq + 1"])
async def test_the_database_lets_nothing_change_a_finished_job(platform: Platform, change: str) -> None:
    job_id = await in_state(platform, JobState.COMPLETED)
    with pytest.raises(DBAPIError, match="does not change"):
        async with platform.sessions.begin() as session:
            await session.execute(text(f"UPDATE transcript_jobs SET {change} WHERE id = :id"), {"id": job_id})


async def test_a_fence_never_falls(platform: Platform) -> None:
    attempt = await claimed(platform)
    with pytest.raises(DBAPIError, match="never falls"):
        async with platform.sessions.begin() as session:
            await session.execute(text("UPDATE transcript_jobs SET fence = 0 WHERE id = :id"), {"id": attempt.job_id})


async def test_a_job_is_not_claimed_before_it_is_due(platform: Platform) -> None:
    job_id = await make_job(platform)
    await force(platform, f"UPDATE transcript_jobs SET run_at = now() + interval '1 hour' WHERE id = '{job_id}'")
    async with platform.sessions.begin() as session:
        assert await CALLS["claim"](session, job_id, 0) is None


async def test_events_are_numbered_without_gaps(platform: Platform) -> None:
    job_id = await in_state(platform, JobState.COMPLETED)
    async with platform.sessions.begin() as session:
        numbers = (
            await session.scalars(text(f"SELECT seq FROM job_events WHERE job_id = '{job_id}' ORDER BY seq"))
        ).all()
    assert numbers == [1, 2, 3]
