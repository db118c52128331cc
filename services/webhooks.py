"""Webhooks as their owner sees them: where to tell of what, and a log of what was told."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncSession

from db import outbox, webhooks
from db.webhook_tables import Delivery, DeliveryAttempt, OutboxEvent, WebhookEndpoint
from domain.access import Caller
from domain.announcements import Announced, DeliveryState, EndpointState, Payload
from domain.errors import Invalid
from domain.webhook_errors import DeliveryErased, DeliveryNotFound, TooManyWebhooks, WebhookNotActive, WebhookNotFound
from messaging import webhook_url
from messaging.webhook_sender import new_secret
from services.platform import Platform

LARGEST_PAGE = 100

PAUSED_BY_OWNER = "paused by its owner"


@dataclass(frozen=True, slots=True)
class Logged:
    """A delivery, what it is of, and its last tries."""

    delivery: Delivery
    event: OutboxEvent
    attempts: Sequence[DeliveryAttempt] = ()


@dataclass(frozen=True, slots=True)
class Log:
    items: Sequence[Logged]
    next_cursor: UUID | None


@dataclass(frozen=True, slots=True)
class Change:
    """What of an endpoint is to be another way; None is left as it is."""

    url: str | None = field(default=None, repr=False)
    events: Sequence[Announced] | None = None
    payload: Payload | None = None
    state: Literal[EndpointState.ACTIVE, EndpointState.PAUSED] | None = None


async def register(
    platform: Platform, caller: Caller, url: str, events: Sequence[Announced], payload: Payload
) -> WebhookEndpoint:
    """Keep an endpoint, with a secret of its own, which is shown now and never again.

    Raises WebhookUrlRefused, WebhookHostUnknown, TooManyWebhooks.
    """
    limits = platform.settings.webhooks
    await webhook_url.check(url, limits)
    endpoint = WebhookEndpoint(
        id=uuid4(), owner=caller.owner, url=url, events=_names(events), payload=payload, secret=new_secret()
    )
    async with platform.sessions.begin(owner=caller.owner) as session:
        if await webhooks.count(session, owner=caller.owner) >= limits.max_endpoints:
            raise TooManyWebhooks(limits.max_endpoints)
        return await webhooks.insert(session, endpoint)


async def listed(platform: Platform, caller: Caller) -> list[WebhookEndpoint]:
    async with platform.sessions.begin(owner=caller.owner) as session:
        return await webhooks.listed(session, owner=caller.owner)


async def read(platform: Platform, caller: Caller, endpoint_id: UUID) -> WebhookEndpoint:
    """Raises WebhookNotFound."""
    async with platform.sessions.begin(owner=caller.owner) as session:
        return await _find(session, caller, endpoint_id)


async def change(platform: Platform, caller: Caller, endpoint_id: UUID, wanted: Change) -> WebhookEndpoint:
    """Also what is owed already goes to a new URL. Paused, an endpoint's deliveries wait for it to be active again.

    Raises WebhookNotFound, WebhookUrlRefused, WebhookHostUnknown.
    """
    if wanted.url is not None:
        await webhook_url.check(wanted.url, platform.settings.webhooks)
    said = {"url": wanted.url, "payload": wanted.payload, "events": wanted.events and _names(wanted.events)}
    values: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
    if wanted.state == EndpointState.PAUSED:
        values |= {"state": EndpointState.PAUSED, "reason": PAUSED_BY_OWNER}
    if wanted.state == EndpointState.ACTIVE:
        values |= webhooks.UNHARMED
    async with platform.sessions.begin(owner=caller.owner) as session:
        changed = await webhooks.change(session, endpoint_id, owner=caller.owner, **values)
        if changed is None:
            raise WebhookNotFound
        if wanted.state == EndpointState.PAUSED:
            await outbox.pause(session, endpoint_id)
        if wanted.state == EndpointState.ACTIVE:
            await outbox.resume(session, endpoint_id)
    return changed


async def rotate(platform: Platform, caller: Caller, endpoint_id: UUID) -> WebhookEndpoint:
    """A new secret, shown now and never again; the old one signs as well for a while. Raises WebhookNotFound."""
    overlap = timedelta(hours=platform.settings.webhooks.secret_overlap_hours)
    async with platform.sessions.begin(owner=caller.owner) as session:
        changed = await webhooks.rotate(session, endpoint_id, owner=caller.owner, secret=new_secret(), overlap=overlap)
    if changed is None:
        raise WebhookNotFound
    return changed


async def delete(platform: Platform, caller: Caller, endpoint_id: UUID) -> None:
    """With its log and what is owed to it. Raises WebhookNotFound."""
    async with platform.sessions.begin(owner=caller.owner) as session:
        if not await webhooks.remove(session, endpoint_id, owner=caller.owner):
            raise WebhookNotFound


async def try_out(platform: Platform, caller: Caller, endpoint_id: UUID) -> Logged:
    """Owe the endpoint a `ping`, which is delivered like anything else. Raises WebhookNotFound, WebhookNotActive."""
    async with platform.sessions.begin(owner=caller.owner) as session:
        endpoint = await _active(session, caller, endpoint_id)
        return Logged(*await outbox.owe_ping(session, endpoint))


async def log(
    platform: Platform,
    caller: Caller,
    endpoint_id: UUID,
    *,
    limit: int,
    cursor: UUID | None,
    state: DeliveryState | None,
) -> Log:
    """Newest first; `cursor` is the delivery behind which to go on. Raises WebhookNotFound, Invalid."""
    async with platform.sessions.begin(owner=caller.owner) as session:
        await _find(session, caller, endpoint_id)
        before = None if cursor is None else await _place(session, endpoint_id, cursor)
        found = await outbox.page(session, endpoint_id, limit=limit + 1, before=before, state=state)
        shown = found[:limit]
        tried = await outbox.attempts_of(session, [delivery.id for delivery, _ in shown])
    items = [Logged(delivery, event, tried.get(delivery.id, ())) for delivery, event in shown]
    return Log(items, shown[-1][0].id if len(found) > limit else None)


async def replay(platform: Platform, caller: Caller, endpoint_id: UUID, delivery_id: UUID) -> Logged:
    """Deliver once more, the same id and bytes, whatever became of it before.

    Raises WebhookNotFound, WebhookNotActive, DeliveryNotFound, DeliveryErased.
    """
    async with platform.sessions.begin(owner=caller.owner) as session:
        await _active(session, caller, endpoint_id)
        found = await outbox.find(session, delivery_id, endpoint_id, lock=True)
        if found is None:
            raise DeliveryNotFound
        if found[1].body is None:
            raise DeliveryErased
        again = await outbox.owe_again(session, delivery_id)
        tried = await outbox.attempts_of(session, [delivery_id])
    if again is None:
        raise DeliveryNotFound
    return Logged(again, found[1], tried.get(delivery_id, ()))


def _names(events: Sequence[Announced]) -> list[str]:
    return sorted({event.value for event in events})


async def _find(session: AsyncSession, caller: Caller, endpoint_id: UUID, *, lock: bool = False) -> WebhookEndpoint:
    endpoint = await webhooks.get(session, endpoint_id, owner=caller.owner, lock=lock)
    if endpoint is None:
        raise WebhookNotFound
    return endpoint


async def _active(session: AsyncSession, caller: Caller, endpoint_id: UUID) -> WebhookEndpoint:
    """Locked, so that it stays active until what is owed to it is written."""
    endpoint = await _find(session, caller, endpoint_id, lock=True)
    if endpoint.state != EndpointState.ACTIVE:
        raise WebhookNotActive(endpoint.state)
    return endpoint


async def _place(session: AsyncSession, endpoint_id: UUID, cursor: UUID) -> tuple[Any, UUID]:
    found = await outbox.find(session, cursor, endpoint_id)
    if found is None:
        raise Invalid("this cursor is not one of ours; take next_cursor of the page before", field="cursor")
    return found[0].created_at, cursor
