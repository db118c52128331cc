"""What other systems are told of a job's end, and what becomes of the telling. Pure.

An announcement is an envelope: an id, and the bytes of a body that are frozen when it is made, so that whoever gets it
twice can tell. It is owed to every destination that asked for its type: one delivery each.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Literal

from domain.lifecycle import JobState


class Announced(StrEnum):
    """The types, as the `type` of a body has them."""

    COMPLETED = "job.completed"
    FAILED = "job.failed"
    CANCELLED = "job.cancelled"
    ERASED = "job.erased"
    PING = "ping"
    """A trial, sent when an endpoint's owner asks for one."""


OF_STATE = {
    JobState.COMPLETED: Announced.COMPLETED,
    JobState.FAILED: Announced.FAILED,
    JobState.CANCELLED: Announced.CANCELLED,
    JobState.PURGED: Announced.ERASED,
}
"""The states whose beginning is announced."""

Payload = Literal["thin", "full"]
"""How much a body says: ids and a status, or also where the result is and what it is like. Neither has a word of it."""


class EndpointState(StrEnum):
    ACTIVE = "active"
    PAUSED = "paused"
    """By its owner, or because it has failed for too long; what is owed to it is kept."""
    DISABLED = "disabled"
    """It said 410 Gone; nothing new is owed to it."""


class DeliveryState(StrEnum):
    PENDING = "pending"
    """Due at `next_at`. Taken up by a relay; one that dies leaves it to the others once its lease has run out."""
    DELIVERED = "delivered"
    FAILED = "failed"
    """Given up: the schedule is spent, or the endpoint is gone."""
    PAUSED = "paused"
    """As its endpoint is."""


def body(kind: Announced, at: datetime, data: dict[str, Any]) -> bytes:
    """The JSON of an announcement, without what is None; https://www.standardwebhooks.com, "Payload structure"."""
    moment = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    said = {name: value for name, value in data.items() if value is not None}
    return json.dumps({"type": kind, "timestamp": moment, "data": said}, default=str, separators=(",", ":")).encode()


LONGEST_WAIT = timedelta(days=1)
"""The most that a Retry-After is heeded."""


def next_try(attempts: int, delays: Sequence[int], *, spread: float, asked: float | None = None) -> timedelta | None:
    """How long to wait after failed try number `attempts`; None once the schedule is spent.

    Args:
        attempts: from 1.
        delays: seconds after the first try, the second, …
        spread: 0.8 … 1.2, so that what failed together is not tried again together.
        asked: seconds that the receiver asked for; it can make the wait longer, not shorter.
    """
    if attempts > len(delays):
        return None
    scheduled = timedelta(seconds=delays[attempts - 1] * spread)
    return max(scheduled, min(timedelta(seconds=asked), LONGEST_WAIT)) if asked is not None else scheduled
