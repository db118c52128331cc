"""What is owed to other systems, as a relay sees it: take it up, try, and keep what came of it."""

import asyncio
import logging
import random
from collections.abc import Collection
from datetime import timedelta
from time import monotonic
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from db import outbox, webhooks
from db.outbox import OwedToEndpoint
from domain.announcements import EndpointState, next_try
from domain.errors import DatabaseUnavailable
from messaging.transport import Envelope, Outcome, Transport
from messaging.webhook_sender import WebhookAddress
from services.platform import Platform

log = logging.getLogger(__name__)

LEASE_FACTOR = 2
"""A relay that has said nothing for so many time-outs is dead: another takes over what it had."""

SAY_AGAIN_SECONDS = 0.5
BATCH = 1000

GONE = "its receiver answered 410 Gone"


async def take_up(platform: Platform, *, limit: int, share: int, busy: Collection[UUID]) -> list[OwedToEndpoint]:
    """Up to `limit` deliveries that are due, at most `share` for one endpoint, and none for those that are `busy`."""
    async with platform.sessions.alone() as session:
        return await outbox.take_up(session, lease=_lease(platform), limit=limit, share=share, busy=busy)


async def deliver(platform: Platform, transport: Transport[WebhookAddress], owed: OwedToEndpoint) -> None:
    """Try once, and keep the outcome; while PostgreSQL is away that is tried for as long as the delivery is ours."""
    until = monotonic() + _lease(platform).total_seconds()
    outcome = await transport.send(Envelope(str(owed.event_id), owed.body), WebhookAddress(owed.url, owed.secrets))
    while True:
        try:
            return await record(platform, owed, outcome)
        except DatabaseUnavailable:
            if monotonic() > until:
                raise
            await asyncio.sleep(SAY_AGAIN_SECONDS)


async def record(platform: Platform, owed: OwedToEndpoint, outcome: Outcome) -> None:
    """Keep the outcome of a try, and what it says of the endpoint; one that comes late changes nothing."""
    async with platform.sessions.begin() as session:
        if outcome.error is None:
            await _record_success(session, owed, outcome)
        else:
            await _record_failure(platform, session, owed, outcome)


async def _record_success(session: AsyncSession, owed: OwedToEndpoint, outcome: Outcome) -> None:
    if owed.failing:
        await webhooks.get(session, owed.endpoint_id, owner=None, lock=True)
    ours = await outbox.note_delivered(session, owed, **_answer(outcome))
    if ours and owed.failing:
        await webhooks.note_success(session, owed.endpoint_id)


async def _record_failure(platform: Platform, session: AsyncSession, owed: OwedToEndpoint, outcome: Outcome) -> None:
    gone = outcome.error == "gone"
    again_in = None if gone else _next_try(platform, owed, outcome)
    await webhooks.get(session, owed.endpoint_id, owner=None, lock=True)
    if not await outbox.note_failed(session, owed, again_in=again_in, **_answer(outcome)):
        return
    failing_for, given_up = await webhooks.note_failure(session, owed.endpoint_id, gave_up=again_in is None)
    if gone:
        await _stop(session, owed.endpoint_id, EndpointState.DISABLED, GONE)
    elif reason := _tired(platform, failing_for, given_up):
        await _stop(session, owed.endpoint_id, EndpointState.PAUSED, reason)
    elif again_in is not None and outcome.retry_after is not None:
        await outbox.hold_back(session, owed.endpoint_id, again_in)


def _next_try(platform: Platform, owed: OwedToEndpoint, outcome: Outcome) -> timedelta | None:
    spread = random.uniform(0.8, 1.2)  # noqa: S311  # spreads load, keeps no secret
    delays = platform.settings.webhooks.retry_delays_seconds
    return next_try(owed.attempts + 1, delays, spread=spread, asked=outcome.retry_after)


def _tired(platform: Platform, failing_for: timedelta, given_up: int) -> str | None:
    """Why an endpoint is to be left alone, if it is."""
    limits = platform.settings.webhooks
    if failing_for >= timedelta(days=limits.pause_after_days):
        return f"it has failed for {failing_for / timedelta(days=1):.1f} days without one success"
    if given_up >= limits.pause_after_given_up:
        return f"{given_up} deliveries have been given up without one success between"
    return None


async def _stop(session: AsyncSession, endpoint_id: UUID, state: EndpointState, reason: str) -> None:
    log.warning("webhook %s is %s: %s", endpoint_id, state, reason)
    await webhooks.stop(session, endpoint_id, state, reason)
    await outbox.pause(session, endpoint_id)


def _answer(outcome: Outcome) -> dict[str, object]:
    return {"status_code": outcome.status_code, "latency_ms": outcome.latency_ms, "error": outcome.error}


async def forget_old(platform: Platform) -> int:
    """Delete what has been in the log for long enough; how much."""
    age = timedelta(days=platform.settings.webhooks.log_days)
    forgotten = 0
    while True:
        async with platform.sessions.begin() as session:
            batch = await outbox.forget_old(session, older_than=age, limit=BATCH)
        forgotten += batch
        if batch < BATCH:
            return forgotten


def _lease(platform: Platform) -> timedelta:
    return timedelta(seconds=LEASE_FACTOR * platform.settings.webhooks.timeout_seconds)
