"""Telling other systems what they are owed. Every worker does; PostgreSQL keeps them out of one another's way."""

import asyncio
import logging
from collections import Counter
from typing import Generic, TypeVar
from uuid import UUID

from config import metrics
from db.outbox import OwedToEndpoint
from domain.errors import EscribaError
from messaging.transport import Envelope, Outcome, Transport
from messaging.webhook_sender import WebhookAddress
from services import outbox
from services.platform import Platform
from workers.schedule import every

log = logging.getLogger(__name__)

Address = TypeVar("Address")

LOOK_SECONDS = 1.0
"""How long a delivery that has come due may go unnoticed."""

FORGET_SECONDS = 3600.0

MOST_AT_ONCE = 32
"""Of one relay; each is a connection that mostly waits."""

MOST_FOR_ONE = 8
"""Taken up at once for one endpoint, and only while it has fewer in hand: one that hangs holds up only itself."""


class Timed(Generic[Address]):
    """A transport of which every try is measured."""

    def __init__(self, transport: Transport[Address], destination: str) -> None:
        self._transport, self._destination = transport, destination

    async def send(self, envelope: Envelope, to: Address) -> Outcome:
        with metrics.timed(metrics.DELIVERY_SECONDS.labels(self._destination)):
            outcome = await self._transport.send(envelope, to)
        metrics.DELIVERIES.labels(self._destination, outcome.error or "delivered").inc()
        return outcome

    async def close(self) -> None:
        await self._transport.close()


class Relay:
    """Deliver what is due, many at once, for as long as the worker lives."""

    def __init__(self, platform: Platform, transport: Transport[WebhookAddress]) -> None:
        self._platform, self._transport = platform, transport
        self._in_hand: dict[asyncio.Task[None], UUID] = {}
        self._draining = False

    async def run(self) -> None:
        async with asyncio.TaskGroup() as clocks:
            clocks.create_task(every(LOOK_SECONDS, "relay", self.relay))
            clocks.create_task(every(FORGET_SECONDS, "forgetting deliveries", self._forget))

    async def relay(self) -> None:
        """Deliver until nothing is due."""
        while not self._draining:
            room = MOST_AT_ONCE - len(self._in_hand)
            taken = await self._take_up(room) if room else []
            if not taken and not self._in_hand:
                return
            if not taken:
                await asyncio.wait(self._in_hand, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)

    async def _take_up(self, room: int) -> list[OwedToEndpoint]:
        loads = Counter(self._in_hand.values())
        busy = [endpoint_id for endpoint_id, load in loads.items() if load >= MOST_FOR_ONE]
        taken = await outbox.take_up(self._platform, limit=room, share=MOST_FOR_ONE, busy=busy)
        if self._draining:
            return []  # too late to begin: another relay's, once the lease has run out
        for owed in taken:
            task = asyncio.create_task(self._deliver(owed))
            self._in_hand[task] = owed.endpoint_id
            task.add_done_callback(self._in_hand.pop)
        return taken

    async def _deliver(self, owed: OwedToEndpoint) -> None:
        try:
            await outbox.deliver(self._platform, self._transport, owed)
        except EscribaError as error:
            log.warning(
                "the outcome of delivery %s is not kept, so it is tried again: %s", owed.delivery_id, error.code
            )
        except Exception:
            log.exception("delivery %s could not be tried", owed.delivery_id)

    async def _forget(self) -> None:
        await outbox.forget_old(self._platform)

    async def drain(self, grace_seconds: float) -> None:
        """Take up nothing more, and let what is under way end; what does not is another relay's after its lease."""
        self._draining = True
        if self._in_hand:
            await asyncio.wait(self._in_hand, timeout=grace_seconds)
        left = list(self._in_hand)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._transport.close()
