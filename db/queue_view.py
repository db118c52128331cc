"""What waits, before whom, and for how long it has taken lately. The caller owns the transaction."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, func, literal, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from db.engine_reports import JOBS_OF_SPEED
from db.tables import Job, Transcript
from domain.lifecycle import JobState

WAITS, RUNS = Job.state == JobState.QUEUED, Job.state == JobState.PROCESSING


@dataclass(frozen=True, slots=True)
class Tally:
    waiting: int
    working: int
    total: int
    """Of every state but erased ones."""


@dataclass(frozen=True, slots=True)
class Ahead:
    """The jobs that come before one, for some of the engines."""

    audio_seconds: float
    """Of those whose length is known, what has not been heard yet."""
    of_unknown_length: int


async def tally(session: AsyncSession, *, owner: str | None) -> Tally:
    """Counts of an owner's jobs; `owner=None`: of everybody's."""
    statement = select(func.count().filter(WAITS), func.count().filter(RUNS), func.count()).where(
        Job.state != JobState.PURGED, Job.erase_requested_at.is_(None)
    )
    if owner is not None:
        statement = statement.where(Job.owner == owner)
    return Tally(*(await session.execute(statement)).one())


async def position(session: AsyncSession, job: Job) -> int:
    """1 for the job that is due next, whoever it belongs to; 0 for one that does not wait."""
    if job.state != JobState.QUEUED:
        return 0
    return 1 + (await session.scalar(select(func.count()).where(WAITS, _before(job))) or 0)


async def ahead(session: AsyncSession, job: Job, engines: list[str]) -> Ahead:
    """What is to be done before a queued job, of the jobs that asked for one of `engines`."""
    left = func.greatest(Job.audio_seconds - func.coalesce(Job.audio_done, 0.0), 0.0)
    statement = select(func.coalesce(func.sum(left), 0.0), func.count().filter(Job.audio_seconds.is_(None))).where(
        or_(RUNS, and_(WAITS, _before(job))), Job.engine.in_(engines), Job.id != job.id
    )
    audio_seconds, of_unknown_length = (await session.execute(statement)).one()
    return Ahead(float(audio_seconds), of_unknown_length)


def _before(job: Job) -> ColumnElement[bool]:
    return tuple_(Job.run_at, Job.id) < tuple_(literal(job.run_at), literal(job.id))


async def usual_length(session: AsyncSession, engine: str) -> float | None:
    """Seconds of audio of the engine's last jobs, on average; None before the first."""
    last = (
        select(Transcript.duration)
        .where(Transcript.engine == engine, Transcript.engine_seconds.is_not(None))
        .order_by(Transcript.created_at.desc())
        .limit(JOBS_OF_SPEED)
        .subquery()
    )
    return await session.scalar(select(func.avg(last.c.duration)))
