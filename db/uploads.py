"""Queries on jobs whose recording waits, or is still to come. The caller owns the transaction."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from db.jobs import OF_OWNER
from db.moves import change, changed, move, moved
from db.tables import Job, Transcript
from domain.lifecycle import UPLOAD_EXPIRED, JobState

PENDING = Job.state == JobState.PENDING

PIN = change(OF_OWNER, PENDING, updated_at=func.now())


async def pin(session: AsyncSession, job_id: UUID, *, owner: str, size_bytes: int, sha256: str) -> Job | None:
    """Say which bytes the recording is: what comes to lie under its key later is another."""
    return await changed(session, PIN, job_id, of_owner=owner, source_bytes=size_bytes, source_sha256=sha256)


FINALISE = move("finalise", OF_OWNER, Job.source_sha256.is_not(None), run_at=func.now(), dispatched_at=func.now())


async def finalise(
    session: AsyncSession, job_id: UUID, *, owner: str, session_id: UUID | None, **wanted: Any
) -> Job | None:
    """Queue a job whose recording is pinned; `wanted` is what its owner says of it now, by the columns of its row."""
    job = await moved(session, FINALISE, job_id, of_owner=owner, **wanted)
    if job is not None and session_id is not None:
        grouped = update(Transcript).where(Transcript.id == job.transcript_id).values(session_id=session_id)
        await session.execute(grouped)
    return job


EXPIRE = move(
    "expire",
    source_key=None,
    audio_deleted_at=func.now(),
    completed_at=func.now(),
    error_details=UPLOAD_EXPIRED,
    message=UPLOAD_EXPIRED["message"],
)


async def expire(session: AsyncSession, *, older_than: timedelta, limit: int) -> list[Job]:
    """End the jobs that have waited for too long; their objects are the caller's to delete."""
    old = await session.scalars(
        select(Job.id)
        .where(PENDING, Job.created_at < func.now() - older_than)
        .order_by(Job.created_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    expired = [job for job_id in old.all() if (job := await moved(session, EXPIRE, job_id)) is not None]
    theirs = Transcript.id.in_([job.transcript_id for job in expired])
    await session.execute(update(Transcript).where(theirs).values(status=JobState.FAILED, updated_at=func.now()))
    return expired
