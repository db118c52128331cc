"""What workers say of the engines that they can reach, and what the engines' last jobs say of their speed."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import groupby
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Text, and_, bindparam, case, column, delete, func, or_, select, true, update, values
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from db.moves import table_of
from db.tables import EngineReport as Row
from db.tables import Job, Transcript
from domain.capabilities import EngineReport
from domain.lifecycle import JobState

log = logging.getLogger(__name__)

FRESH = timedelta(seconds=4)
"""A worker vouches for its reports every second; one that has been silent for so long is not there."""

OUTLIVED = timedelta(minutes=1)
"""After which the reports of a worker that is not there go, where another has reported on the engine since."""

FORGOTTEN = timedelta(hours=1)
"""After which an engine that no worker has any more is no longer listed."""

JOBS_OF_SPEED = 20
"""How many of an engine's last jobs say how fast it is."""

ROWS = table_of(Row)
IS_FRESH = Row.reported_at > func.now() - FRESH


async def save(session: AsyncSession, worker: str, reports: Sequence[EngineReport]) -> None:
    """Replace what `worker` said before. Of workers that are gone, each engine's last report stays an hour."""
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
    old = or_(and_(Row.reported_at < func.now() - OUTLIVED, outlived), Row.reported_at < func.now() - FORGOTTEN)
    await session.execute(delete(Row).where(old))


VOUCH = update(ROWS).where(ROWS.c.worker_id == bindparam("worker")).values(reported_at=func.now())
"""Built once, as every worker says so every second."""


async def vouch(connection: AsyncConnection, worker: str) -> int:
    """Say that what `worker` said last still holds; how many reports that are, 0 where they have been cleared away."""
    return (await connection.execute(VOUCH, {"worker": worker})).rowcount


async def withdraw(session: AsyncSession, worker: str) -> None:
    """From now on nobody vouches for what `worker` said."""
    await session.execute(update(Row).where(Row.worker_id == worker).values(reported_at=func.now() - FRESH))


async def count_workers(session: AsyncSession) -> int:
    """How many workers are there."""
    return await session.scalar(select(func.count(Row.worker_id.distinct())).where(IS_FRESH)) or 0


async def latest(session: AsyncSession) -> list[tuple[EngineReport, bool]]:
    """For each engine what fresh reports say of it, else the last of all; with whether it is fresh."""
    # Of fresh ones, the order of the workers decides: whoever spoke last would make the answer swing between them.
    gone_at = case((IS_FRESH, None), else_=Row.reported_at)
    statement = select(Row.engine, Row.report, IS_FRESH).order_by(
        Row.engine, gone_at.desc().nulls_first(), Row.worker_id
    )
    merged = []
    for _, rows in groupby(await session.execute(statement), key=lambda row: str(row[0])):
        (_, first, is_fresh), *others = rows
        said = [first, *(report for _, report, also_fresh in others if also_fresh)]
        if read := list(_readable(said)):
            merged.append((_merge(read), bool(is_fresh)))
    return merged


def _readable(reports: Iterable[dict[str, Any]]) -> Iterator[EngineReport]:
    """Without those of workers of another version, which may say what this one does not know."""
    for report in reports:
        try:
            yield EngineReport.model_validate(report)
        except ValidationError:
            log.warning("a worker's report does not fit: it runs another version")


def _merge(reports: Sequence[EngineReport]) -> EngineReport:
    """One engine as several workers see it: as good as the first of them that can use it says."""
    best = next((report for report in reports if report.available), reports[0])
    if best.load_of == "engine":
        return best
    return best.model_copy(update={"load": sum(report.load for report in reports)})


async def waiting(session: AsyncSession) -> dict[str, int]:
    """How many jobs wait for each engine by the name that was asked for; `auto` is one of the names."""
    waiting = func.count().label("waiting")
    statement = select(Job.engine, waiting).where(Job.state == JobState.QUEUED).group_by(Job.engine)
    return {found.engine: found.waiting for found in await session.execute(statement)}


async def real_time_factors(session: AsyncSession, engines: Sequence[str]) -> dict[str, float]:
    """Seconds of work for each second of audio, over the last jobs of each of `engines`; none for one without any.

    Of sums, not a mean of ratios: what an hour of audio costs is asked for, and ten clips of a second, each mostly the
    engine's fixed cost, would drown it.
    """
    asked = values(column("engine", Text()), name="asked").data([(engine,) for engine in engines])
    jobs = (
        select(Transcript.engine_seconds, Transcript.duration)
        .where(Transcript.engine == asked.c.engine, Transcript.engine_seconds.is_not(None))
        .order_by(Transcript.created_at.desc())
        .limit(JOBS_OF_SPEED)
        .correlate(asked)
        .subquery()
    )
    factor = func.sum(jobs.c.engine_seconds) / func.nullif(func.sum(jobs.c.duration), 0.0)
    each = select(factor.label("factor")).lateral()
    statement = select(asked.c.engine, each.c.factor).join(each, true()).where(each.c.factor.is_not(None))
    return {name: float(factor) for name, factor in await session.execute(statement)}
