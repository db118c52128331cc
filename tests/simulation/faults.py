"""What the operator, the hardware and the sky do to a world while its storm lasts."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from tests.simulation.climate import Fault
from tests.simulation.works import Door, Worker
from tests.simulation.world import World

OUTAGES_SECONDS = (1.0, 4.0, 9.0, 22.0)
NIGHTS_SECONDS = (8.0, 30.0, 600.0)


class Storm:
    def __init__(self, world: World, workers: list[Worker], doors: list[Door]) -> None:
        self._world, self._workers, self._doors = world, workers, doors

    async def blow(self) -> None:
        """Until the storm is over; then nothing is broken any more, but what sleeps or is stopped still wakes."""
        climate, rng = self._world.climate, self._world.rng
        end = self._world.loop.now + climate.storm
        strokes: list[asyncio.Task[None]] = []
        while climate.kinds:
            await asyncio.sleep(min(rng.expovariate(1 / climate.every), 10.0))
            if self._world.loop.now > end:
                break
            fault = rng.choice(climate.kinds)
            self._world.tell("%s", fault)
            self._world.disturbed()
            strokes.append(asyncio.create_task(self._strokes()[fault]()))
        if not climate.kinds:
            await asyncio.sleep(climate.storm)
        await asyncio.gather(*strokes)
        self._world.stormy = False
        self._world.disturbed()
        self._world.tell("the storm is over")

    def _strokes(self) -> dict[Fault, Callable[[], Coroutine[Any, Any, None]]]:
        world = self._world
        return {
            Fault.KILL_WORKER: self._kill_worker,
            Fault.KILL_DOOR: self._kill_door,
            Fault.STOP_WORKER: self._stop_worker,
            Fault.STOP_DOOR: self._stop_door,
            Fault.DRAIN: self._drain,
            Fault.POSTGRES_GONE: self._restart_postgres,
            Fault.POSTGRES_HANGS: lambda: self._without(world.hanging),
            Fault.REDIS_GONE: self._lose_redis,
            Fault.REDIS_FLUSHED: self._flush,
            Fault.STORE_GONE: lambda: self._without(world.storage),
            Fault.ENGINE_GONE: self._switch_engine_off,
            Fault.SLEEP: self._sleep,
        }

    async def _kill_worker(self) -> None:
        self._world.kill(self._world.rng.choice(self._workers).process, "kill -9")

    async def _kill_door(self) -> None:
        self._world.kill(self._world.rng.choice(self._doors).process, "kill -9")

    async def _stop_worker(self) -> None:
        self._world.stop(self._world.rng.choice(self._workers).process)

    async def _stop_door(self) -> None:
        self._world.stop(self._world.rng.choice(self._doors).process)

    async def _drain(self) -> None:
        self._world.rng.choice(self._workers).stop.set()

    async def _without(self, power: Any) -> None:
        async with self._world.without(power, self._world.rng.choice(OUTAGES_SECONDS)):
            pass

    async def _restart_postgres(self) -> None:
        async with self._world.without(self._world.postgres, self._world.rng.choice(OUTAGES_SECONDS)):
            self._world.database.hang_up()

    async def _lose_redis(self) -> None:
        async with self._world.without(self._world.redis, self._world.rng.choice(OUTAGES_SECONDS)):
            self._world.announcements.cut()

    async def _flush(self) -> None:
        self._world.rings.flush()

    async def _switch_engine_off(self) -> None:
        self._world.engine_away = True
        await asyncio.sleep(self._world.rng.choice(OUTAGES_SECONDS))
        self._world.engine_away = False
        self._world.disturbed()

    async def _sleep(self) -> None:
        self._world.slept += self._world.rng.choice(NIGHTS_SECONDS)
