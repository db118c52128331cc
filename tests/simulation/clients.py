"""Clients: they submit until they have a receipt, follow over every cut, and some cancel, erase or ask twice."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import cast
from uuid import UUID

from domain.access import LOCAL_OWNER, Caller
from domain.errors import AlreadyFinished, JobNotFound, Unavailable
from domain.events import Cursor, Event
from domain.lanes import Lane
from domain.lifecycle import TERMINAL, JobOptions
from services import ending, following, submission, uploads
from services.once import Key
from services.submission import Receipt
from tests.simulation.climate import Recording
from tests.simulation.works import Door
from tests.simulation.world import ConnectionLost, World

OWNERS = (Caller(LOCAL_OWNER), Caller("another"))
PATIENCE_SECONDS = 8.0
CUT_CHANCE = 0.05
"""Of the events, how many are the last on their connection; half of these never arrive."""

UPLOADED_FIRST = 3
"""Of so many recordings, one is uploaded first and run then."""

AGAIN = (ConnectionLost, TimeoutError, Unavailable)


class Listener:
    """One client's view of a job's stream, over as many connections as it takes."""

    def __init__(self, world: World, recording: Recording) -> None:
        self._world, self._recording = world, recording
        self.cursor: Cursor | None = None
        self._told_of: int | None = None
        """Number of the last change of state that was told, by itself or by the first snapshot."""
        self.words = 0
        self.end: Event | None = None
        self.gone = False
        """Told that there is no such job."""

    def receive(self, event: Event, cursor: Cursor | None) -> None:
        if self.end is not None:
            self._world.violate(f"{event.type} was told behind the end")
        if event.type == "snapshot" and self.cursor is None:
            self._told_of = 0 if event.status in TERMINAL else event.seq
        if cursor is None:
            return
        if event.type == "state":
            self._receive_state(event)
        if event.segment is not None:
            if event.segment.text != f"w{self.words}":
                self._world.violate(f"{event.segment.text} was told where w{self.words} was to come")
            self.words += 1
        self.cursor = cursor

    def _receive_state(self, event: Event) -> None:
        if self._told_of is not None and event.seq != self._told_of + 1:
            self._world.violate(f"event {event.seq} was told behind {self._told_of}")
        self._told_of = event.seq
        if event.terminal:
            self.end = event
            if event.status == "completed" and self.words != self._recording.words and not self._is_erased(event):
                self._world.violate(f"the end was told after {self.words} of {self._recording.words} words")

    def _is_erased(self, event: Event) -> bool:
        """Of what is being erased less and less can be told."""
        row = self._world.database.job(event.job_id)
        return row is None or row.erase_requested_at is not None


class Client:
    def __init__(self, world: World, doors: list[Door], recording: Recording) -> None:
        self._world, self._doors, self.recording = world, doors, recording
        self._me = OWNERS[recording.number % len(OWNERS)]
        self.receipts: list[Receipt] = []
        self.listeners: list[Listener] = []
        self.cancelled_at: float | None = None
        self.erased_at: float | None = None
        self.done = False

    @property
    def job_id(self) -> UUID | None:
        return self.receipts[0].job_id if self.receipts else None

    async def live(self) -> None:
        rng = self._world.rng
        await asyncio.sleep(rng.uniform(0, 4))
        together = [self._submit() for _ in range(rng.choice((1, 1, 1, 2)))]
        await asyncio.gather(*together)
        job_id = self.receipts[0].job_id
        acts = [self._follow(job_id, door) for door in self._doors]
        if rng.random() < 0.25:
            acts.append(self._cancel(job_id))
        if rng.random() < 0.15:
            acts.append(self._erase(job_id))
        await asyncio.gather(*acts)
        self.done = True

    async def _submit(self) -> None:
        while True:
            await asyncio.sleep(self._world.rng.random())
            door = self._world.rng.choice(self._doors)
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    receipt = await self._world.ask(door.process, self._submit_at)
            except AGAIN:
                continue
            self._keep(receipt)
            return

    async def _submit_at(self) -> Receipt:
        kept = await submission.keep(self._world.platform, self._me, self._body())
        platform, number = self._world.platform, self.recording.number
        wanted = submission.Submission(JobOptions(engine="scripted"), lane=list(Lane)[number % len(Lane)])
        key = Key.parse(f"key-{number}")
        if number % UPLOADED_FIRST:
            return await submission.submit(platform, self._me, wanted, kept, filename="a.wav", key=key)
        uploaded = await uploads.receive(platform, self._me, kept, filename="a.wav", key=key)
        return await uploads.run(platform, self._me, uploaded.job_id, wanted, key=Key.parse(f"run-{number}"))

    async def _body(self) -> AsyncIterator[bytes]:
        yield self.recording.content

    def _keep(self, receipt: Receipt) -> None:
        self._world.tell("has the receipt of recording %d: job %s", self.recording.number, receipt.job_id)
        self.receipts.append(receipt)
        if self._world.database.job(receipt.job_id) is None:
            self._world.violate("a receipt was given for a job that is not there")
        if receipt.job_id != self.receipts[0].job_id:
            self._world.violate("one Idempotency-Key has two jobs")

    async def _cancel(self, job_id: UUID) -> None:
        await asyncio.sleep(self._world.rng.choice((0.0, 1.0, 6.0)) * self._world.rng.random())
        while True:
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    door = self._world.rng.choice(self._doors)
                    await self._world.ask(door.process, partial(ending.cancel, self._world.platform, self._me, job_id))
            except AGAIN:
                await asyncio.sleep(0.5)
                continue
            except (AlreadyFinished, JobNotFound):
                return
            self._world.tell("job %s is to be cancelled", job_id)
            self.cancelled_at = self._world.loop.now
            return

    async def _erase(self, job_id: UUID) -> None:
        await asyncio.sleep(6 * self._world.rng.random())
        while True:
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    door = self._world.rng.choice(self._doors)
                    await self._world.ask(door.process, partial(ending.erase, self._world.platform, self._me, job_id))
            except AGAIN:
                await asyncio.sleep(0.5)
                continue
            except JobNotFound:  # erased by the try before
                pass
            self._world.tell("job %s is to be erased", job_id)
            self.erased_at = self._world.loop.now
            return

    async def _follow(self, job_id: UUID, door: Door) -> None:
        """Each at a door of its own: a hub's followers are a set, whose order no seed could bring back."""
        listener = Listener(self._world, self.recording)
        self.listeners.append(listener)
        while listener.end is None and not listener.gone:
            try:
                await self._world.ask(door.process, partial(self._listen_at, door, job_id, listener))
            except AGAIN:
                pass
            except JobNotFound:
                listener.gone = True
            await asyncio.sleep(0.2 + self._world.rng.random())

    async def _listen_at(self, door: Door, job_id: UUID, listener: Listener) -> None:
        world = self._world
        stream = await following.open_stream(world.platform, door.hub, self._me, job_id, listener.cursor)
        if stream is None:
            row = world.database.job(job_id)
            if row is None or row.state in TERMINAL:
                world.violate("nothing was left to tell to a client that has not been told the end")
            listener.gone = True
            return
        async with aclosing(cast("AsyncGenerator[following.Told, None]", stream)) as told:
            async for event, cursor in told:
                await world.step()
                cut = world.rng.random() < CUT_CHANCE
                if not cut or world.rng.random() < 0.5:
                    listener.receive(event, cursor)
                if cut:
                    return
