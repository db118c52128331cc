"""Engines that fail in every way that one can, for campaigns against whole processes (`tests.chaos`).

Installed where this folder is on PYTHONPATH, as the dist-info says. What each does is steered by the engine's own
options of a job; `gated` waits for word from the Unix socket CHAOS_GATES, so that a campaign chooses the moment.
"""

import asyncio
import json
import os
import random
import resource
import signal
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from itertools import repeat
from pathlib import Path
from time import perf_counter
from typing import Any, Self

from config.settings import EngineSettings, Settings
from domain.capabilities import TRANSCRIBE_STAGE, EngineReport
from domain.errors import EngineFailed
from domain.events import Event
from domain.transcript import Heard, Progress, Segment
from engines.contract import Engine, Hearing
from engines.server.contract import OnDownload
from messaging.redis_events import RedisEvents

OPTIONS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "seconds": {"type": "number"},
        "parts": {"type": "integer", "minimum": 1},
        "gate": {"type": "string"},
    },
    "additionalProperties": False,
}

SPARE_BYTES = 64 << 20
"""What `hungry` leaves its process of memory before it eats."""

Course = Callable[[Hearing], AsyncGenerator[Heard]]


class ChaosEngine:
    def __init__(self, name: str, course: Course) -> None:
        self.name, self._course = name, course

    async def report(self) -> EngineReport:
        return EngineReport(engine=self.name, available=True, detects_language=True, options=OPTIONS)

    def transcribe(self, audio: Path, hearing: Hearing) -> AsyncGenerator[Heard]:
        return self._course(hearing)


async def steady(hearing: Hearing) -> AsyncGenerator[Heard]:
    """So many parts over so many seconds; each says which process heard it."""
    parts = hearing.options.get("parts", 3)
    for n in range(parts):
        await asyncio.sleep(hearing.options.get("seconds", 0.1) / parts)
        yield _part(hearing, n, parts)


async def gated(hearing: Hearing) -> AsyncGenerator[Heard]:
    """Says all, then waits for word how to end; whoever holds the gate sees the connection go with the work."""
    yield _part(hearing, 0, 1)
    reader, writer = await asyncio.open_unix_connection(os.environ["CHAOS_GATES"])
    try:
        writer.write(json.dumps({"gate": hearing.options["gate"], "pid": os.getpid()}).encode() + b"\n")
        word = await reader.readline()
    finally:
        writer.close()
    if word != b"go\n":
        raise EngineFailed("the gate was shut", retryable=True)


async def flaky(hearing: Hearing) -> AsyncGenerator[Heard]:
    """Fails every other time, and may do better the next."""
    if random.random() < 0.5:
        raise EngineFailed("it was one of those days", retryable=True)
    yield _part(hearing, 0, 1)


async def failing(hearing: Hearing) -> AsyncGenerator[Heard]:
    raise EngineFailed("this is never heard", retryable=False)
    yield _part(hearing, 0, 1)


async def poisonous(hearing: Hearing) -> AsyncGenerator[Heard]:
    """Kills its process."""
    yield _part(hearing, 0, 1)
    await asyncio.sleep(hearing.options.get("seconds", 0.1))
    os.kill(os.getpid(), signal.SIGKILL)


async def hungry(hearing: Hearing) -> AsyncGenerator[Heard]:
    """Eats memory up to a limit of its own, and ends as a C++ library does that gets no more."""
    yield _part(hearing, 0, 1)
    await asyncio.sleep(hearing.options.get("seconds", 0.1))
    used_pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = used_pages * resource.getpagesize() + SPARE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    eaten = []
    try:
        while True:
            eaten.append(bytes(1 << 20))
    except MemoryError:
        os.abort()


def _part(hearing: Hearing, n: int, parts: int) -> Segment:
    length = hearing.audio_seconds / parts
    return Segment(start=n * length, end=(n + 1) * length, text=f"{os.getpid()}")


COURSES = (steady, gated, flaky, failing, poisonous, hungry)


class ChaosEngines:
    def __init__(self, _: Settings) -> None:
        self._engines = [ChaosEngine(course.__name__, course) for course in COURSES]
        if switches := os.environ.get("CHAOS_SWITCHES"):
            lose_announcements(Path(switches) / "lost-announcements")

    async def engines(self) -> Sequence[Engine]:
        return self._engines

    async def close(self) -> None: ...


def lose_announcements(switch: Path) -> None:
    """Lose the share that the file says of what this process announces, while it is there, as a network may."""
    send: Callable[[RedisEvents, list[Event]], Awaitable[None]] = RedisEvents._send

    async def send_some(events: RedisEvents, batch: list[Event]) -> None:
        share = float(switch.read_text() or 0) if switch.exists() else 0.0
        await send(events, [event for event in batch if random.random() >= share])

    RedisEvents._send = send_some  # type: ignore[method-assign, assignment]  # no place for the fault in product code


class Spinning:
    """A model that computes in C for so many seconds, lets no other thread run and hears no signal."""

    def __init__(self, turns_per_second: float) -> None:
        self._turns_per_second = turns_per_second

    @classmethod
    def report(cls, _settings: EngineSettings, /) -> EngineReport:
        return EngineReport(engine="spinning", available=True, detects_language=True, options=OPTIONS)

    @classmethod
    def load(cls, _settings: EngineSettings, _model: str | None, _on_download: OnDownload, /) -> Self:
        began = perf_counter()
        _spin(1_000_000)
        return cls(1_000_000 / (perf_counter() - began))

    def transcribe(self, audio: Path, hearing: Hearing) -> Iterator[Heard]:
        yield Progress(stage=TRANSCRIBE_STAGE, done=0, total=hearing.audio_seconds)
        _spin(round(self._turns_per_second * hearing.options.get("seconds", 1.0)))
        yield _part(hearing, 0, 1)


def _spin(turns: int) -> None:
    deque(repeat(None, turns), maxlen=0)
