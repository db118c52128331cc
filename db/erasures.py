"""What is wished gone, and how far that has got. The caller owns the transaction."""

from uuid import UUID

from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import Job
from domain.lifecycle import ENDED, JobState

UNERASED = and_(Job.erase_requested_at.is_not(None), Job.erased_at.is_(None), Job.state.in_(ENDED))


async def wish_erased(session: AsyncSession, job_id: UUID, *, owner: str) -> Job | None:
    """Mark a job as gone to its owner, and leave word for a worker that may hold it."""
    statement = (
        update(Job)
        .where(Job.id == job_id, Job.owner == owner, Job.state != JobState.PURGED, Job.erase_requested_at.is_(None))
        .values(erase_requested_at=func.now(), cancel_requested_at=func.coalesce(Job.cancel_requested_at, func.now()))
        .returning(Job)
    )
    return (await session.scalars(statement)).one_or_none()


async def to_erase(session: AsyncSession, *, limit: int) -> list[Job]:
    """Ended jobs whose erasure is wished for and not yet done to its end."""
    return list((await session.scalars(select(Job).where(UNERASED).limit(limit))).all())


async def tombstone(session: AsyncSession, job_id: UUID, *, owner: str) -> Job | None:
    """What is left of a job that is gone to its owner, or about to be."""
    gone = or_(Job.state == JobState.PURGED, Job.erase_requested_at.is_not(None))
    return (await session.scalars(select(Job).where(Job.id == job_id, Job.owner == owner, gone))).one_or_none()


async def note_erased(session: AsyncSession, job_id: UUID, *, objects_deleted: int) -> Job | None:
    """Its objects are gone too. Asked again, it leaves what was said first."""
    values = {
        "erased_at": func.coalesce(Job.erased_at, func.now()),
        "objects_deleted": func.coalesce(Job.objects_deleted, objects_deleted),
    }
    statement = update(Job).where(Job.id == job_id, Job.state == JobState.PURGED).values(values).returning(Job)
    return (await session.scalars(statement)).one_or_none()
