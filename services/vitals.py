"""How the platform as a whole stands: what waits, what is late, what ended, which engines are there."""

from dataclasses import dataclass
from datetime import timedelta

from db import vitals
from db.session import EVERYBODY
from db.vitals import Backlog, Line, Queue
from domain.announcements import EndpointState
from domain.capabilities import AUTO
from domain.lifecycle import JobState
from services import engine_reports
from services.engine_reports import Overview
from services.platform import Platform

LATELY = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Vitals:
    engines: Overview
    lines: tuple[Line, ...]
    """By engine, for all that there are; and one for names that no engine has any more, where jobs asked for them."""
    queues: list[Queue]
    """By lane."""
    pending: int
    """Recordings that wait to be run."""
    ended: dict[JobState, int]
    """Within LATELY."""
    backlog: Backlog
    webhooks: dict[EndpointState, int]


async def look(platform: Platform) -> Vitals:
    """Everybody's jobs, counted; nothing of it says whose they are. Raises DatabaseUnavailable."""
    engines = await engine_reports.overview(platform)
    known = [AUTO, *engines.engines]
    async with platform.sessions.begin(owner=EVERYBODY) as session:
        found = {line.engine: line for line in await vitals.lines(session, known)}
        quiet = {name: Line(name, 0, 0, 0, 0.0, 0, 0) for name in known}
        return Vitals(
            engines=engines,
            lines=tuple({**quiet, **found}.values()),
            queues=await vitals.queues(session),
            pending=await vitals.pending(session),
            ended=await vitals.ended(session, within=LATELY),
            backlog=await vitals.backlog(session),
            webhooks=await vitals.endpoints(session),
        )
