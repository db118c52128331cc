"""Webhooks in the state that a test needs, and a look at what is owed to them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import text

from db.webhook_tables import WebhookEndpoint
from domain.access import Caller
from domain.announcements import OF_STATE, Announced, DeliveryState, Payload
from messaging.transport import Outcome
from messaging.webhook_sender import WebhookSender
from services import outbox, webhooks
from services.platform import Platform
from services.webhooks import Logged
from tests.support.jobs import ME

OPEN = {"WEBHOOK_ALLOW_HTTP": "1", "WEBHOOK_ALLOW_PRIVATE": "1"}
"""Settings with which a receiver on loopback may be a webhook."""

NO = Outcome(error="status", status_code=500, latency_ms=1)
YES = Outcome(error=None, status_code=204, latency_ms=1)
"""What a receiver says to a delivery."""

ALL = tuple(OF_STATE.values())


async def endpoint(
    platform: Platform,
    url: str = "http://127.0.0.1:9/",
    *,
    events: Sequence[Announced] = ALL,
    payload: Payload = "thin",
    owner: Caller = ME,
) -> WebhookEndpoint:
    return await webhooks.register(platform, owner, url, events, payload)


async def deliveries(
    platform: Platform, endpoint_id: UUID, *, owner: Caller = ME, state: DeliveryState | None = None
) -> list[Logged]:
    """Oldest first."""
    found = await webhooks.log(platform, owner, endpoint_id, limit=1000, cursor=None, state=state)
    return list(reversed(found.items))


@asynccontextmanager
async def sending(platform: Platform) -> AsyncIterator[WebhookSender]:
    sender = WebhookSender(platform.settings.webhooks)
    try:
        yield sender
    finally:
        await sender.close()


async def relay_once(platform: Platform, *, limit: int = 100, share: int = 100) -> int:
    """Try everything that is due, one after another; how much that was."""
    taken = await outbox.take_up(platform, limit=limit, share=share, busy=())
    async with sending(platform) as sender:
        for owed in taken:
            await outbox.deliver(platform, sender, owed)
    return len(taken)


async def run_sql(platform: Platform, statement: str) -> list[Any]:
    async with platform.sessions.begin() as session:
        found = await session.execute(text(statement))
        return list(found) if found.returns_rows else []


async def make_due(platform: Platform) -> None:
    """What waits for its next try, or for a relay's lease to run out, has waited long enough."""
    await run_sql(platform, "UPDATE deliveries SET next_at = now() - interval '1 s' WHERE state = 'pending'")


def having(platform: Platform, **changed: Any) -> Platform:
    """The same platform under other settings for webhooks."""
    webhooks_settings = platform.settings.webhooks.model_copy(update=changed)
    return replace(platform, settings=platform.settings.model_copy(update={"webhooks": webhooks_settings}))
