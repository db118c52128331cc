"""The processes of the platform, with the platform's own code in them: workers with their sweepers, doors with a hub.

What is not the platform's own is stood in for here: arq's polling, the decoder, the engine, the child of a quarantine.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from unittest.mock import patch
from uuid import UUID

from config.settings import MediaSettings
from domain.capabilities import EngineReport
from domain.errors import EngineFailed, NoAudio
from domain.lifecycle import JobOptions
from domain.transcript import Detected, Heard, Notice, Progress, Segment
from engines.contract import Engine, Hearing
from engines.registry import Registry
from media.decode import Decoded
from services import attempts, following, submission, upkeep
from services.platform import Platform
from tests.simulation.climate import Kind, Recording
from tests.simulation.loop import PROCESS, Loop, Process
from tests.simulation.outside import Rings
from tests.simulation.queries import installed
from tests.simulation.world import World
from tests.support.cells import Unused
from workers import attendance, main, pipeline, recorder, schedule
from workers.cells import Cells
from workers.hearing import Recording as Prepared
from workers.process import AtWork
from workers.quarantine import AT_ONCE
from workers.stages import quality

RESTART_SECONDS = 1.0
"""What the supervisor takes to start another in the place of a process that died."""


def here() -> World:
    return cast("World", cast("Loop", asyncio.get_running_loop()).world)


class WordByWord:
    """An engine and its source: says the words of a recording, one segment each, as fast as the recording says."""

    name = "scripted"

    async def engines(self) -> Sequence[Engine]:
        return [cast("Engine", self)]

    async def report(self) -> EngineReport:
        world = here()
        report = cast("EngineReport", world.database.rows["report",])
        return report.away("it is switched off") if world.engine_away else report

    async def transcribe(self, audio: Path, _: Hearing) -> AsyncIterator[Heard]:
        world, recording = here(), recording_of(audio)
        run = (PROCESS.get(), recording)
        world.hearing.append(run)
        try:
            async for heard in _say(world, recording):
                yield heard
        finally:
            if run in world.hearing:
                world.hearing.remove(run)

    async def close(self) -> None: ...


async def _say(world: World, recording: Recording) -> AsyncIterator[Heard]:
    yield Detected(language="en")
    yield Notice(code="heard_by", message=PROCESS.get().name)  # no two attempts have the same bytes
    for n in range(recording.words):
        await asyncio.sleep(recording.pace)
        if world.engine_away or (n == recording.words // 2 and world.failures[recording.number] > 0):
            world.failures[recording.number] -= 1
            raise EngineFailed("it stumbled", retryable=True)
        yield Segment(start=n, end=n + 1, text=f"w{n}")
        yield Progress(stage="transcribe", done=n + 1, total=recording.seconds)
    if recording.kind == Kind.STUCK:
        await asyncio.Event().wait()


def recording_of(file: Path) -> Recording:
    number = int(file.read_bytes().removeprefix(b"recording "))
    return here().climate.recordings[number]


async def prepare(folder: Path, _settings: MediaSettings, _options: JobOptions) -> Prepared:
    """In place of ffmpeg."""
    world, recording = here(), recording_of(folder / "source")
    await world.step()
    if recording.kind == Kind.BAD:
        raise NoAudio("there is no sound in it")
    if recording.kind == Kind.POISON:
        await asyncio.sleep(recording.pace)
        world.kill(PROCESS.get(), f"poison {recording.number}")
        await asyncio.get_running_loop().create_future()  # for ever
    mixed = folder / "audio.wav"
    (folder / "source").rename(mixed)
    return Prepared(Decoded(recording.seconds, "audio/wav", "pcm_s16le", 16_000, 1), mixed, (mixed,))


class Silent:
    """In place of `workers.schedule.Reporter`: the engine's report is in the database since the world began."""

    def __init__(self, _platform: Platform, _registry: Registry, *, worker: str) -> None:
        self.told = asyncio.Event()
        self.told.set()

    async def run(self) -> None: ...

    async def withdraw(self) -> None: ...


class Unasked:
    """In place of `workers.relay.Relay`: nobody in this world has a webhook."""

    def __init__(self, _platform: Platform, _transport: object) -> None: ...

    async def run(self) -> None: ...

    async def drain(self, _grace_seconds: float) -> None: ...


