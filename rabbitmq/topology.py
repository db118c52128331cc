"""What the contract has on the broker: exchanges, queues, and what leads from one to the other."""

import logging
from dataclasses import dataclass, field
from typing import Any, Literal

from aio_pika import ExchangeType
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import ChannelClosed

from domain.audio_requests import Route

log = logging.getLogger(__name__)

REQUEST_KEY = "transcription.request"
RETRY_MS = 5000
"""How long a request whose try failed waits for the next."""

QueueType = Literal["classic", "quorum"]


@dataclass(frozen=True, slots=True)
class Line:
    """An exchange, and the queue that it leads to."""

    exchange: str
    queue: str
    key: str
    arguments: dict[str, Any] = field(default_factory=dict)
    of_quorum: dict[str, Any] = field(default_factory=dict)
    """Arguments that only a quorum queue takes."""

    def arguments_as(self, queue_type: QueueType) -> dict[str, Any]:
        if queue_type == "classic":  # not said, as it never was: a queue from before is then the same
            return self.arguments
        return {**self.arguments, **self.of_quorum, "x-queue-type": queue_type}


REQUESTS = Line(
    "whisper_exchange",
    "whisper_transcriptions",
    REQUEST_KEY,
    # From RabbitMQ 4.0 on a quorum queue drops what has come back 20 times, as it does while PostgreSQL is full.
    of_quorum={"x-delivery-limit": 1_000_000_000},
)
RESULTS = Line("whisper_results_exchange", "whisper_results", Route.RESULT)
RETRIES = Line(
    "whisper_retry_exchange",
    "whisper_retry_queue",
    Route.RETRY,
    arguments={
        "x-message-ttl": RETRY_MS,
        "x-dead-letter-exchange": REQUESTS.exchange,
        "x-dead-letter-routing-key": REQUEST_KEY,
    },
    # A message stays until it has arrived where its time-out sends it.
    of_quorum={"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"},
)


async def declare(connection: AbstractConnection, queue_type: QueueType) -> None:
    """Declare what is not there; what is there in another way, or is not ours to declare, is used as it is.

    Raises ChannelClosed where something is not there and cannot be made.
    """
    for line in (REQUESTS, RESULTS, RETRIES):
        for passive in (False, True):
            if await _declare(connection, line, queue_type, passive=passive):
                break


async def _declare(connection: AbstractConnection, line: Line, queue_type: QueueType, *, passive: bool) -> bool:
    """On a channel of its own, as the broker closes one on which it refuses something."""
    try:
        async with connection.channel() as channel:
            exchange = await channel.declare_exchange(line.exchange, ExchangeType.DIRECT, durable=True, passive=passive)
            arguments = line.arguments_as(queue_type)
            queue = await channel.declare_queue(line.queue, durable=True, arguments=arguments, passive=passive)
            await queue.bind(exchange, line.key)
    except ChannelClosed as refusal:
        if passive:
            raise
        log.warning("%s and %s are used as they are: %s", line.exchange, line.queue, refusal)
        return False
    return True
