"""Everything outside of the platform's own code, under one seed: processes, clocks, PostgreSQL, Redis, the store."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, TypeVar, cast
from uuid import UUID

from config.settings import Settings
from db.session import Sessions
from domain.capabilities import EngineReport
from domain.errors import DatabaseUnavailable
from services.platform import Platform
from tests.simulation import database
from tests.simulation.climate import Climate, Recording
from tests.simulation.database import Database, Transaction
from tests.simulation.database import Sessions as SimulatedSessions
from tests.simulation.loop import PROCESS, Loop, Process
from tests.simulation.outside import BEYOND_A_LEASE, Announcements, Objects, Rings

T = TypeVar("T")

BIRTH = datetime(2030, 1, 1, tzinfo=UTC)
ROUND_TRIP_SECONDS = 0.01
WITHIN_A_LEASE = (0.5, 4.0)
"""Seconds."""


class ConnectionLost(Exception):
    """The process at the other end has died."""


class Power:
    """Something that can be away: nobody gets through meanwhile."""

    def __init__(self) -> None:
        self.on = asyncio.Event()
        self.on.set()

    @property
    def away(self) -> bool:
        return not self.on.is_set()


class World:
    def __init__(self, seed: int, loop: Loop, settings: Settings) -> None:
        self.rng = Random(seed)
        self.loop = loop
        loop.world = self
        self.climate = Climate.draw(self.rng)
        self.slept = 0.0
        self.stormy = True
        self._disturbed = 0.0
        self.story: list[tuple[float, str, str, tuple[Any, ...]]] = []
        self.violations: list[str] = []
        self.over = asyncio.Event()
        self.postgres, self.hanging, self.redis, self.storage = Power(), Power(), Power(), Power()
        self.engine_away = False
        self.processes: dict[str, Process] = {}
        self.deaths: dict[str, str] = {}
        """What each process died of."""
        self.by_sha = {hashlib.sha256(each.content).hexdigest(): each for each in self.climate.recordings}
        self.failures = {each.number: each.failures for each in self.climate.recordings}
        self.hearing: list[tuple[Process, Recording]] = []
        """Which engine runs there are now, and for whom."""
        self.database = Database(self)
        self.database.rows["report",] = EngineReport(engine="scripted", available=True, detects_language=True)
        self.objects, self.rings, self.announcements = Objects(self), Rings(self), Announcements(self)
        sessions = cast("Sessions", SimulatedSessions(self.database))
        self.platform = Platform(settings, sessions, self.objects, self.rings, self.announcements)

    # Clocks and chronicle

    def wall(self) -> datetime:
        return BIRTH + timedelta(seconds=self.loop.now + self.slept)

    def tell(self, what: str, *about: Any) -> None:
        self.story.append((self.loop.now, PROCESS.get().name, what, about))

    def violate(self, what: str) -> None:
        self.tell("VIOLATION: %s", what)
        self.violations.append(what)
        self.over.set()

    def disturbed(self) -> None:
        self._disturbed = self.loop.now

    @property
    def calm_since(self) -> float:
        """When the last fault was over: now, while there is one."""
        powers = (self.postgres, self.hanging, self.redis, self.storage)
        stopped = any(process.frozen for process in self.processes.values() if process.alive)
        if stopped or self.engine_away or any(power.away for power in powers):
            self.disturbed()
        return self._disturbed

    def make_uuid(self) -> UUID:
        return UUID(int=self.rng.getrandbits(128))

    # Processes

    def start(self, name: str, kind: str) -> Process:
        process = self.loop.start_process(name, kind)
        self.processes[name] = process
        self.tell("%s starts", name)
        return process

    def kill(self, process: Process, why: str) -> None:
        if self.end(process, why):
            self.disturbed()

    def end(self, process: Process, why: str) -> bool:
        """Nothing of it goes on, and nobody is the worse for it. Whether it was still there."""
        alive = process.alive
        if alive:
            self.tell("%s dies: %s", process.name, why)
            self.deaths[process.name] = why
            self.hearing = [(at, recording) for at, recording in self.hearing if at is not process]
            self.database.hang_up(process)
            process.kill()
        return alive

    def stop(self, process: Process, between: tuple[float, float] | None = None) -> None:
        """SIGSTOP, and SIGCONT after a while: within a lease or beyond it, where nothing is said."""
        if process.alive and not process.frozen:
            seconds = self.rng.uniform(*between or self.rng.choice((WITHIN_A_LEASE, BEYOND_A_LEASE)))
            self.tell("%s is stopped for %.1f s", process.name, seconds)
            process.freeze()
            self.loop.spawn(self.loop.outside, self._go_on(process, seconds))

    async def _go_on(self, process: Process, seconds: float) -> None:
        patience = database.idle_seconds()
        if patience < seconds:
            await asyncio.sleep(patience)
            self.database.hang_up(process)
            seconds -= patience
        await asyncio.sleep(seconds)
        self.tell("%s goes on", process.name)
        process.thaw()
        self.disturbed()

    async def ask(self, process: Process, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Have another process do something, as over a connection. Raises ConnectionLost where it dies of it."""
        answer: asyncio.Future[T] = self.loop.create_future()
        if not process.alive:
            raise ConnectionLost
        task = self.loop.spawn(process, self._answer(work, answer))

        def hang_up() -> None:
            if not answer.done():
                answer.set_exception(ConnectionLost())

        process.at_death.append(hang_up)
        try:
            return await answer
        finally:
            process.at_death.remove(hang_up)
            if not task.done():
                task.cancel()

    async def _answer(self, work: Callable[[], Coroutine[Any, Any, T]], answer: "asyncio.Future[T]") -> None:
        try:
            result = await work()
        except Exception as error:
            if not answer.done():
                answer.set_exception(error)
            return
        if not answer.done():
            answer.set_result(result)

    # What may happen at every await

    async def step(self) -> None:
        chance = self.rng.random()
        if self.stormy and chance < self.climate.strike:
            await self._strike(PROCESS.get())
        elif chance > 0.85:
            await asyncio.sleep(self.rng.random() * ROUND_TRIP_SECONDS)
        else:
            await asyncio.sleep(0)

    async def _strike(self, process: Process) -> None:
        if process.kind == "world":
            return
        if self.rng.random() < 0.5:
            self.kill(process, "kill -9 at an await")
            await self.loop.create_future()  # for ever
        self.stop(process)
        await asyncio.sleep(0)

    def unlucky(self, chance: float) -> bool:
        return self.stormy and chance > 0 and self.rng.random() < chance

    async def statement(self, transaction: Transaction) -> None:
        await self.step()
        await self._reach_postgres(transaction)
        if self.unlucky(self.climate.errors):
            self.disturbed()
            transaction.roll_back()
            raise DatabaseUnavailable

    async def _reach_postgres(self, transaction: Transaction) -> None:
        if self.hanging.away:
            await self.hanging.on.wait()
        if self.postgres.away:
            transaction.roll_back()
            await asyncio.sleep(ROUND_TRIP_SECONDS)
            raise DatabaseUnavailable

    async def commit(self, transaction: Transaction, apply: Callable[[], None]) -> None:
        if not transaction.alone:
            await self.step()
            await self._reach_postgres(transaction)
        if transaction.broken:
            raise DatabaseUnavailable
        apply()
        if self.unlucky(self.climate.errors):
            self.disturbed()
            self.tell("the answer to a commit is lost")
            raise DatabaseUnavailable
        await self.step()

    # Weather

    @asynccontextmanager
    async def without(self, power: Power, seconds: float) -> AsyncIterator[None]:
        power.on.clear()
        try:
            yield
            await asyncio.sleep(seconds)
        finally:
            power.on.set()
            self.disturbed()
