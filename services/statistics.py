"""The platform as a whole, for whoever runs it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from db import statistics
from db.engine_reports import count_workers
from db.session import EVERYBODY
from db.statistics import Durations, OfMonth
from domain.lifecycle import JobState
from domain.videos import VideoState
from services.platform import Platform

MONTHS = 12


@dataclass(frozen=True, slots=True)
class Statistics:
    jobs: dict[JobState, int]
    videos: dict[VideoState, int]
    owners: int
    workers: int
    at_once: int
    """Jobs that the workers which are there attend to."""
    since: datetime
    """From here on durations and errors are counted."""
    durations: Sequence[Durations]
    errors: dict[str, int]
    usage: Sequence[OfMonth]


async def gather(platform: Platform, *, days: int) -> Statistics:
    within = timedelta(days=days)
    async with platform.sessions.begin(owner=EVERYBODY) as session:
        workers = await count_workers(session)
        return Statistics(
            jobs=await statistics.jobs_by_state(session),
            videos=await statistics.videos_by_state(session),
            owners=await statistics.owners(session),
            workers=workers,
            at_once=workers * platform.settings.workers.max_concurrent_jobs,
            since=datetime.now(UTC) - within,
            durations=await statistics.durations(session, within=within),
            errors=await statistics.errors(session, within=within),
            usage=await statistics.usage(session, months=MONTHS),
        )
