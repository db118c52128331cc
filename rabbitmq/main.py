"""The door's process: connected to the broker for as long as it lives, over every absence of it."""

import asyncio
import logging
import os
import signal

import aio_pika
from aio_pika.abc import AbstractConnection
from aio_pika.connection import make_url
from aio_pika.exceptions import CONNECTION_EXCEPTIONS

from config.settings import Settings
from db.session import NOBODY
from domain.request_errors import BrokerUnavailable
from rabbitmq import topology
from rabbitmq.audio_files import AudioFiles
from rabbitmq.consumer import Consumer
from rabbitmq.lenience import read_leniently
from rabbitmq.relay import Relay
from rabbitmq.sender import Sender
from services.platform import Platform, open_platform

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_SECONDS = 10.0


async def run(settings: Settings, *, ready_fd: int | None) -> None:
    """Take requests and give answers until SIGTERM or SIGINT. Raises BrokerUnavailable where there is no beginning."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    files = AudioFiles(settings.rabbitmq, limit=settings.api.max_file_size_bytes)
    try:
        async with open_platform(settings, application="rabbitmq", sees=NOBODY) as platform:
            await Door(platform, files, ready_fd).serve(stop)
    finally:
        await files.close()


class Door:
    def __init__(self, platform: Platform, files: AudioFiles, ready_fd: int | None) -> None:
        self._platform, self._files, self._ready_fd = platform, files, ready_fd
        self._settings = platform.settings.rabbitmq
        self._begun = False

    async def serve(self, stop: asyncio.Event) -> None:
        """Connect, and whenever the connection is lost, again; a start that finds no broker is given up."""
        read_leniently()
        tries = 0
        while not stop.is_set():
            tries += 1
            try:
                async with self._connection() as connection:  # which closes what could not be connected, too
                    await connection.connect(timeout=CONNECT_TIMEOUT_SECONDS)
                    await self._attend(connection, stop)
            except CONNECTION_EXCEPTIONS as error:
                log.warning("RabbitMQ is away: %s", type(error).__name__)
                if not self._begun and tries >= self._settings.connect_attempts:
                    raise BrokerUnavailable(tries, type(error).__name__) from error
                await _first_of(stop, within=self._settings.connect_wait_seconds)

    def _connection(self) -> AbstractConnection:
        return aio_pika.Connection(make_url(self._settings.url.get_secret_value()))

    async def _attend(self, connection: AbstractConnection, stop: asyncio.Event) -> None:
        """Take and give until `stop`. Raises ConnectionError where the connection, or a part of it, is lost."""
        await topology.declare(connection, self._settings.queue_type)
        lost, ending = asyncio.Event(), asyncio.Event()
        incoming = await connection.channel()
        outgoing = await connection.channel(on_return_raises=True)
        await incoming.set_qos(prefetch_count=self._platform.settings.workers.count)
        for closing in (connection, incoming, outgoing):
            closing.close_callbacks.add(lambda *_: lost.set())
        (await incoming.get_underlay_channel()).on_consumer_cancel_callbacks.add(lambda _: lost.set())
        consumer = Consumer(self._platform, self._files)
        sender = Sender(outgoing, timeout_seconds=self._settings.confirm_timeout_seconds)
        relaying = asyncio.create_task(Relay(self._platform, sender, self._files).run(ending))
        try:
            queue = await incoming.get_queue(topology.REQUESTS.queue, ensure=False)
            tag = await queue.consume(consumer.take)
            self._say_ready()
            await _first_of(stop, lost)
            if not lost.is_set():
                log.info("the door drains")
                await queue.cancel(tag)
        finally:
            ending.set()
            grace = self._platform.settings.workers.grace_seconds
            # What a lost connection had brought comes again, and is known by then, or not.
            await asyncio.gather(consumer.drain(0 if lost.is_set() else grace), _end(relaying, grace))
        if not stop.is_set():
            raise ConnectionError("the connection was lost")

    def _say_ready(self) -> None:
        if not self._begun:
            log.info("the door is open")
            if self._ready_fd is not None:
                os.write(self._ready_fd, b"ready\n")
                os.close(self._ready_fd)
        self._begun = True


async def _first_of(*events: asyncio.Event, within: float | None = None) -> None:
    waits = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waits, timeout=within, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


async def _end(task: asyncio.Task[None], seconds: float) -> None:
    """Let it end by itself, for so long."""
    await asyncio.wait([task], timeout=seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
