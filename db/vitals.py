"""How the platform as a whole stands, in numbers. The caller owns the transaction, and sees everybody's rows.

Indexes find it that hold no more than is asked for, so it costs what is under way and not what ever was.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Float, and_, case, cast, extract, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from db.moves import LOST
from db.queue_view import RUNS, WAITS
from db.tables import Job
from db.webhook_tables import Delivery, WebhookEndpoint
from domain.announcements import DeliveryState, EndpointState
from domain.lanes import Lane
from domain.lifecycle import TERMINAL, JobState

OTHER = "other"
"""In place of an engine that nobody knows any more."""

DUE = and_(WAITS, Job.run_at <= func.now())


@dataclass(frozen=True, slots=True)
class Line:
    """The jobs under way that asked for one engine."""

    engine: str
    waiting: int
    later: int
    """Of those that wait, the ones that may not begin yet: behind a failure, or as no worker can reach their engine."""
    processing: int
    oldest_due_seconds: float
    """For how long the first of those that are due has been; 0 where none is."""
    lost: int
    """Processing under a lease that has run out."""
    crashed: int
    """That have cost workers their lives."""


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits in one lane."""

    lane: Lane
    waiting: int
    oldest_due_seconds: float
    """For how long the first of those that are due has been; 0 where none is."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """Deliveries that have not come to their end."""

    pending: int
    overdue_seconds: float
    """How long ago the first of them should have been tried; 0 where none should have."""
    oldest_seconds: float
    """How long ago the first of them came to be owed."""


async def lines(session: AsyncSession, known: Sequence[str]) -> list[Line]:
    """One for each engine of `known`, and one for all others together, of which there are jobs."""
    engine = case((Job.engine.in_(known), Job.engine), else_=OTHER).label("engine")
    statement = (
        select(
            engine,
            func.count().filter(WAITS),
            func.count().filter(WAITS, Job.run_at > func.now()),
            func.count().filter(RUNS),
            _age(func.min(Job.run_at).filter(DUE)),
            func.count().filter(RUNS, LOST),
            func.count().filter(Job.crash_count > 0),
        )
        .where(or_(WAITS, RUNS))
        .group_by(engine)
    )
    return [Line(*row) for row in await session.execute(statement)]


async def queues(session: AsyncSession) -> list[Queue]:
    """One for each lane."""
    statement = select(Job.lane, func.count(), _age(func.min(Job.run_at).filter(DUE))).where(WAITS).group_by(Job.lane)
    found = {lane: (waiting, oldest) for lane, waiting, oldest in await session.execute(statement)}
    return [Queue(lane, *found.get(lane, (0, 0.0))) for lane in Lane]


async def pending(session: AsyncSession) -> int:
    """How many recordings there are that nobody has asked to be run."""
    return await session.scalar(select(func.count()).where(Job.state == JobState.PENDING)) or 0


async def ended(session: AsyncSession, *, within: timedelta) -> dict[JobState, int]:
    """How many jobs have ended how, lately; erased ones are not among them."""
    lately = (Job.completed_at > func.now() - within, Job.erase_requested_at.is_(None))
    rows = await session.execute(select(Job.state, func.count()).where(*lately).group_by(Job.state))
    found = {JobState(state): count for state, count in rows}
    return {state: found.get(state, 0) for state in sorted(TERMINAL)}


async def backlog(session: AsyncSession) -> Backlog:
    statement = select(
        func.count(),
        _age(func.min(Delivery.next_at).filter(Delivery.next_at <= func.now())),
        _age(func.min(Delivery.created_at)),
    ).where(Delivery.state == DeliveryState.PENDING)
    return Backlog(*(await session.execute(statement)).one())


async def endpoints(session: AsyncSession) -> dict[EndpointState, int]:
    """Webhooks by their state."""
    rows = await session.execute(select(WebhookEndpoint.state, func.count()).group_by(WebhookEndpoint.state))
    found = {EndpointState(state): count for state, count in rows}
    return {state: found.get(state, 0) for state in EndpointState}


def _age(moment: ColumnElement[Any]) -> ColumnElement[float]:
    """Seconds; 0 where there is no such moment."""
    return func.coalesce(cast(extract("epoch", func.now() - moment), Float), 0.0)
