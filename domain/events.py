"""What is announced about a job: one shape for SSE, Redis, and later WebSocket, webhooks and AMQP.

Two kinds are durable, in PostgreSQL, and can be replayed: changes of state (numbered by `seq`) and segments
(numbered by `fence` and `n`). Progress is not: the latest says all.
"""

from datetime import datetime
from typing import Any, Literal, Self
from uuid import UUID

from pydantic import Field

from domain.lifecycle import ENDED, JobState
from domain.transcript import Segment, Value


class Event(Value):
    """One announcement. `status` and `progress` are always there, so that a client may look at nothing else."""

    type: Literal["snapshot", "state", "progress", "segment"]
    job_id: UUID
    transcript_id: UUID | None = None
    status: JobState
    progress: int = Field(ge=0, le=100)
    message: str | None = None
    stage: str | None = None
    audio_done: float | None = None
    audio_total: float | None = None
    eta_seconds: float | None = None
    engine: str | None = None
    worker_id: str | None = None
    seq: int | None = None
    fence: int | None = None
    n: int | None = None
    segment: Segment | None = None
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    at: datetime | None = None

    @property
    def terminal(self) -> bool:
        return self.type == "state" and self.status in ENDED

    def to_json(self) -> str:
        return self.model_dump_json(exclude_none=True)


LARGEST_NUMBER = 2**31 - 1
"""Of an event, a fence or a segment, as PostgreSQL keeps them."""


class Cursor(Value):
    """How far a client has followed a job, as the `id` of an SSE event: `seq.fence.n.end_ms`.

    `end_ms` is the end of the last segment delivered, so that a new attempt goes on behind it.
    """

    seq: int = 0
    fence: int = 0
    n: int = 0
    end_ms: int = 0

    def __str__(self) -> str:
        return f"{self.seq}.{self.fence}.{self.n}.{self.end_ms}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The cursor that `text` spells, or None where it is not one of ours."""
        parts = text.split(".")
        if len(parts) != 4 or not all(part.isascii() and part.isdigit() and len(part) < 16 for part in parts):
            return None
        seq, fence, n, end_ms = map(int, parts)
        if max(seq, fence, n) > LARGEST_NUMBER:
            return None
        return cls(seq=seq, fence=fence, n=n, end_ms=end_ms)

    def after(self, event: Event) -> Self:
        """The cursor once `event` has been delivered."""
        changed: dict[str, int] = {}
        if event.type == "state" and event.seq is not None:
            changed["seq"] = max(self.seq, event.seq)
        if event.segment is not None and event.fence is not None and event.n is not None:
            end_ms = max(self.end_ms, round(event.segment.end * 1000))
            changed |= {"fence": event.fence, "n": event.n, "end_ms": end_ms}
        return self.model_copy(update=changed)

    def wants(self, event: Event) -> bool:
        """Is a durable `event` news to a client that stands here?"""
        if event.type == "state":
            return event.seq is not None and event.seq > self.seq
        if event.segment is None or event.fence is None or event.n is None:
            return True
        if event.fence == self.fence:
            return event.n > self.n
        # A later attempt hears the same audio again: only what lies behind the last second delivered is news.
        return event.fence > self.fence and round(event.segment.end * 1000) > self.end_ms
