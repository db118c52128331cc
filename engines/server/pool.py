"""Which models are in memory, and whose turn it is.

One child per model, one job at a time in each. Jobs wait in one line for all models, first come, first served: a job
starts as soon as its model is free, or as soon as there is room to load it; the model unused for longest makes room.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import SecretStr

from config.settings import EngineSettings, LogSettings
from domain.capabilities import LoadedModel
from domain.transcript import Progress
from engines.contract import Hearing
from engines.server.orders import Setup
from engines.server.process import ModelProcess, Tell
from engines.wire import PULSE_SECONDS, Done, Queued, Started, Working

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelKey:
    engine: str
    model: str | None


@dataclass(eq=False, slots=True)
class _Slot:
    """A place in memory for one model; `busy` from the moment that a job may use it until the child has settled."""

    key: ModelKey
    process: ModelProcess | None = None
    evicted: ModelProcess | None = None
    busy: bool = True
    used_at: float = 0.0
    unloads_at: datetime | None = None
    retirement: asyncio.TimerHandle | None = None


@dataclass(eq=False, slots=True)
class _Ticket:
    """A place in the line."""

    key: ModelKey
    turn: asyncio.Future[_Slot] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Pool:
    def __init__(self, settings: EngineSettings, log: LogSettings) -> None:
        self._settings = settings
        self._log = log
        self._waiting: list[_Ticket] = []
        self._slots: dict[ModelKey, _Slot] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loads: Counter[ModelKey] = Counter()

    async def hear(self, key: ModelKey, audio: str, hearing: Hearing, tell: Tell) -> None:
        """Hear one file with the model `key`, and `tell` all that happens, from Queued to Done.

        Cancelling ends the job, wherever it is, and leaves the other jobs alone.

        Raises:
            EngineFailed: what the model says, EngineCrashed where its child is gone.
        """
        slot = await self._take_turn(key, tell)
        try:
            await tell(Working())  # the wait is over: from here on, silence is the engine's
            process = await self._ready_process(slot, tell)
            await tell(Started())
            await process.hear(audio, hearing, tell)
        except BaseException:
            self._start(self._settle(slot))
            raise
        self._release(slot)
        await tell(Done())

    def loads(self, engine: str) -> int:
        """How often a child has been started for one of `engine`'s models."""
        return sum(count for key, count in self._loads.items() if key.engine == engine)

    def load(self, engine: str) -> int:
        """Jobs of `engine` in hand or in line; one that was dropped counts until its model can take the next."""
        keys = [ticket.key for ticket in self._waiting] + [slot.key for slot in self._slots.values() if slot.busy]
        return sum(key.engine == engine for key in keys)

    def loaded(self, engine: str) -> list[LoadedModel]:
        """The models of `engine` that are in memory."""
        return [
            LoadedModel(
                model=slot.key.model,
                busy=slot.busy,
                resident_bytes=slot.process.resident_bytes(),
                unloads_at=None if slot.busy else slot.unloads_at,
                pid=slot.process.pid,
            )
            for slot in self._slots.values()
            if slot.key.engine == engine and slot.process is not None and slot.process.ready
        ]

    def downloading(self, key: ModelKey) -> Progress | None:
        slot = self._slots.get(key)
        return slot.process.download if slot and slot.process and slot.process.alive else None

    async def close(self) -> None:
        """End all children."""
        for task in self._tasks:
            task.cancel()
        for slot in self._slots.values():
            if slot.retirement is not None:
                slot.retirement.cancel()
        ending = [process for slot in self._slots.values() for process in (slot.process, slot.evicted) if process]
        await asyncio.gather(*self._tasks, *(process.end() for process in ending), return_exceptions=True)

    async def _take_turn(self, key: ModelKey, tell: Tell) -> _Slot:
        ticket = _Ticket(key)
        self._waiting.append(ticket)
        self._give_turns()
        try:
            while not ticket.turn.done():
                await tell(Queued(ahead=self._ahead(ticket)))
                await asyncio.wait({ticket.turn}, timeout=PULSE_SECONDS)
        except BaseException:
            self._leave_line(ticket)
            raise
        return ticket.turn.result()

    def _leave_line(self, ticket: _Ticket) -> None:
        if ticket.turn.done():
            self._start(self._settle(ticket.turn.result()))
        else:
            self._waiting.remove(ticket)

    def _ahead(self, ticket: _Ticket) -> int:
        """Jobs for the same model that come first; at least 1, as else another model's is what there is to wait for."""
        earlier = self._waiting[: self._waiting.index(ticket)]
        return max(1, sum(other.key == ticket.key for other in earlier) + (ticket.key in self._slots))

    def _give_turns(self) -> None:
        for ticket in list(self._waiting):
            slot = self._free_slot(ticket.key)
            if slot is not None:
                self._waiting.remove(ticket)
                ticket.turn.set_result(slot)

    def _free_slot(self, key: ModelKey) -> _Slot | None:
        """The slot for `key`, marked as busy, if it can be had now."""
        slot = self._slots.get(key)
        if slot is None:
            if len(self._slots) < self._settings.max_loaded_models:
                slot = self._slots[key] = _Slot(key)
                return slot
            idle = [slot for slot in self._slots.values() if not slot.busy]
            if not idle:
                return None
            slot = self._slots[key] = _Slot(key, evicted=self._drop(min(idle, key=lambda idle: idle.used_at)))
            return slot
        if slot.busy:
            return None
        slot.busy = True
        if slot.retirement is not None:
            slot.retirement.cancel()
        return slot

    def _drop(self, slot: _Slot) -> ModelProcess | None:
        if slot.retirement is not None:
            slot.retirement.cancel()
        del self._slots[slot.key]
        return slot.process

    async def _ready_process(self, slot: _Slot, tell: Tell) -> ModelProcess:
        if slot.evicted is not None:
            await slot.evicted.end()
            slot.evicted = None
        if slot.process is not None and slot.process.ready:
            return slot.process
        if slot.process is not None:  # it died while it was idle
            await slot.process.end()
        self._loads[slot.key] += 1
        secrets = {name: None for name, value in self._settings if isinstance(value, SecretStr)}
        settings = self._settings.model_copy(update=secrets)
        setup = Setup(engine=slot.key.engine, model=slot.key.model, settings=settings, log=self._log)
        slot.process = await ModelProcess.start(setup)
        await slot.process.load(tell)
        return slot.process

    async def _settle(self, slot: _Slot) -> None:
        if slot.evicted is not None:
            await slot.evicted.end()
        # As long as a client that waits for the model: its own patience has the same setting.
        patience = self._settings.silence_timeout_seconds
        if slot.process is None or not await slot.process.settle(patience=patience):
            del self._slots[slot.key]
            self._give_turns()
        else:
            self._release(slot)

    def _release(self, slot: _Slot) -> None:
        loop = asyncio.get_running_loop()
        slot.busy = False
        slot.used_at = loop.time()
        patience = timedelta(minutes=self._settings.idle_timeout_minutes)
        slot.unloads_at = datetime.now(UTC) + patience
        slot.retirement = loop.call_later(patience.total_seconds(), self._retire, slot)
        self._give_turns()

    def _retire(self, slot: _Slot) -> None:
        process = self._drop(slot)
        if process is not None:
            logger.info("engine %s, unused for a while, leaves memory", slot.key.engine)
            self._start(process.end())
        self._give_turns()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` on its own, so that cancelling a job does not cut its tidying up short."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
