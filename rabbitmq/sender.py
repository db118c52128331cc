"""Answers on the wire: persistent, confirmed by the broker, and in a queue, or not sent."""

import time

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, HeadersType
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, DeliveryError, PublishError

from domain import audio_requests
from domain.audio_requests import Route
from messaging.transport import Envelope, Outcome
from rabbitmq.topology import RESULTS, RETRIES

LINES = {line.key: line for line in (RESULTS, RETRIES)}


class Sender:
    """A Transport to the queues of results and of retries, over a channel with confirms that raises what is returned.

    An outcome's `error` is `unroutable` where no queue wants it, `refused` where the broker says no, else `timeout` or
    `connection`.
    """

    def __init__(self, channel: AbstractChannel, *, timeout_seconds: float) -> None:
        self._channel, self._timeout = channel, timeout_seconds

    async def send(self, envelope: Envelope, to: Route) -> Outcome:
        """Publish once."""
        began = time.monotonic()
        try:
            exchange = await self._channel.get_exchange(LINES[to].exchange, ensure=False)
            await exchange.publish(_message(envelope, to), to, mandatory=True, timeout=self._timeout)
            error = None
        except PublishError:
            error = "unroutable"
        except DeliveryError:
            error = "refused"
        except TimeoutError:
            error = "timeout"
        except CONNECTION_EXCEPTIONS:
            error = "connection"
        return Outcome(error, None, round(1000 * (time.monotonic() - began)))

    async def close(self) -> None:
        await self._channel.close()


def _message(envelope: Envelope, to: Route) -> Message:
    headers: HeadersType = {}
    if to == Route.RETRY:
        headers["x-retry-count"] = audio_requests.retries_of(envelope.body)
    return Message(
        envelope.body,
        message_id=envelope.id,
        content_type="application/json",
        delivery_mode=DeliveryMode.PERSISTENT,
        headers=headers,
    )
