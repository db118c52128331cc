"""One seed from its first second to its last."""

import asyncio
import gc
import logging
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any
from zlib import crc32

from config.load import load_settings
from config.settings import Settings
from domain.errors import EscribaError
from tests.simulation.clients import Client
from tests.simulation.faults import Storm
from tests.simulation.loop import PROCESS, Loop
from tests.simulation.patches import Patch
from tests.simulation.watch import LAST_SECONDS, Watch
from tests.simulation.works import Door, Worker, stand_ins
from tests.simulation.world import World

WORKERS, DOORS = 3, 2
TAIL_SECONDS = 2.0
"""How long a world in which all is said is still watched."""

ENVIRON = {
    "DATABASE_URL": "postgresql://simulated/simulated",
    "REDIS_URL": "redis://simulated",
    "LINK_SECRET": "a-secret-for-tests-only-a-secret-for-tests",
    "DEFAULT_TRANSCRIPTION_ENGINE": "scripted",
    "JOB_DEADLINE_FLOOR_SEC": "60",
    "JOB_DEADLINE_PER_AUDIO_SEC": "1",
    "MAX_CONCURRENT_JOBS": "2",
    "WORKER_GRACE_SEC": "2",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    seed: int
    violations: tuple[str, ...]
    digest: int
    """Of the whole story: two runs of a seed tell the same."""
    seconds: float
    """Of the world's own time."""
    story: tuple[str, ...]
    """Only of a seed that was asked to tell, or that was violated."""


@contextmanager
def simulating(*patches: Patch) -> Iterator[Settings]:
    """The platform's code, changed by `patches`, with all that stands in around it, for any number of seeds."""
    gc.collect()  # tasks that others have left behind complain now, and not in the middle of a story
    root = logging.getLogger()
    kept = root.handlers[:], root.level
    root.handlers, root.level = [Chronicler()], logging.WARNING
    try:
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            stack.enter_context(stand_ins())
            for patch in patches:
                stack.enter_context(patch.applied())
            paths = {name: str(Path(folder, name)) for name in ("STORAGE_DIR", "MODELS_DIR", "ESCRIBA_HOME")}
            yield load_settings({**ENVIRON, **paths, "TMP_DIR": folder})
    finally:
        root.handlers[:], root.level = kept


class Chronicler(logging.Handler):
    """Log lines belong to the story; an exception that nobody foresaw is a violation."""

    def emit(self, record: logging.LogRecord) -> None:
        loop = asyncio._get_running_loop()
        if not isinstance(loop, Loop):
            return
        world: World = loop.world
        world.tell("log: %s", record.getMessage())
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not isinstance(error, EscribaError) and "deadlock detected" not in str(error):
            world.violate(f"an exception that nobody foresaw: {error!r}")


def simulate(seed: int, settings: Settings, *, tell: bool = False) -> Outcome:
    loop = Loop(Random(~seed))
    world = World(seed, loop, settings)
    PROCESS.set(loop.outside)
    try:
        loop.run_until_complete(_live(world))
    finally:
        loop.end()
    digest = crc32(repr(world.story).encode())
    told = tell or bool(world.violations)
    story = tuple(_line(*entry) for entry in world.story) if told else ()
    return Outcome(seed, tuple(world.violations), digest, loop.now, story)


def _line(at: float, process: str, what: str, about: tuple[Any, ...]) -> str:
    return f"{at:9.3f}  {process:20} {what % about if about else what}"


async def _live(world: World) -> None:
    workers = [Worker(world, f"worker-{n}") for n in range(WORKERS)]
    doors = [Door(world, f"door-{n}") for n in range(DOORS)]
    clients = [Client(world, doors, recording) for recording in world.climate.recordings]
    watch = Watch(world, clients)
    tasks = [asyncio.create_task(client.live()) for client in clients]
    tasks += [asyncio.create_task(Storm(world, workers, doors).blow()), asyncio.create_task(watch.look())]
    tasks += [asyncio.create_task(_end_all(world, watch))]
    await world.over.wait()
    for task in tasks:
        if task.done() and not task.cancelled() and task.exception() is not None:
            raise task.exception()  # type: ignore[misc]  # just seen


async def _end_all(world: World, watch: Watch) -> None:
    while not watch.is_settled():
        await asyncio.sleep(0.5)
        if not world.stormy and world.loop.now - world.calm_since > LAST_SECONDS:
            watch.judge_unsettled()
            return
    await asyncio.sleep(TAIL_SECONDS)
    watch.judge_end()
    world.over.set()
