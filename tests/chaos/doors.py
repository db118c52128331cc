"""The RabbitMQ door of a campaign: a broker, processes of the door that can be killed, and outside clients."""

import asyncio
import hashlib
import random
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pika
from pika.exceptions import AMQPError

from config.parenthood import die_with_parent
from tests.chaos.ground import Ground, so
from tests.support.amqp_client import REQUESTS, RESULTS, AmqpClient
from tests.support.audio import tone
from tests.support.broker import RabbitMQServer

CONFIRM_SECONDS = 2.0

ENVIRON = {
    "DEFAULT_TRANSCRIPTION_ENGINE": "steady",
    "RABBITMQ_CONFIRM_TIMEOUT_SEC": str(CONFIRM_SECONDS),
    "RABBITMQ_CONNECT_WAIT_SEC": "0.2",
    "RABBITMQ_CONNECT_ATTEMPTS": "1000",
    "WORKERS_COUNT": "10",  # here: how many requests are held at once
}

RETRY_SECONDS = 0.2


class Listener(threading.Thread):
    """A consumer of results, who notes whatever is delivered, over every absence of the broker."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._parameters = pika.URLParameters(url)
        self._ends = threading.Event()
        self.told: defaultdict[int, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        """By attachment and message id, the hashes of the bodies that came."""

    def run(self) -> None:
        while not self._ends.is_set():
            try:
                self._consume()
            except (AMQPError, OSError):
                time.sleep(RETRY_SECONDS)

    def stop(self) -> None:
        self._ends.set()
        self.join()

    def _consume(self) -> None:
        with pika.BlockingConnection(self._parameters) as connection:
            channel = connection.channel()
            for method, properties, body in channel.consume(RESULTS, inactivity_timeout=RETRY_SECONDS):
                if self._ends.is_set():
                    return
                if method is not None:
                    said = _attachment_of(body)
                    self.told[said][properties.message_id].append(hashlib.sha256(body).hexdigest())
                    channel.basic_ack(method.delivery_tag)


def _attachment_of(body: bytes) -> int:
    """By its place, as parsing thousands of bodies would take what the platform is to have."""
    return int(body.split(b":", 1)[1].split(b",", 1)[0])


@dataclass
class Doors:
    ground: Ground
    broker: RabbitMQServer
    listener: Listener
    client: AmqpClient
    served: Path
    environ: dict[str, str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, number: int) -> None:
        """Have so many processes, again."""
        self.processes = [process for process in self.processes if process.poll() is None]
        while len(self.processes) < number:
            with (self.ground.whole.home / "logs" / "rabbitmq.log").open("ab") as log:
                command = [sys.executable, "-P", "-m", "rabbitmq"]
                options: dict[str, Any] = {"stderr": log, "preexec_fn": die_with_parent(signal.SIGKILL)}
                self.processes.append(subprocess.Popen(command, env=self.environ, cwd="/", **options))

    def kill(self, chance: random.Random) -> None:
        """One of them."""
        victim = chance.choice(self.processes)
        victim.kill()
        victim.wait()

    def kill_all(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()

    async def publish(self, said: dict[str, Any], *, times: int, message_id: str | None) -> None:
        """Until the broker has confirmed it so often."""
        for _ in range(times):
            while True:
                try:
                    await self.client.publish(said, message_id=message_id)
                    break
                except (AMQPError, OSError):
                    await asyncio.sleep(RETRY_SECONDS)

    def restart_broker(self, *, kill: bool) -> None:
        """From the main thread, as the kernel ends it with the thread that started it."""
        if kill:
            self.broker.kill()
        self.broker.restart()


@asynccontextmanager
async def doors(ground: Ground, broker: RabbitMQServer, number: int) -> AsyncIterator[Doors]:
    """So many processes of the door, from the copy of the code, beside the platform of `ground`."""
    served = ground.whole.home / "served"
    served.mkdir(exist_ok=True)
    (served / "a.wav").write_bytes(tone(0.1))
    environ = ground.whole.processes("api")[0].environ() | ENVIRON
    environ |= {"RABBITMQ_URL": broker.url, "AUDIO_FILE_ROOTS": str(served)}
    listener = Listener(broker.url)
    async with AmqpClient.connected(broker.url) as client:
        found = Doors(ground, broker, listener, client, served, environ)
        found.start(number)
        try:
            assert await so(lambda: _is_declared(client), within=60), "the door does not open"
            listener.start()
            yield found
        finally:
            found.kill_all()
            if listener.is_alive():
                listener.stop()


async def _is_declared(client: AmqpClient) -> bool:
    try:
        return await client.count(RESULTS) + await client.count(REQUESTS) >= 0
    except (AMQPError, OSError):
        return False
