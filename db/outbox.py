"""Announcements and the deliveries that are owed of them. The caller owns the transaction.

A delivery is taken up by a guarded UPDATE that hands out a fence and puts `next_at` behind a lease: a relay that dies
leaves it to the others, and one that comes back late finds its fence outgrown. All time is PostgreSQL's `now()`.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, get_args
from uuid import UUID, uuid4

from sqlalchemy import Integer, Interval, bindparam, case, delete, exists, func, insert, literal, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.dml import ReturningUpdate

from db.announcements import HEARD, announced_body, ping
from db.tables import Job, Transcript
from db.webhook_tables import Delivery, DeliveryAttempt, OutboxEvent, WebhookEndpoint
from domain.announcements import OF_STATE, Announced, DeliveryState, EndpointState, Payload

MOST_ATTEMPTS_KEPT = 50
"""Of a delivery; more than any schedule has, as it can be replayed without end."""

WITHOUT_SYNC = {"synchronize_session": False}

TAKEN_UP = (
    Delivery.id.label("delivery_id"),
    Delivery.owner,
    Delivery.fence,
    Delivery.attempts,
    OutboxEvent.id.label("event_id"),
    OutboxEvent.body,
)
"""What an Owed has, of the UPDATE that takes it up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """A delivery that a relay has taken up."""

    delivery_id: UUID
    owner: str
    fence: int
    attempts: int
    """Before this one."""
    event_id: UUID
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwedToEndpoint(Owed):
    endpoint_id: UUID
    url: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    """The endpoint's, and the one before while it is valid."""
    failing: bool
    """Whether the endpoint's last try failed."""


# What is owed


IS_LISTENED_TO = exists().where(
    WebhookEndpoint.owner == bindparam("listener"), WebhookEndpoint.state != EndpointState.DISABLED
)
"""Does `listener` have an endpoint? For the RETURNING of another statement, so that most jobs pay no way for it."""


async def owe(session: AsyncSession, job: Job) -> None:
    """Owe word of the end that `job` has just come to, to every endpoint that its owner wants told.

    The endpoints are locked in shared mode: one that is about to be removed or paused is waited for.
    """
    kind = OF_STATE[job.state]
    wanted = (
        select(WebhookEndpoint.id, WebhookEndpoint.payload, WebhookEndpoint.state, *HEARD)
        .join(Transcript, Transcript.id == job.transcript_id)
        .where(WebhookEndpoint.owner == job.owner, WebhookEndpoint.state != EndpointState.DISABLED)
        .where(literal(kind.value) == func.any(WebhookEndpoint.events))
        .order_by(WebhookEndpoint.id)
        .with_for_update(read=True, of=WebhookEndpoint)
    )
    rows = (await session.execute(wanted)).all()
    for payload in get_args(Payload):
        told = [row for row in rows if row.payload == payload]
        if told:
            body = announced_body(job, told[0], payload)
            event = {"job_id": job.id, "type": kind, "payload": payload, "body": body}
            await _owe(session, job.owner, event, [(row.id, row.state) for row in told])


async def owe_ping(session: AsyncSession, endpoint: WebhookEndpoint) -> tuple[Delivery, OutboxEvent]:
    now = await session.scalar(select(func.now()))
    assert now is not None
    event = {"job_id": None, "type": Announced.PING, "payload": "thin", "body": ping(now, endpoint.id)}
    return await _owe(session, endpoint.owner, event, [(endpoint.id, endpoint.state)])


async def _owe(
    session: AsyncSession, owner: str, event: dict[str, Any], endpoints: Iterable[tuple[UUID, EndpointState]]
) -> tuple[Delivery, OutboxEvent]:
    """The last of the deliveries, and the announcement."""
    event_id = uuid4()
    written = insert(OutboxEvent).values(id=event_id, owner=owner, **event).returning(OutboxEvent)
    announcement = (await session.scalars(written)).one()
    rows = [
        {
            "id": uuid4(),
            "owner": owner,
            "event_id": event_id,
            "endpoint_id": endpoint_id,
            "state": DeliveryState.PAUSED if state == EndpointState.PAUSED else DeliveryState.PENDING,
        }
        for endpoint_id, state in endpoints
    ]
    return (await session.scalars(insert(Delivery).returning(Delivery), rows)).all()[-1], announcement


async def forget_job(session: AsyncSession, job_id: UUID) -> None:
    """Take back what is owed of an erased job, and empty what was told of it; ids stay, and word of the erasure."""
    # The announcements first: a replay that is being written holds them, and its delivery is to be seen here.
    told = (
        OutboxEvent.job_id == job_id,
        OutboxEvent.payload.in_(get_args(Payload)),
        OutboxEvent.type != Announced.ERASED,
    )
    await session.execute(update(OutboxEvent).where(*told).values(body=None), execution_options=WITHOUT_SYNC)
    of_job = Delivery.event_id.in_(select(OutboxEvent.id).where(*told))
    owed = delete(Delivery).where(of_job, Delivery.state != DeliveryState.DELIVERED)
    await session.execute(owed, execution_options=WITHOUT_SYNC)


