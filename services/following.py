"""Following a job to its end: every durable event once, in order, over reconnects, with or without Redis.

One subscription a process feeds every follower. What it brings are hints: durable events are read from PostgreSQL
whenever a number is missing, and one query a process every two seconds finds what no hint told of.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

from db import history, jobs
from db.tables import Job, Transcript
from domain.access import Caller
from domain.errors import DatabaseUnavailable, JobNotFound
from domain.events import Cursor, Event
from domain.lifecycle import ENDED, JobState
from domain.transcript import Segment
from services.platform import Platform
from services.reading import find, standing

log = logging.getLogger(__name__)

REPAIR_SECONDS = 2.0
BACKLOG = 256
"""Announcements that one slow client may leave unread; beyond it, it is sent to PostgreSQL for what is durable."""


@dataclass(slots=True, eq=False)
class Follower:
    """What waits for one client: the latest progress, and whether something durable is to be looked up."""

    job_id: UUID
    position: tuple[int, int, int] = (0, 0, 0)
    """Number of the last event, fence and segment that this client has been given."""
    events: list[Event] = field(default_factory=list)
    progress: Event | None = None
    behind: bool = False
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, event: Event) -> None:
        if event.type == "progress":
            self.progress = event
        elif len(self.events) < BACKLOG:
            self.events.append(event)
        else:
            self.behind = True
        self.news.set()

    def send_looking(self) -> None:
        self.behind = True
        self.news.set()

    def take(self) -> tuple[list[Event], Event | None, bool]:
        taken = self.events, self.progress, self.behind
        self.events, self.progress, self.behind = [], None, False
        self.news.clear()
        return taken


class Hub:
    """All followers of one process, behind one Redis subscription."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._followers: dict[UUID, set[Follower]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._repair())]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @contextmanager
    def follower(self, job_id: UUID) -> Iterator[Follower]:
        follower = Follower(job_id)
        self._followers.setdefault(job_id, set()).add(follower)
        try:
            yield follower
        finally:
            group = self._followers[job_id]
            group.discard(follower)
            if not group:
                del self._followers[job_id]

    async def _listen(self) -> None:
        async for event in self._platform.events.listen():
            if event is None:
                self._send_all_looking()
                continue
            for follower in self._followers.get(event.job_id, ()):
                follower.tell(event)

    def _send_all_looking(self) -> None:
        for group in self._followers.values():
            for follower in group:
                follower.send_looking()

    async def _repair(self) -> None:
        while True:
            await asyncio.sleep(REPAIR_SECONDS)
            watched = list(self._followers)
            if not watched:
                continue
            try:
                async with self._platform.sessions.begin() as session:
                    positions = await history.positions(session, watched)
            except DatabaseUnavailable:
                log.warning("the database is away; followers wait for it")
                continue
            for job_id in watched:
                for follower in self._followers.get(job_id, ()):
                    if positions.get(job_id) != follower.position:
                        follower.send_looking()


async def open_stream(
    platform: Platform, hub: Hub, caller: Caller, job_id: UUID, last: Cursor | None
) -> AsyncIterator[tuple[Event, Cursor | None]] | None:
    """Events of a job for one client, each durable one with the cursor that it leaves the client at.

    None where `last` already stands behind the job's end. Raises JobNotFound before anything is streamed.
    """
    job, _ = await find(platform, caller, job_id)
    if last is not None and job.state in ENDED and last.seq >= job.seq:
        return None
    return _follow(platform, hub, caller, job_id, last or Cursor())


async def _follow(
    platform: Platform, hub: Hub, caller: Caller, job_id: UUID, cursor: Cursor
) -> AsyncIterator[tuple[Event, Cursor | None]]:
    with hub.follower(job_id) as follower:  # first listen, then look: nothing falls between the two
        job, transcript = await find(platform, caller, job_id)
        yield standing(job, transcript), None
        if cursor.seq == 0 and job.state not in ENDED:
            cursor = cursor.model_copy(update={"seq": job.seq})  # a newcomer's snapshot has told of it
        follower.behind = True
        follower.news.set()
        while True:
            events, progress, behind = follower.take()
            if behind or not all(_follows(cursor, event) for event in events):
                try:
                    events = await _missed(platform, job_id, cursor)
                except JobNotFound:
                    return  # erased meanwhile; a reconnect is told so
                except DatabaseUnavailable:
                    events = []  # the repair sends this follower looking again once the database is back
            for event in events:
                if not cursor.wants(event):
                    continue
                cursor = cursor.after(event)
                yield event, cursor
                if event.terminal:
                    return
            follower.position = (cursor.seq, cursor.fence, cursor.n)
            if progress is not None:
                yield progress, None
            await follower.news.wait()


def _follows(cursor: Cursor, event: Event) -> bool:
    """Does `event` come right behind `cursor`, so that it may be given without a look into PostgreSQL?

    An end never does: segments announced before it may have been lost.
    """
    if event.type == "state":
        return not event.terminal and event.seq is not None and event.seq <= cursor.seq + 1
    return event.fence == cursor.fence and event.n is not None and event.n <= cursor.n + 1


async def _missed(platform: Platform, job_id: UUID, cursor: Cursor) -> list[Event]:
    """What is durable behind `cursor`: changes of state, then segments of the present attempt; an end comes last."""
    async with platform.sessions.begin() as session:
        # The events before the row, so that the row knows at least what they tell of: an end comes with its result.
        states = await history.events_after(session, job_id, cursor.seq)
        found = await jobs.get(session, job_id, owner=None)
        if found is None or found[0].state == JobState.PURGED:
            raise JobNotFound
        job, transcript = found
        after = cursor.n if cursor.fence == job.fence else 0
        rows = await history.segments_after(session, job_id, job.fence, after)
    about = standing(job, transcript).model_copy(update={"seq": None, "message": None, "result": None, "error": None})
    segments = [
        about.model_copy(update={"type": "segment", "n": n, "fence": job.fence, "segment": Segment.model_validate(row)})
        for n, row in rows
    ]
    ends = [_with_result(event, job, transcript) for event in states if event.terminal]
    return [*(event for event in states if not event.terminal), *segments, *ends]


def _with_result(event: Event, job: Job, transcript: Transcript) -> Event:
    return event.model_copy(update={"result": standing(job, transcript).result})
