"""What is counted of the platform as a whole. The caller owns the transaction, and sees everybody's rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from db.account_tables import Usage
from db.tables import Job, Transcript
from db.usage import THIS_MONTH
from db.video_tables import Video
from domain.lifecycle import JobState
from domain.videos import VideoState


@dataclass(frozen=True, slots=True)
class Durations:
    """Of the completed jobs of an engine."""

    engine: str
    jobs: int
    audio_seconds: float
    worked_seconds: float


@dataclass(frozen=True, slots=True)
class OfMonth:
    month: date
    engine: str
    jobs: int
    audio_seconds: float


async def jobs_by_state(session: AsyncSession) -> dict[JobState, int]:
    rows = await session.execute(select(Job.state, func.count()).group_by(Job.state))
    return {JobState(state): count for state, count in rows}


async def videos_by_state(session: AsyncSession) -> dict[VideoState, int]:
    rows = await session.execute(select(Video.state, func.count()).group_by(Video.state))
    return {VideoState(state): count for state, count in rows}


async def owners(session: AsyncSession) -> int:
    counted = select(func.count(Job.owner.distinct())).where(Job.state != JobState.PURGED)
    return await session.scalar(counted) or 0


async def durations(session: AsyncSession, *, within: timedelta) -> Sequence[Durations]:
    worked = func.extract("epoch", Job.completed_at - Job.started_at)
    statement = (
        select(Transcript.engine, func.count(), func.sum(Transcript.duration), func.sum(worked))
        .join(Transcript, Transcript.id == Job.transcript_id)
        .where(Job.state == JobState.COMPLETED, Job.completed_at > func.now() - within, Transcript.engine.is_not(None))
        .group_by(Transcript.engine)
        .order_by(Transcript.engine)
    )
    rows = await session.execute(statement)
    return [Durations(engine or "", jobs, audio or 0.0, float(took or 0)) for engine, jobs, audio, took in rows]


async def errors(session: AsyncSession, *, within: timedelta) -> dict[str, int]:
    code = Job.error_details["code"].astext
    recent = (Job.state == JobState.FAILED, Job.completed_at > func.now() - within)
    rows = await session.execute(select(code, func.count()).where(*recent).group_by(code).order_by(code))
    return {found: count for found, count in rows if found is not None}


async def usage(session: AsyncSession, *, months: int) -> Sequence[OfMonth]:
    """The last month first."""
    since = THIS_MONTH - func.make_interval(0, months - 1)
    statement = (
        select(Usage.month, Usage.engine, func.count(), func.sum(Usage.audio_seconds))
        .where(Usage.month >= since)
        .group_by(Usage.month, Usage.engine)
        .order_by(Usage.month.desc(), Usage.engine)
    )
    return [OfMonth(*row) for row in await session.execute(statement)]
