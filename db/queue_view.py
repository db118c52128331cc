"""How much waits and is in hand, and how long it has taken lately. The caller owns the transaction."""

from dataclasses import dataclass

from sqlalchemy import func, select
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


async def tally(session: AsyncSession, *, owner: str | None) -> Tally:
    """Counts of an owner's jobs; `owner=None`: of everybody's."""
    statement = select(func.count().filter(WAITS), func.count().filter(RUNS), func.count()).where(
        Job.state != JobState.PURGED, Job.erase_requested_at.is_(None)
    )
    if owner is not None:
        statement = statement.where(Job.owner == owner)
    return Tally(*(await session.execute(statement)).one())


async def in_hand(session: AsyncSession, engines: list[str]) -> tuple[float, int]:
    """Of the jobs that workers have and that asked for one of `engines`: the seconds of audio that have not been heard
    yet, and how many there are whose length nobody knows.
    """
    left = func.greatest(Job.audio_seconds - func.coalesce(Job.audio_done, 0.0), 0.0)
    statement = select(func.coalesce(func.sum(left), 0.0), func.count().filter(Job.audio_seconds.is_(None)))
    audio_seconds, of_unknown_length = (await session.execute(statement.where(RUNS, Job.engine.in_(engines)))).one()
    return float(audio_seconds), of_unknown_length


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