class Cell:
    """In place of `workers.quarantine.Quarantine`: another process, which ends when this one does."""

    def __init__(self, platform: Platform, _cells: Cells) -> None:
        self._platform = platform
        self._free = asyncio.Semaphore(AT_ONCE)

    @property
    def is_full(self) -> bool:
        return self._free.locked()

    async def attempt(self, job_id: UUID) -> pipeline.Tried:
        world = here()
        if self._free.locked():
            await attempts.postpone(self._platform, job_id, reason="waiting to be tried alone")
            return pipeline.Tried.NOT_HAD
        async with self._free:
            child = world.start(f"{PROCESS.get().name}/alone-{len(world.processes)}", "alone")
            ended = asyncio.Event()
            work = pipeline.run_attempt(world.platform, registry(), job_id, worker=child.name)
            task = world.loop.spawn(child, work)
            task.add_done_callback(lambda _: ended.set())
            child.at_death.append(ended.set)
            PROCESS.get().at_death.append(lambda: _cancel(task))  # its line ends
            try:
                await ended.wait()
            finally:
                task.cancel()
                await ended.wait()
                world.end(child, "its work is done")
        told = task.done() and not task.cancelled() and task.exception() is None  # else its process died
        return task.result() if told else pipeline.Tried.BEGUN


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()


def registry() -> Registry:
    return Registry({"scripted": WordByWord()})


async def listen(platform: Platform, attending: attendance.Attendance, stop: asyncio.Event) -> None:
    """In place of arq: a ring is marked while somebody is at it, and taken away once they are done."""
    rings = cast("Rings", platform.queue)
    slots = asyncio.Semaphore(platform.settings.workers.max_concurrent_jobs)
    running: set[asyncio.Task[None]] = set()
    while not stop.is_set():
        await slots.acquire()
        ring = await rings.take()
        if stop.is_set():
            return
        task = asyncio.create_task(_attend(rings, attending, ring, slots))
        running.add(task)
        task.add_done_callback(running.discard)


async def _attend(
    rings: Rings, attending: attendance.Attendance, ring: tuple[UUID, int], slots: asyncio.Semaphore
) -> None:
    try:
        await attending.attend(ring[0])
        rings.done(ring)
    finally:
        slots.release()


class Worker:
    """A worker, and those that the supervisor starts in its place."""

    def __init__(self, world: World, name: str) -> None:
        self._world, self._name, self._lives = world, name, 0
        self._start()

    def _start(self) -> None:
        self._lives += 1
        self.stop = asyncio.Event()
        self.process = self._world.start(f"{self._name}.{self._lives}", "worker")
        self.process.at_death.append(self._restart)
        self._world.loop.spawn(self.process, self._run(self.process))

    def _restart(self) -> None:
        self._world.loop.spawn(self._world.loop.outside, self._start_again())

    async def _start_again(self) -> None:
        await asyncio.sleep(RESTART_SECONDS)
        self._start()

    async def _run(self, process: Process) -> None:
        await main._serve(AtWork(process.name, self._world.platform, registry()), Unused(), self.stop, None)
        # What could not be given back, as PostgreSQL is away, is taken for lost once its lease has run out.
        away = self._world.postgres.away or self._world.hanging.away
        self._world.kill(process, "drained, with no database to say so to" if away else "drained")


class Door:
    """A process of the API."""

    def __init__(self, world: World, name: str) -> None:
        self._world, self._name, self._lives = world, name, 0
        self._start()

    def _start(self) -> None:
        self._lives += 1
        self.process = self._world.start(f"{self._name}.{self._lives}", "door")
        self.process.at_death.append(self._restart)
        self.hub = following.Hub(self._world.platform)
        self._world.loop.spawn(self.process, self._open(self.hub))

    async def _open(self, hub: following.Hub) -> None:
        hub.start()

    def _restart(self) -> None:
        self._world.loop.spawn(self._world.loop.outside, self._start_again())

    async def _start_again(self) -> None:
        await asyncio.sleep(RESTART_SECONDS)
        self._start()


def _clock(_: object = None) -> float:
    return asyncio.get_running_loop().time()


def _boot_clock(_: int) -> float:
    return _clock() + here().slept


@contextmanager
def stand_ins() -> Iterator[None]:
    """Everything that the platform's code is given in place of the real thing."""
    spread = SimpleNamespace(uniform=lambda low, high: here().rng.uniform(low, high))
    with ExitStack() as stack:
        stack.enter_context(installed())
        for module, values in (
            (main, {"_listen": listen, "Relay": Unasked, "WebhookSender": lambda _settings: None}),
            # What is tidied once an hour is not simulated; a world in which a job hangs would come to it.
            (schedule, {"Reporter": Silent, "monotonic": _clock, "ORPHANS_SECONDS": inf}),
            (attendance, {"Quarantine": Cell}),
            (pipeline, {"prepare": prepare}),
            (quality, {"flags": lambda _segments, _audio: ()}),
            (recorder, {"monotonic": _clock}),
            (upkeep, {"clock_gettime": _boot_clock}),
            (attempts, {"random": spread}),
            (submission, {"uuid4": lambda: here().make_uuid()}),
        ):
            stack.enter_context(patch.multiple(module, **values))
        yield
