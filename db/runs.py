"""What was last asked of recordings, and the jobs that have heard one. The caller owns the transaction."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from db.jobs import HERE
from db.tables import Job, Transcript
from db.video_tables import Run


async def keep(session: AsyncSession, job_id: UUID, **asked: Any) -> Run:
    """In the place of what was asked before."""
    statement = insert(Run).values(job_id=job_id, **asked)
    latest = {**asked, "updated_at": func.now()}
    written = statement.on_conflict_do_update(index_elements=["job_id"], set_=latest).returning(Run)
    return (await session.scalars(written, execution_options={"populate_existing": True})).one()


async def latest(session: AsyncSession, job_id: UUID, *, owner: str) -> Run | None:
    """None as well where the job that heard it has been erased since."""
    statement = select(Run).join(Job, Job.id == Run.heard_by).where(Run.job_id == job_id, Run.owner == owner, *HERE)
    return (await session.scalars(statement)).one_or_none()


async def family(session: AsyncSession, job_id: UUID, *, owner: str) -> Sequence[tuple[Job, Transcript]]:
    """A job and those that were made of its recording, the newest first."""
    statement = (
        select(Job, Transcript)
        .join(Transcript, Transcript.id == Job.transcript_id)
        .where(or_(Job.id == job_id, Job.parent_job_id == job_id), Job.owner == owner, *HERE)
        .order_by(Job.created_at.desc())
    )
    return [(job, transcript) for job, transcript in await session.execute(statement)]
