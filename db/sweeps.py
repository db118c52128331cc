"""What the sweeper asks of the jobs as a whole. The caller owns the transaction."""

from collections.abc import Iterable
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Interval, and_, bindparam, case, delete, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from db.erasures import UNERASED
from db.moves import LOST
from db.tables import Job, Transcript
from domain.lifecycle import MAX_CRASHES, TERMINAL, JobState

NOW = func.now()

ERASABLE = TERMINAL | {JobState.EXPIRED}

SPENT = and_(Job.state == JobState.QUEUED, Job.crash_count >= MAX_CRASHES)


RUNG_BEFORE = NOW - bindparam("older_than", type_=Interval())
UNRUNG = and_(
    Job.state == JobState.QUEUED,
    Job.run_at <= NOW,
    or_(and_(Job.run_at > Job.dispatched_at, Job.run_at <= NOW), Job.dispatched_at < RUNG_BEFORE),
)
"""Due, and last rung for a while ago, or due only since."""


class Due(NamedTuple):
    """Whether there are jobs for each of a sweeper's duties."""

    lost: bool
    spent: bool
    unrung: bool
    unerased: bool


DUE = select(
    *(exists().where(kind) for kind in (and_(Job.state == JobState.PROCESSING, LOST), SPENT, UNRUNG, UNERASED))
)
"""One look for all, built once, as a platform with nothing to do asks every second."""


async def due(session: AsyncSession, *, ring_after: timedelta) -> Due:
    return Due._make((await session.execute(DUE, {"older_than": ring_after})).one())


async def pin_now(session: AsyncSession) -> None:
    """Begin the transaction, and with it fix what `now()` means until its end."""
    await session.execute(select(func.now()))


async def extend_all_leases(session: AsyncSession, lease: timedelta) -> int:
    """Give every worker its whole lease again, after a pause in which no heartbeat could be heard."""
    statement = (
        update(Job).where(Job.state == JobState.PROCESSING).values(lease_until=func.now() + lease).returning(Job.id)
    )
    return len((await session.scalars(statement)).all())


async def stale_dispatches(session: AsyncSession, *, older_than: timedelta, limit: int) -> list[tuple[UUID, int]]:
    """Due jobs last rung for a while ago, or that became due since: (id, dispatch number), oldest first."""
    statement = select(Job.id, Job.dispatch_no).where(UNRUNG).order_by(Job.dispatched_at).limit(limit)
    return [(job_id, number) for job_id, number in await session.execute(statement, {"older_than": older_than})]


async def renumber(session: AsyncSession, job_ids: Iterable[UUID]) -> list[tuple[UUID, int]]:
    """New dispatch numbers: a ring that was swallowed may have left its old number marked as taken."""
    statement = (
        update(Job)
        .where(Job.id.in_(list(job_ids)), Job.state == JobState.QUEUED)
        .values(dispatch_no=Job.dispatch_no + 1, dispatched_at=func.now())
        .returning(Job.id, Job.dispatch_no)
    )
    return [(job_id, number) for job_id, number in await session.execute(statement)]


async def touch_dispatched(session: AsyncSession, job_ids: Iterable[UUID]) -> None:
    """Remember that these were seen waiting in the queue just now."""
    statement = (
        update(Job).where(Job.id.in_(list(job_ids)), Job.state == JobState.QUEUED).values(dispatched_at=func.now())
    )
    await session.execute(statement)


async def spent(session: AsyncSession, *, limit: int) -> list[UUID]:
    statement = select(Job.id).where(SPENT).limit(limit)
    return list((await session.scalars(statement)).all())


async def with_expired_audio(
    session: AsyncSession, *, kept: timedelta, failed_kept: timedelta, limit: int
) -> list[Job]:
    """Ended jobs whose recording has outlived its time."""
    age_allowed = case((Job.state == JobState.FAILED, failed_kept), else_=kept)
    statement = (
        select(Job)
        .where(Job.audio_deleted_at.is_(None), Job.completed_at.is_not(None), Job.state.in_(TERMINAL))
        .where(Job.completed_at < func.now() - age_allowed)
        .limit(limit)
    )
    return list((await session.scalars(statement)).all())


async def note_audio_deleted(session: AsyncSession, job_ids: Iterable[UUID]) -> None:
    values = {"audio_deleted_at": func.now(), "source_key": None}
    await session.execute(update(Job).where(Job.id.in_(list(job_ids))).values(values))


async def wish_expired_erased(session: AsyncSession, *, kept: timedelta | None, limit: int) -> int:
    """Mark ended jobs for erasure that have outlived the time that their owner, or `kept` for all, gives them."""
    lasts = func.make_interval(0, 0, 0, 0, 0, 0, Job.delete_after_seconds)
    wished = await _wish_erased(session, limit, Job.delete_after_seconds.is_not(None), Job.completed_at + lasts < NOW)
    return wished + (0 if kept is None else await _wish_erased(session, limit, Job.completed_at < NOW - kept))


async def _wish_erased(session: AsyncSession, limit: int, *expired: ColumnElement[bool]) -> int:
    """Each kind of expiry by itself, as each has an index of its own."""
    due = (
        select(Job.id)
        .where(Job.completed_at.is_not(None), Job.erase_requested_at.is_(None), Job.state.in_(ERASABLE), *expired)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    statement = update(Job).where(Job.id.in_(due)).values(erase_requested_at=NOW).returning(Job.id)
    return len((await session.scalars(statement)).all())


async def forget_tombstones(session: AsyncSession, *, older_than: timedelta, limit: int) -> int:
    """Delete the last rows of jobs that were erased long ago."""
    old = select(Job.id).where(Job.erased_at < func.now() - older_than).limit(limit)
    statement = delete(Job).where(Job.id.in_(old), Job.state == JobState.PURGED).returning(Job.transcript_id)
    transcripts = list((await session.scalars(statement)).all())
    await session.execute(delete(Transcript).where(Transcript.id.in_(transcripts)))
    return len(transcripts)


async def keys_in_use(session: AsyncSession, job_ids: Iterable[UUID]) -> set[str]:
    """The objects that the rows of these jobs point to."""
    rows = await session.execute(select(Job.source_key, Job.result_key).where(Job.id.in_(list(job_ids))))
    return {key for row in rows for key in row if key is not None}


async def with_stages(session: AsyncSession, job_ids: Iterable[UUID]) -> set[UUID]:
    """Those of these jobs whose kept stages may be of use yet: while there is a recording to go on with."""
    rows = await session.scalars(select(Job.id).where(Job.id.in_(list(job_ids)), Job.source_key.is_not(None)))
    return set(rows.all())
