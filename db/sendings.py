"""Queries on recordings that are sent to the store in parts. The caller owns the transaction."""

from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import Job, Sending
from domain.lifecycle import JobState


async def keep(session: AsyncSession, job: Job, **values: Any) -> None:
    await session.execute(insert(Sending).values(job_id=job.id, owner=job.owner, **values))


async def get(session: AsyncSession, job_id: UUID, *, owner: str) -> Sending | None:
    return (
        await session.scalars(select(Sending).where(Sending.job_id == job_id, Sending.owner == owner))
    ).one_or_none()


async def count_open(session: AsyncSession, *, owner: str) -> int:
    """How many an owner has begun, with the right to begin the next one: others of the same owner's wait for us."""
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtext(f"sendings {owner}"))))
    statement = select(func.count()).select_from(Job).join(Sending, Sending.job_id == Job.id)
    return await session.scalar(statement.where(Job.owner == owner, Job.state == JobState.PENDING)) or 0
