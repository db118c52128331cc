"""What was used: a line for every completed job. The caller owns the transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import Date, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from db.account_tables import Profile, Usage
from db.moves import table_of
from db.tables import Job
from domain.lifecycle import JobState

THIS_MONTH = func.date_trunc("month", func.timezone("UTC", func.now())).cast(Date)


@dataclass(frozen=True, slots=True)
class Line:
    month: date
    profile: str | None
    engine: str
    jobs: int
    audio_seconds: float


COUNT = insert(table_of(Usage)).values(month=THIS_MONTH).on_conflict_do_nothing(index_elements=["job_id"])


async def record(
    session: AsyncSession, job_id: UUID, *, owner: str, profile_id: UUID | None, engine: str, audio_seconds: float
) -> None:
    """Count a job, once, however often that is said."""
    values = {"job_id": job_id, "owner": owner, "profile_id": profile_id, "engine": engine}
    await session.execute(COUNT, {**values, "audio_seconds": audio_seconds})


async def under_way(session: AsyncSession, owner: str, *, besides: UUID | None) -> tuple[int, float]:
    """Jobs that have not ended, `besides` one, and the seconds of audio of those that have been decoded.

    Until the transaction ends, nobody else counts for this owner: of many submissions at once, each sees the others.
    """
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(owner, 0))))
    mine = (Job.owner == owner, Job.state.in_((JobState.PENDING, JobState.QUEUED, JobState.PROCESSING)))
    counted = select(func.count(), func.coalesce(func.sum(Job.audio_seconds), 0.0)).where(*mine)
    if besides is not None:
        counted = counted.where(Job.id != besides)
    jobs, seconds = (await session.execute(counted)).one()
    return jobs, seconds or 0.0


async def of_this_month(session: AsyncSession, owner: str) -> tuple[int, float, datetime]:
    """Completed jobs and seconds of audio so far, and when the next month begins."""
    next_month = func.timezone("UTC", THIS_MONTH + func.make_interval(0, 1))
    mine = select(func.count(), func.coalesce(func.sum(Usage.audio_seconds), 0.0), next_month)
    jobs, seconds, ends_at = (await session.execute(mine.where(Usage.owner == owner, Usage.month == THIS_MONTH))).one()
    return jobs, seconds, ends_at


async def lines(session: AsyncSession, owner: str, *, since: date | None) -> Sequence[Line]:
    """By month, profile and engine; the last month first."""
    statement = (
        select(Usage.month, Profile.name, Usage.engine, func.count(), func.sum(Usage.audio_seconds))
        .outerjoin(Profile, Profile.id == Usage.profile_id)
        .where(Usage.owner == owner)
        .group_by(Usage.month, Profile.name, Usage.engine)
        .order_by(Usage.month.desc(), Profile.name, Usage.engine)
    )
    if since is not None:
        statement = statement.where(Usage.month >= since.replace(day=1))
    return [Line(*row) for row in await session.execute(statement)]