# What a relay does


def _take_up() -> ReturningUpdate[*tuple[Any, ...]]:
    due = (
        select(Delivery.id, Delivery.endpoint_id, Delivery.next_at)
        .where(Delivery.state == DeliveryState.PENDING, Delivery.next_at <= func.now())
        .where(Delivery.endpoint_id.is_not(None), Delivery.endpoint_id.not_in(bindparam("busy", expanding=True)))
        .order_by(Delivery.next_at)
        .limit(2 * bindparam("at_most", type_=Integer()))
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    place = func.row_number().over(partition_by=due.c.endpoint_id, order_by=due.c.next_at)
    ranked = select(due.c.id, due.c.next_at, place.label("place")).subquery("ranked")
    fair = select(ranked.c.id).where(ranked.c.place <= bindparam("share", type_=Integer()))
    taken = fair.order_by(ranked.c.next_at).limit(bindparam("at_most", type_=Integer()))
    secret_is_valid = WebhookEndpoint.previous_secret_until > func.now()
    return (
        update(Delivery)
        .where(Delivery.id.in_(taken), Delivery.event_id == OutboxEvent.id, Delivery.endpoint_id == WebhookEndpoint.id)
        .values(fence=Delivery.fence + 1, next_at=func.now() + bindparam("lease", type_=Interval()))
        .returning(
            *TAKEN_UP,
            WebhookEndpoint.id.label("endpoint_id"),
            WebhookEndpoint.url,
            WebhookEndpoint.secret,
            case((secret_is_valid, WebhookEndpoint.previous_secret)).label("previous"),
            WebhookEndpoint.failing_since.is_not(None).label("failing"),
        )
    )


TAKE_UP = _take_up()
"""Built once, as a relay with nothing to do asks every second."""


async def take_up(
    session: AsyncSession, *, lease: timedelta, limit: int, share: int, busy: Collection[UUID]
) -> list[OwedToEndpoint]:
    """Take up to `limit` due deliveries, at most `share` of one endpoint and none of those that are `busy`.

    Oldest first. What another relay is just taking is passed over.
    """
    given = {"lease": lease, "at_most": limit, "share": share, "busy": list(busy)}
    rows = (await session.execute(TAKE_UP, given, execution_options=WITHOUT_SYNC)).mappings()
    return [_owed(dict(row)) for row in rows]


def _owed(row: dict[str, Any]) -> OwedToEndpoint:
    secrets = tuple(secret for secret in (row.pop("secret"), row.pop("previous")) if secret is not None)
    return OwedToEndpoint(secrets=secrets, **row)


async def note_delivered(session: AsyncSession, owed: Owed, **answer: Any) -> bool:
    """False where the delivery is no longer ours, or is gone."""
    values = {"state": DeliveryState.DELIVERED, "delivered_at": func.now()}
    return await _note(session, owed, values, answer)


async def note_failed(session: AsyncSession, owed: Owed, *, again_in: timedelta | None, **answer: Any) -> bool:
    """To be tried again, or given up where `again_in` is None; one that was paused meanwhile stays so.

    False where the delivery is no longer ours, or is gone.
    """
    values: dict[str, Any] = {"state": DeliveryState.FAILED}
    if again_in is not None:
        values = {"next_at": func.now() + again_in}
    return await _note(session, owed, values, answer)


async def _note(session: AsyncSession, owed: Owed, values: dict[str, Any], answer: dict[str, Any]) -> bool:
    statement = (
        update(Delivery)
        .where(Delivery.id == owed.delivery_id, Delivery.fence == owed.fence)
        .values(attempts=Delivery.attempts + 1, **values, **answer)
        .returning(Delivery.id)
    )
    if await session.scalar(statement, execution_options=WITHOUT_SYNC) is None:
        return False
    tried = {"delivery_id": owed.delivery_id, "owner": owed.owner, "n": owed.fence}
    await session.execute(insert(DeliveryAttempt).values(**tried, **answer))
    if owed.fence > MOST_ATTEMPTS_KEPT:
        oldest = DeliveryAttempt.n <= owed.fence - MOST_ATTEMPTS_KEPT
        await session.execute(delete(DeliveryAttempt).where(DeliveryAttempt.delivery_id == owed.delivery_id, oldest))
    return True


async def hold_back(session: AsyncSession, endpoint_id: UUID, wait: timedelta) -> None:
    """Try nothing of an endpoint's before `wait` has passed."""
    later = func.greatest(Delivery.next_at, func.now() + wait)
    await session.execute(_pending(endpoint_id).values(next_at=later))


async def pause(session: AsyncSession, endpoint_id: UUID) -> None:
    await session.execute(_pending(endpoint_id).values(state=DeliveryState.PAUSED))


def _pending(endpoint_id: UUID) -> Any:
    statement = update(Delivery).where(Delivery.endpoint_id == endpoint_id, Delivery.state == DeliveryState.PENDING)
    return statement.execution_options(**WITHOUT_SYNC)


async def resume(session: AsyncSession, endpoint_id: UUID) -> None:
    """Owe what was paused at once, with the whole schedule before it."""
    statement = update(Delivery).where(Delivery.endpoint_id == endpoint_id, Delivery.state == DeliveryState.PAUSED)
    await session.execute(
        statement.values(state=DeliveryState.PENDING, next_at=func.now(), attempts=0), execution_options=WITHOUT_SYNC
    )


async def forget_old(session: AsyncSession, *, older_than: timedelta, limit: int) -> int:
    """Delete deliveries that ended, or were paused, so long ago, and announcements that nobody is owed; how many."""
    old_deliveries = (
        select(Delivery.id)
        .where(Delivery.created_at < func.now() - older_than, Delivery.state != DeliveryState.PENDING)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    unowed = ~exists().where(Delivery.event_id == OutboxEvent.id)
    old_events = select(OutboxEvent.id).where(OutboxEvent.created_at < func.now() - older_than, unowed).limit(limit)
    deliveries = await session.scalars(
        delete(Delivery).where(Delivery.id.in_(old_deliveries)).returning(Delivery.id), execution_options=WITHOUT_SYNC
    )
    events = await session.scalars(
        delete(OutboxEvent).where(OutboxEvent.id.in_(old_events)).returning(OutboxEvent.id),
        execution_options=WITHOUT_SYNC,
    )
    return len(deliveries.all()) + len(events.all())


# What an owner sees


async def page(
    session: AsyncSession,
    endpoint_id: UUID,
    *,
    limit: int,
    before: tuple[datetime, UUID] | None,
    state: DeliveryState | None,
) -> list[tuple[Delivery, OutboxEvent]]:
    """An endpoint's deliveries, newest first, from behind `before`."""
    statement = (
        select(Delivery, OutboxEvent)
        .join(OutboxEvent, OutboxEvent.id == Delivery.event_id)
        .where(Delivery.endpoint_id == endpoint_id)
        .order_by(Delivery.created_at.desc(), Delivery.id.desc())
        .limit(limit)
    )
    if before is not None:
        last = tuple_(literal(before[0]), literal(before[1]))
        statement = statement.where(tuple_(Delivery.created_at, Delivery.id) < last)
    if state is not None:
        statement = statement.where(Delivery.state == state)
    return [(delivery, event) for delivery, event in await session.execute(statement)]


async def attempts_of(session: AsyncSession, delivery_ids: Collection[UUID]) -> dict[UUID, list[DeliveryAttempt]]:
    """By delivery, in order."""
    statement = select(DeliveryAttempt).where(DeliveryAttempt.delivery_id.in_(delivery_ids)).order_by(DeliveryAttempt.n)
    found: dict[UUID, list[DeliveryAttempt]] = defaultdict(list)
    for attempt in await session.scalars(statement):
        found[attempt.delivery_id].append(attempt)
    return found


async def find(
    session: AsyncSession, delivery_id: UUID, endpoint_id: UUID, *, lock: bool = False
) -> tuple[Delivery, OutboxEvent] | None:
    """`lock` keeps the announcement from being erased until the transaction ends."""
    statement = (
        select(Delivery, OutboxEvent)
        .join(OutboxEvent, OutboxEvent.id == Delivery.event_id)
        .where(Delivery.id == delivery_id, Delivery.endpoint_id == endpoint_id)
    )
    if lock:
        statement = statement.with_for_update(read=True, of=OutboxEvent)
    row = (await session.execute(statement)).one_or_none()
    return None if row is None else (row[0], row[1])


async def owe_again(session: AsyncSession, delivery_id: UUID) -> Delivery | None:
    """From the beginning of the schedule, whatever became of it. None where it is gone, as an erasure takes it."""
    values = {"state": DeliveryState.PENDING, "next_at": func.now(), "attempts": 0, "delivered_at": None}
    statement = update(Delivery).where(Delivery.id == delivery_id).values(values).returning(Delivery)
    options = {"populate_existing": True, **WITHOUT_SYNC}
    return (await session.scalars(statement, execution_options=options)).one_or_none()
