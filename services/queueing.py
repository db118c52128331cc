"""The line that jobs stand in: where one stands, how long it will take, and how long the line is.

Times are estimates from what was measured: the engine's last jobs say how long a second of audio takes. Where nothing
was measured, or nobody knows yet how long a recording is, there is no estimate.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from db import lanes, queue_view
from db.engine_reports import count_workers, real_time_factors
from db.queue_view import Tally
from db.session import EVERYBODY
from db.tables import Job
from domain import wav
from domain.access import Caller
from domain.capabilities import AUTO, EngineReport
from domain.errors import ObjectNotFound, RangeNotSatisfiable, StorageUnavailable
from domain.lifecycle import ENDED, JobOptions, JobState
from domain.wishes import fits
from services import engine_reports, reading
from services.platform import Platform


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a job has before it."""

    position: int
    """1: the next to be taken, whoever the others belong to; 0: it does not wait."""
    work_seconds: float | None
    """What the engine needs for the whole recording."""
    remaining_seconds: float | None
    """Until the end: the jobs before it, and what is left of itself."""


NOTHING_AHEAD = Outlook(position=0, work_seconds=None, remaining_seconds=None)


@dataclass(frozen=True, slots=True)
class Line:
    tally: Tally
    """The caller's jobs, or everybody's where the caller is an administrator."""
    capacity: int
    """Jobs that the workers which are there attend to at once."""
    workers: int


async def line(platform: Platform, caller: Caller) -> Line:
    async with platform.sessions.begin(owner=EVERYBODY) as session:
        tally = await queue_view.tally(session, owner=None if caller.is_admin else caller.owner)
        workers = await count_workers(session)
    return Line(tally, _capacity(platform, workers), workers)


async def outlook(platform: Platform, caller: Caller, job_id: UUID) -> Outlook:
    """Raises JobNotFound."""
    job, _ = await reading.find(platform, caller, job_id)
    if job.state == JobState.PENDING or job.state in ENDED:
        return NOTHING_AHEAD
    reports = await engine_reports.known(platform)
    engine = _who_hears(reports, JobOptions.model_validate(job.engine_params))
    length = job.audio_seconds or await _length(platform, job)
    names = [] if engine is None else [engine.engine, *([AUTO] if _is_best(reports, engine) else [])]
    async with platform.sessions.begin(owner=EVERYBODY) as session:
        ahead = await lanes.ahead(session, job.id, names) if job.state == JobState.QUEUED else None
        position = 0 if ahead is None else ahead.jobs + 1
        if engine is None:
            return Outlook(position, None, None)
        factor = (await real_time_factors(session, [engine.engine])).get(engine.engine)
        if factor is None or length is None:
            return Outlook(position, None, None)
        wait = 0.0 if ahead is None else await _wait(platform, session, ahead, engine, names, factor)
    remaining = None if wait is None else wait + factor * max(0.0, length - (job.audio_done or 0.0))
    return Outlook(position, factor * length, remaining)


def _who_hears(reports: Mapping[str, EngineReport], options: JobOptions) -> EngineReport | None:
    """The engine that the job is for, or that `auto` would take for it now."""
    if options.engine != AUTO:
        return reports.get(options.engine)
    able = (fit.report for fit in fits(reports.values(), options) if fit.report.available and not fit.unmet)
    return next(able, None)


def _is_best(reports: Mapping[str, EngineReport], engine: EngineReport) -> bool:
    """Is this the engine that jobs for `auto` go to?"""
    best = _who_hears(reports, JobOptions(engine=AUTO))
    return best is not None and best.engine == engine.engine


async def _wait(
    platform: Platform,
    session: AsyncSession,
    ahead: lanes.Ahead,
    engine: EngineReport,
    names: list[str],
    factor: float,
) -> float | None:
    """Seconds until a queued job is begun; None where that cannot be told, as nobody is there to begin it.

    A recording whose length nobody knows yet counts as long as the engine's last ones were on average. The engine
    server hears one recording after another with each model; of other servers it is taken that they hear as many at
    once as the workers give them.
    """
    workers = await count_workers(session)
    if not engine.available or not workers:
        return None
    audio_in_hand, unknown_in_hand = await queue_view.in_hand(session, names)
    usual = await queue_view.usual_length(session, engine.engine) or 0.0
    audio = ahead.audio_seconds + audio_in_hand + (ahead.of_unknown_length + unknown_in_hand) * usual
    at_once = _capacity(platform, workers) if engine.memory is None else 1
    return factor * audio / at_once


def _capacity(platform: Platform, workers: int) -> int:
    return workers * platform.settings.workers.max_concurrent_jobs


async def _length(platform: Platform, job: Job) -> float | None:
    """Seconds of a recording that nobody has decoded yet, where its first bytes tell."""
    if job.source_key is None or job.source_bytes is None:
        return None
    try:
        async with platform.store.open(job.source_key, length=wav.HEAD_BYTES) as chunks:
            head = b"".join([chunk async for chunk in chunks])
    except (ObjectNotFound, RangeNotSatisfiable, StorageUnavailable):  # an estimate is worth no error
        return None
    return wav.seconds(head, job.source_bytes)
