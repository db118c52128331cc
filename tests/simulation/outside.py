"""The store, the doorbell and the announcements, in memory, behind the contracts of `storage` and `messaging`."""

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from uuid import UUID

from domain.errors import ObjectNotFound, StorageUnavailable
from domain.events import Event
from domain.lifecycle import JobState
from storage.contract import ListedObject, StoredObject
from tests.simulation.loop import PROCESS, Process

if TYPE_CHECKING:
    from tests.simulation.world import World

BEYOND_A_LEASE = (16.0, 24.0)
"""Seconds."""

HINT_SECONDS = 0.05
"""A worker polls so often."""


class Objects:
    """Implements `storage.contract.Store`. A put is whole or not at all; its answer may be lost."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.kept: dict[str, bytes] = {}

    async def _reach(self) -> None:
        await self._world.step()
        if self._world.storage.away or self._world.unlucky(self._world.climate.store_errors):
            self._world.disturbed()
            raise StorageUnavailable

    async def put(self, key: str, body: AsyncIterator[bytes]) -> StoredObject:
        content = b"".join([chunk async for chunk in body])
        await self._lie_in_wait(key)
        await self._reach()
        self.kept[key] = content
        await self._lie_in_wait(key)
        await self._reach()
        return StoredObject(key, len(content), hashlib.sha256(content).hexdigest())

    async def _lie_in_wait(self, key: str) -> None:
        if "/result/" in key and self._world.unlucky(self._world.climate.ambush):
            self._world.stop(PROCESS.get(), BEYOND_A_LEASE)
            await asyncio.sleep(0)

    async def size(self, key: str) -> int:
        await self._reach()
        return len(self._find(key))

    @asynccontextmanager
    async def open(self, key: str, *, start: int = 0, length: int | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        await self._reach()
        yield _chunk(self._find(key)[start : None if length is None else start + length])

    def _find(self, key: str) -> bytes:
        if key not in self.kept:
            raise ObjectNotFound
        return self.kept[key]

    async def link(self, key: str, *, seconds: int, content_type: str, filename: str) -> str:
        return f"/media/{key}"

    async def delete(self, key: str) -> None:
        await self._reach()
        self.kept.pop(key, None)

    async def list(self, prefix: str) -> AsyncIterator[ListedObject]:
        await self._reach()
        for key in [key for key in self.kept if key.startswith(prefix)]:
            yield ListedObject(key, len(self.kept.get(key, b"")), self._world.wall())

    async def delete_unfinished(self, older_than_seconds: float, *, prefix: str = "") -> int:
        return 0

    async def close(self) -> None: ...


async def _chunk(content: bytes) -> AsyncIterator[bytes]:
    yield content


class Rings:
    """Implements `messaging.contract.Queue`, with what arq does to a ring: it stays, marked, while a worker is at it.

    A worker that dies leaves its mark behind; a lost ring was answered with True all the same.
    """

    def __init__(self, world: "World") -> None:
        self._world = world
        self.waiting_rings: dict[tuple[UUID, int], None] = {}
        self.taken: set[tuple[UUID, int]] = set()
        self._listeners: deque[asyncio.Future[None]] = deque()

    async def ring(self, job_id: UUID, dispatch_no: int) -> bool:
        await self._world.step()
        if self._world.redis.away:
            return False
        self._forget((job_id, dispatch_no - 1))
        if not self._world.unlucky(self._world.climate.lost_hints):
            self.waiting_rings[job_id, dispatch_no] = None
            self.wake()
        return True

    def _forget(self, ring: tuple[UUID, int]) -> None:
        self.waiting_rings.pop(ring, None)
        self.taken.discard(ring)

    def flush(self) -> None:
        self.waiting_rings.clear()
        self.taken.clear()

    def wake(self) -> None:
        while self._listeners:
            listener = self._listeners.popleft()
            if not listener.done():
                listener.set_result(None)

    async def waiting(self, jobs: Iterable[tuple[UUID, int]]) -> set[UUID] | None:
        await self._world.step()
        if self._world.redis.away:
            return None
        return {ring[0] for ring in jobs if ring in self.waiting_rings and ring not in self.taken}

    async def take(self) -> tuple[UUID, int]:
        """The next ring that nobody is at; now and then two take the same."""
        while True:
            await self._world.redis.on.wait()
            free = [ring for ring in self.waiting_rings if ring not in self.taken]
            if not free:
                turn = asyncio.get_running_loop().create_future()
                self._listeners.append(turn)
                await turn
                await asyncio.sleep(self._world.rng.random() * HINT_SECONDS)
                continue
            if not self._world.unlucky(self._world.climate.lost_hints):
                self.taken.add(free[0])
            return free[0]

    def done(self, ring: tuple[UUID, int]) -> None:
        if not self._world.redis.away:
            self._forget(ring)

    async def close(self) -> None: ...


class Announcements:
    """Implements `messaging.contract.Events`: one subscription a process, on which anything may be lost."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._subscribed: dict[Process, asyncio.Queue[Event | None]] = {}

    async def publish(self, event: Event) -> None:
        self._check(event)
        if self._world.redis.away:
            return
        for process, told in self._subscribed.items():
            if process.alive and not self._world.unlucky(self._world.climate.lost_hints):
                told.put_nowait(event)

    def _check(self, event: Event) -> None:
        """What is announced as durable must be so by then."""
        row = self._world.database.job(event.job_id)
        if event.type == "state" and (row is None or event.seq is None or row.seq < event.seq):
            self._world.violate(f"event {event.seq} ({event.status}) was announced before it was committed")
        if event.type == "segment" and event.n is not None and row is not None and row.state != JobState.PURGED:
            kept = self._world.database.rows.get(("segments", row.id, event.fence), ())
            if event.n > len(kept):
                self._world.violate(f"segment {event.n} was announced before it was committed")

    async def latest(self, job_id: UUID) -> Event | None:
        return None

    async def listen(self) -> AsyncIterator[Event | None]:
        while True:
            await self._world.redis.on.wait()
            told = self._subscribed[PROCESS.get()] = asyncio.Queue()
            yield None
            while not self._world.redis.away:
                yield await told.get()

    def cut(self) -> None:
        """Redis has gone: every subscriber finds out."""
        for told in self._subscribed.values():
            told.put_nowait(None)

    async def forget(self, job_id: UUID) -> None:
        await self._world.step()

    async def close(self) -> None: ...
