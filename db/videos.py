"""Queries on videos. The caller owns the transaction; every change of state is one guarded UPDATE, as with jobs.

All time is PostgreSQL's `now()`.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import and_, bindparam, case, exists, func, insert, literal, select, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.sql.dml import ReturningUpdate

from db.moves import after
from db.tables import Job
from db.video_tables import Video
from domain.lifecycle import ENDED, MAX_CRASHES
from domain.videos import RENDERER_CRASHED, VideoState

NOW = func.now()
WAITS = Video.state == VideoState.QUEUED
LOST = and_(Video.state == VideoState.PROCESSING, Video.lease_until < NOW)


async def insert_video(session: AsyncSession, **values: Any) -> Video:
    return (await session.scalars(insert(Video).values(values).returning(Video))).one()


async def get(session: AsyncSession, video_id: UUID, *, job_id: UUID, owner: str) -> Video | None:
    mine = (Video.id == video_id, Video.job_id == job_id, Video.owner == owner)
    return (await session.scalars(select(Video).where(*mine))).one_or_none()


async def under_way(session: AsyncSession, job_id: UUID, *, owner: str, profile: str, mode: str) -> Video | None:
    """A video of this kind that has not ended."""
    same = (Video.job_id == job_id, Video.owner == owner, Video.profile == profile, Video.mode == mode)
    unended = Video.state.in_((VideoState.QUEUED, VideoState.PROCESSING))
    return (await session.scalars(select(Video).where(*same, unended).limit(1))).one_or_none()


async def count(session: AsyncSession, job_id: UUID, *, owner: str) -> int:
    mine = select(func.count()).where(Video.job_id == job_id, Video.owner == owner)
    return await session.scalar(mine) or 0


# What a worker does


def _take_up() -> ReturningUpdate[Any]:
    due = (
        select(Video.id)
        .where(WAITS, Video.run_at <= NOW)
        .where(exists().where(Job.id == Video.job_id, Job.state.in_(ENDED)))
        .order_by(Video.run_at)
        .limit(1)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    taken = {
        "state": VideoState.PROCESSING,
        "fence": Video.fence + 1,
        "worker_id": bindparam("worker"),
        "lease_until": after("lease"),
        "started_at": func.coalesce(Video.started_at, NOW),
        "progress": 0.0,
    }
    statement = update(Video).where(Video.id == due.c.id, WAITS).values(**taken, updated_at=NOW).returning(Video)
    return statement.execution_options(synchronize_session=False)


TAKE_UP = _take_up()
"""Built once, as a worker with nothing to do asks every second."""


async def take_up(session: AsyncSession, *, worker: str, lease: timedelta) -> Video | None:
    """The video that is due longest, of those whose job has ended, however it did; under a new fence."""
    return (await session.scalars(TAKE_UP, {"worker": worker, "lease": lease})).one_or_none()


def _held(video_id: UUID, fence: int) -> tuple[Any, ...]:
    return (Video.id == video_id, Video.fence == fence, Video.state == VideoState.PROCESSING)


async def heartbeat(
    connection: AsyncConnection, video_id: UUID, fence: int, *, lease: timedelta, progress: float
) -> bool:
    """Renew the lease and keep how far it is; False: the video is no longer ours, or its job is erased."""
    values = {"lease_until": NOW + lease, "progress": progress, "updated_at": NOW}
    statement = update(Video).where(*_held(video_id, fence)).values(values).returning(Video.id)
    return await connection.scalar(statement) is not None


async def _end(session: AsyncSession, video_id: UUID, fence: int, *guards: Any, **values: Any) -> bool:
    about = {"lease_until": None, "worker_id": None, "updated_at": NOW, **values}
    statement = update(Video).where(*_held(video_id, fence), *guards).values(about).returning(Video.id)
    return await session.scalar(statement) is not None


async def complete(session: AsyncSession, video_id: UUID, fence: int, **made: Any) -> bool:
    """Name the object; not where the recording has been deleted meanwhile, as the video goes with it."""
    has_recording = exists().where(Job.id == Video.job_id, Job.source_key.is_not(None))
    ended = {"state": VideoState.COMPLETED, "completed_at": NOW, "progress": 1.0, "error_details": None}
    return await _end(session, video_id, fence, has_recording, **ended, **made)


async def is_completed_with(session: AsyncSession, video_id: UUID, object_key: str) -> bool:
    """Was it this very object that completed it?"""
    named = select(Video.id).where(Video.id == video_id, Video.object_key == object_key)
    return await session.scalar(named) is not None


async def fail(session: AsyncSession, video_id: UUID, fence: int, *, error: dict[str, Any]) -> bool:
    ended = {"state": VideoState.FAILED, "completed_at": NOW, "error_details": error}
    return await _end(session, video_id, fence, **ended)


async def retry(session: AsyncSession, video_id: UUID, fence: int, *, delay: timedelta, error: dict[str, Any]) -> bool:
    again = {"attempts": Video.attempts + 1, "run_at": NOW + delay, "error_details": error}
    return await _end(session, video_id, fence, state=VideoState.QUEUED, **again)


async def release(session: AsyncSession, video_id: UUID, fence: int) -> bool:
    """Back to those that wait, charged to nobody."""
    return await _end(session, video_id, fence, state=VideoState.QUEUED, run_at=NOW)


# What the sweeper does


ANY_LOST = select(exists().where(LOST))


async def any_lost(connection: AsyncConnection) -> bool:
    return bool(await connection.scalar(ANY_LOST))


async def rescue_lost(session: AsyncSession) -> int:
    """End the leases that have run out: back to those that wait, or failed once the budget for crashes is spent."""
    spent = Video.crash_count + 1 >= MAX_CRASHES
    values = {
        "state": case((spent, VideoState.FAILED), else_=VideoState.QUEUED),
        "error_details": case((spent, literal(RENDERER_CRASHED, JSONB())), else_=Video.error_details),
        "completed_at": case((spent, NOW), else_=None),
        "crash_count": Video.crash_count + 1,
        "lease_until": None,
        "worker_id": None,
        "run_at": NOW,
        "updated_at": NOW,
    }
    return len((await session.scalars(update(Video).where(LOST).values(values).returning(Video.id))).all())


async def extend_all_leases(session: AsyncSession, lease: timedelta) -> None:
    """After a pause in which no heartbeat could be heard."""
    statement = update(Video).where(Video.state == VideoState.PROCESSING).values(lease_until=NOW + lease)
    await session.execute(statement)


async def note_deleted(session: AsyncSession, job_ids: Iterable[UUID]) -> None:
    """Their objects are gone, with the recordings of these jobs."""
    await session.execute(update(Video).where(Video.job_id.in_(list(job_ids))).values(object_key=None))


async def keys_in_use(session: AsyncSession, job_ids: Iterable[UUID]) -> set[str]:
    keys = select(Video.object_key).where(Video.job_id.in_(list(job_ids)), Video.object_key.is_not(None))
    return {key for key in await session.scalars(keys) if key is not None}
