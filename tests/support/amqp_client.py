"""An outside producer and consumer of the RabbitMQ door: pika, in a thread of its own."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError, StreamLostError

T = TypeVar("T")

REQUESTS, RESULTS, RETRIES = "whisper_transcriptions", "whisper_results", "whisper_retry_queue"
EXCHANGES = ("whisper_exchange", "whisper_results_exchange", "whisper_retry_exchange")
QUEUES = (REQUESTS, RESULTS, RETRIES)


@dataclass(frozen=True)
class Received:
    properties: pika.BasicProperties
    body: bytes
    redelivered: bool

    @property
    def said(self) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(self.body)
        return said


class AmqpClient:
    def __init__(self, url: str) -> None:
        self._parameters = pika.URLParameters(url)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pika")
        self._connection: pika.BlockingConnection | None = None
        self._channel: BlockingChannel | None = None

    @classmethod
    @asynccontextmanager
    async def connected(cls, url: str) -> AsyncIterator["AmqpClient"]:
        client = cls(url)
        try:
            yield client
        finally:
            await client.close()

    async def publish(
        self, body: dict[str, Any] | bytes, *, message_id: str | None = None, headers: dict[str, Any] | None = None
    ) -> None:
        """As the contract's producers do: a persistent message. Raises UnroutableError where no queue takes it."""
        properties = pika.BasicProperties(delivery_mode=2, message_id=message_id, headers=headers)
        words = body if isinstance(body, bytes) else json.dumps(body).encode()
        await self._do(
            lambda channel: channel.basic_publish(
                "whisper_exchange", "transcription.request", words, properties, mandatory=True
            )
        )

    async def receive(self, queue: str = RESULTS, *, within: float = 60.0) -> Received:
        """What comes next, acknowledged."""
        return await self._do(partial(_receive, queue=queue, within=within))

    async def put_back(self, queue: str) -> None:
        """Take a message and give it back, as a consumer that dies does."""

        def take(channel: BlockingChannel) -> None:
            method, _, _ = channel.basic_get(queue)
            assert method is not None
            channel.basic_nack(method.delivery_tag, requeue=True)

        await self._do(take)

    async def count(self, queue: str) -> int:
        """Messages that wait there."""
        declared = await self._do(lambda channel: channel.queue_declare(queue, passive=True))
        return int(declared.method.message_count)

    async def declare(self, queue: str, **arguments: Any) -> None:
        """Raises ChannelClosedByBroker where it is there in another way."""
        await self._do(lambda channel: channel.queue_declare(queue, durable=True, arguments=arguments))

    async def delete_all(self) -> None:
        """Leave nothing of the contract on the broker."""
        for queue in QUEUES:
            await self._do(lambda channel, queue=queue: channel.queue_delete(queue))
        for exchange in EXCHANGES:
            await self._do(lambda channel, exchange=exchange: channel.exchange_delete(exchange))

    async def do(self, action: Callable[[BlockingChannel], T]) -> T:
        return await self._do(action)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._hang_up)
        self._thread.shutdown()

    async def _do(self, action: Callable[[BlockingChannel], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._at_once, action)

    def _at_once(self, action: Callable[[BlockingChannel], T]) -> T:
        try:
            return action(self._open_channel())
        except StreamLostError:  # that its broker has gone shows only now
            return action(self._open_channel())

    def _open_channel(self) -> BlockingChannel:
        if self._connection is None or not self._connection.is_open:
            self._hang_up()
            self._connection, self._channel = pika.BlockingConnection(self._parameters), None
        if self._channel is None or not self._channel.is_open:
            self._channel = self._connection.channel()
            self._channel.confirm_delivery()
        return self._channel

    def _hang_up(self) -> None:
        if self._connection is None:
            return
        try:
            self._connection.close()
        except AMQPError:
            self._connection._impl.ioloop.close()  # which pika leaves open where the broker hung up


def _receive(channel: BlockingChannel, queue: str, within: float) -> Received:
    for method, properties, body in channel.consume(queue, inactivity_timeout=within):
        assert method is not None, f"nothing came to {queue} within {within} s"
        channel.basic_ack(method.delivery_tag)
        channel.cancel()
        return Received(properties, body, method.redelivered)
    raise AssertionError
