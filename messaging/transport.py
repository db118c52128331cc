"""How an announcement leaves the platform: one small contract for webhooks, and later for AMQP."""

from dataclasses import dataclass, field
from typing import Protocol, TypeVar

Address = TypeVar("Address", contravariant=True)


@dataclass(frozen=True, slots=True)
class Envelope:
    """What is sent, the same over every repetition: receivers tell by the id what they have had before."""

    id: str
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one try went.

    `error` is None where the receiver has taken it; else what went wrong, as a word: `timeout`, `connection`, `tls`,
    `protocol`, `status` (an answer other than 2xx), `redirect`, `gone` (the receiver wants nothing any more), or the
    code of a WebhookUrlRefused. `status_code` is None where nothing was answered. `retry_after` are seconds that the
    receiver asked us to wait.
    """

    error: str | None
    status_code: int | None
    latency_ms: int
    retry_after: float | None = None


class Transport(Protocol[Address]):
    async def send(self, envelope: Envelope, to: Address) -> Outcome:
        """Try once. Every failure is an Outcome, and it is told within the transport's own time-out."""
        ...

    async def close(self) -> None: ...
