"""PostgreSQL as far as the platform leans on it: transactions at READ COMMITTED, row locks, a now() that stands still.

A guarded UPDATE looks at what is committed; where the row fits it waits for the row's lock and looks again, as
PostgreSQL does. Every statement and every commit is an await at which anything may happen to whoever sent it.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from typing import Any, Protocol, cast
from uuid import UUID

from db.session import COMMAND_TIMEOUT_SECONDS, IDLE_SECONDS
from domain.errors import DatabaseUnavailable
from domain.events import Event
from tests.simulation.decide import decide
from tests.simulation.loop import PROCESS, Process
from tests.simulation.rows import JobRow

Key = tuple[Hashable, ...]


class Weather(Protocol):
    """What may happen on the way to the database, and what time it is there."""

    def wall(self) -> datetime: ...

    async def statement(self, transaction: "Transaction") -> None:
        """Returns when a statement has arrived. Raises DatabaseUnavailable where it will not."""
        ...

    async def commit(self, transaction: "Transaction", apply: Callable[[], None]) -> None:
        """Calls `apply` when the commit has arrived, and returns when its answer has. Raises DatabaseUnavailable."""
        ...


Observer = Callable[["Transaction", list[str], JobRow | None, JobRow], None]
"""Called at a commit with the moves made of a row, the row before and the row after."""


def idle_seconds() -> float:
    """How long a transaction may stand still before the server ends it, as `db.session` tells it to."""
    return float(IDLE_SECONDS)


class Lock:
    def __init__(self, holder: "Transaction") -> None:
        self.holder = holder
        self.waiting: deque[tuple[Transaction, asyncio.Future[None]]] = deque()


class Database:
    def __init__(self, weather: Weather) -> None:
        self.weather = weather
        self.rows: dict[Key, Any] = {}
        self.job_ids: list[UUID] = []
        self.locks: dict[Key, Lock] = {}
        self.open: set[Transaction] = set()
        self.observers: list[Observer] = []

    def job(self, job_id: UUID) -> JobRow | None:
        """As it is committed."""
        return cast("JobRow | None", self.rows.get(("job", job_id)))

    def jobs(self) -> list[JobRow]:
        return [self.rows["job", job_id] for job_id in self.job_ids]

    def events(self, job_id: UUID) -> tuple[Event, ...]:
        return cast("tuple[Event, ...]", self.rows.get(("events", job_id), ()))

    def hang_up(self, process: Process | None = None) -> None:
        """End the connections of one process, or all: what was open is rolled back."""
        for transaction in sorted(self.open, key=lambda each: each.number):
            if process is None or transaction.process is process:
                transaction.roll_back()


class Transaction:
    """Stands where services have an AsyncSession; only the simulated queries look inside."""

    _made = 0

    def __init__(self, database: Database, *, alone: bool) -> None:
        Transaction._made += 1
        self.number = Transaction._made
        self.database, self.alone = database, alone
        self.process = PROCESS.get(None)
        self.now: datetime | None = None
        self.broken = False
        self.waits_for: Lock | None = None
        self._writes: dict[Key, Any] = {}
        self._moves: dict[UUID, list[str]] = {}
        self._held: list[Key] = []
        self._new_jobs: list[UUID] = []
        database.open.add(self)

    async def statement(self) -> datetime:
        """Send a statement; answers what now() is to it."""
        if self.broken:
            raise DatabaseUnavailable
        await self.database.weather.statement(self)
        if self.broken:
            raise DatabaseUnavailable
        if self.now is None:
            self.now = self.database.weather.wall()
        return self.now

    def get(self, *key: Hashable) -> Any:
        return self._writes[key] if key in self._writes else self.database.rows.get(key)

    def put(self, value: Any, *key: Hashable) -> None:
        self._writes[key] = value

    def add_job(self, row: JobRow) -> None:
        self._new_jobs.append(row.id)
        self.put(row, "job", row.id)
        self._moves[row.id] = ["insert"]

    def job(self, job_id: UUID) -> JobRow | None:
        return cast("JobRow | None", self.get("job", job_id))

    def jobs(self) -> list[JobRow]:
        return [self.get("job", job_id) for job_id in self.database.job_ids]

    async def move(self, job_id: UUID, name: str, **given: Any) -> JobRow | None:
        """One guarded UPDATE of one job, with the durable event that it makes."""
        now = await self.statement()
        return await self.move_at(now, job_id, name, **given)

    async def move_at(self, now: datetime, job_id: UUID, name: str, **given: Any) -> JobRow | None:
        """The same within a statement that has begun."""
        row = self.job(job_id)
        decided = None if row is None else decide(row, name, now, **given)
        if decided is None:
            return None
        if await self.lock("job", job_id):
            row = self.job(job_id)
            decided = None if row is None else decide(row, name, now, **given)
            if decided is None:
                return None
        after, event = decided
        self.put(after, "job", job_id)
        if event is not None:
            self.put((*(self.get("events", job_id) or ()), event), "events", job_id)
        self._moves.setdefault(job_id, []).append(name)
        return after

    def is_free(self, *key: Hashable) -> bool:
        lock = self.database.locks.get(key)
        return lock is None or lock.holder is self

    async def lock(self, *key: Hashable) -> bool:
        """Hold a row until the end; answers whether that took a wait."""
        lock = self.database.locks.get(key)
        if lock is None:
            self.database.locks[key] = Lock(self)
            self._held.append(key)
            return False
        if lock.holder is self:
            return False
        self._refuse_deadlock(lock)
        turn = asyncio.get_running_loop().create_future()
        lock.waiting.append((self, turn))
        self.waits_for = lock
        try:
            async with asyncio.timeout(COMMAND_TIMEOUT_SECONDS):
                await turn
        except TimeoutError as error:
            raise DatabaseUnavailable from error
        finally:
            self.waits_for = None
        if self.broken:
            raise DatabaseUnavailable
        return True

    def _refuse_deadlock(self, lock: Lock) -> None:
        behind: Lock | None = lock
        while behind is not None:
            if behind.holder is self:
                raise RuntimeError("deadlock detected")
            behind = behind.holder.waits_for

    async def commit(self) -> None:
        if self.broken:
            raise DatabaseUnavailable
        if self._writes:
            await self.database.weather.commit(self, self._apply)
        else:
            self.roll_back()

    def _apply(self) -> None:
        if self.broken:
            return
        before = {job_id: self.database.job(job_id) for job_id in self._moves}
        for key, value in self._writes.items():
            if value is None:
                self.database.rows.pop(key, None)
            else:
                self.database.rows[key] = value
        self.database.job_ids.extend(self._new_jobs)
        self.roll_back()
        for job_id, names in self._moves.items():
            after = self.database.job(job_id)
            assert after is not None
            for observer in self.database.observers:
                observer(self, names, before[job_id], after)

    def roll_back(self) -> None:
        """Nothing more can be done with it, and its locks are others'."""
        self.broken = True
        self.database.open.discard(self)
        held, self._held = self._held, []
        for key in held:
            self._pass_on(key)

    def _pass_on(self, key: Key) -> None:
        lock = self.database.locks[key]
        while lock.waiting:
            transaction, turn = lock.waiting.popleft()
            if transaction.broken or turn.done():
                continue
            lock.holder, transaction.waits_for = transaction, None
            transaction._held.append(key)
            turn.set_result(None)
            return
        del self.database.locks[key]


class Sessions:
    """Stands in for `db.session.Sessions`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, *, owner: str | None = None) -> AbstractAsyncContextManager[Transaction]:
        return self._transaction(alone=False)

    def alone(self, *, owner: str | None = None) -> AbstractAsyncContextManager[Transaction]:
        return self._transaction(alone=True)

    def directly(self, *, owner: str | None = None) -> AbstractAsyncContextManager[Transaction]:
        return self._transaction(alone=True)

    @asynccontextmanager
    async def _transaction(self, *, alone: bool) -> AsyncIterator[Transaction]:
        transaction = Transaction(self._database, alone=alone)
        try:
            yield transaction
            await transaction.commit()
        finally:
            if not transaction.broken:
                transaction.roll_back()

    async def close(self) -> None: ...
