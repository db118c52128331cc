"""What workers say of the engines that they can reach."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import EngineReport as Row
from db.tables import Job
from domain.capabilities import EngineReport
from domain.lifecycle import JobState

FRESH = timedelta(seconds=30)
"""A worker reports every few seconds; one that has been silent for so long is not there."""


async def save(session: AsyncSession, worker: str, reports: Sequence[EngineReport]) -> None:
    """Replace what `worker` said before. Reports of workers that left a day ago go, but for the last of each engine."""
    if reports:
        rows = [
            {"worker_id": worker, "engine": report.engine, "report": report.model_dump(mode="json")}
            for report in reports
        ]
        statement = insert(Row).values(rows)
        newer = {"report": statement.excluded.report, "reported_at": func.now()}
        await session.execute(statement.on_conflict_do_update(index_elements=["worker_id", "engine"], set_=newer))
    gone = delete(Row).where(Row.worker_id == worker, Row.engine.not_in([report.engine for report in reports]))
    await session.execute(gone)
    other = Row.__table__.alias("other")
    outlived = (
        select(1).select_from(other).where(other.c.engine == Row.engine, other.c.reported_at > Row.reported_at).exists()
    )
    await session.execute(delete(Row).where(Row.reported_at < func.now() - timedelta(days=1), outlived))


async def waiting(session: AsyncSession) -> dict[str, int]:
    """How many jobs wait for each engine by the name that was asked for; `auto` is one of the names."""
    waiting = func.count().label("waiting")
    statement = select(Job.engine, waiting).where(Job.state == JobState.QUEUED).group_by(Job.engine)
    return {found.engine: found.waiting for found in await session.execute(statement)}


async def latest(session: AsyncSession) -> list[tuple[EngineReport, bool]]:
    """For each engine the best report that is fresh, else the newest of all; with whether it is fresh."""
    fresh = Row.reported_at > func.now() - FRESH
    statement = select(Row.report, fresh).order_by(Row.engine, fresh.desc(), Row.reported_at.desc())
    found: dict[str, tuple[EngineReport, bool]] = {}
    for report, is_fresh in await session.execute(statement):
        read = EngineReport.model_validate(report)
        known = found.get(read.engine)
        if known is None or (is_fresh and known[1] and read.available and not known[0].available):
            found[read.engine] = (read, is_fresh)
    return list(found.values())
