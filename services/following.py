"""Following a job to its end: every durable event once, in order, over reconnects, with or without Redis.

One subscription a process feeds every follower. What it brings are hints: durable events are read from PostgreSQL
whenever a number is missing, and one query a process every two seconds finds what no hint told of.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, cast
from uuid import UUID

from db import history, jobs
from db.session import EVERYBODY
from db.tables import Job, Transcript
from domain.access import Caller
from domain.errors import DatabaseUnavailable, JobNotFound
from domain.events import Cursor, Event
from domain.lifecycle import ENDED, JobState
from domain.transcript import Segment
from services.platform import Platform
from services.reading import standing

log = logging.getLogger(__name__)

REPAIR_SECONDS = 2.0
Told = tuple[Event, Cursor | None]

BACKLOG = 256
"""Announcements that one slow client may leave unread; beyond it, it is sent to PostgreSQL for what is durable."""


class Position(NamedTuple):
    """How much of what is durable a follower has dealt with, in the numbers of the job's row.

    No cursor: that stands still while an attempt hears again what its client has been told.
    """

    seq: int = 0
    fence: int = 0
    n: int = 0

    @classmethod
    def of(cls, cursor: Cursor) -> "Position":
        return cls(cursor.seq, cursor.fence, cursor.n)

    def after(self, event: Event) -> "Position | None":
        """The position behind `event`, or None where it does not come right behind this one.

        An end never does: segments announced before it may have been lost.
        """
        if event.fence is None or event.terminal:
            return None
        if event.type == "state" and event.seq is not None and event.seq <= self.seq + 1:
            seq = max(self.seq, event.seq)
            return Position(seq, event.fence, 0) if event.fence > self.fence else self._replace(seq=seq)
        if event.type == "segment" and event.n is not None and event.fence == self.fence and event.n <= self.n + 1:
            return self._replace(n=max(self.n, event.n))
        return None


@dataclass(slots=True, eq=False)
class Follower:
    """What waits for one client: the latest progress, and whether something durable is to be looked up."""

    job_id: UUID
    position: Position | None = None
    """None until the first look, which needs nobody to ask for it."""
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
        while True:
            try:
                await self._pass_on()
            except Exception:
                log.exception("announcements broke off; followers look into PostgreSQL meanwhile")
            await asyncio.sleep(REPAIR_SECONDS)

    async def _pass_on(self) -> None:
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
                async with self._platform.sessions.begin(owner=EVERYBODY) as session:
                    positions = await history.positions(session, watched)
            except DatabaseUnavailable:
                log.warning("the database is away; followers wait for it")
                continue
            except Exception:
                log.exception("the followers' jobs could not be looked up; it is tried again")
                continue
            for job_id in watched:
                for follower in self._followers.get(job_id, ()):
                    if follower.position is not None and positions.get(job_id) != follower.position:
                        follower.send_looking()


async def open_stream(
    platform: Platform, hub: Hub, caller: Caller, job_id: UUID, last: Cursor | None
) -> AsyncGenerator[Told] | None:
    """Events of a job for one client, each durable one with the cursor that it leaves the client at.

    None where `last` already stands behind the job's end. Raises JobNotFound before anything is streamed.
    """
    told = _follow(platform, hub, caller, job_id, last)
    is_open = await anext(told, False)
    return None if is_open is False else cast("AsyncGenerator[Told]", told)


async def _follow(
    platform: Platform, hub: Hub, caller: Caller, job_id: UUID, last: Cursor | None
) -> AsyncGenerator[Told | None]:
    """None once it is open, a snapshot, and what comes behind `last`; nothing at all where that is nothing."""
    with hub.follower(job_id) as follower:  # first listen, then look: nothing falls between the two
        cursor = last or Cursor()
        look = await _look(platform, caller, job_id, Position.of(cursor), owner=caller.owner)
        if _is_beyond(cursor, look.job):
            cursor = Cursor()
            look = await _look(platform, caller, job_id, Position.of(cursor), owner=caller.owner)
        job, transcript, events, follower.position = look
        del look  # an hour of segments, which nobody needs once they are told
        ended = job.state in ENDED
        if ended and cursor.seq >= job.seq:
            return
        if job.seq > follower.position.seq:
            follower.send_looking()  # the row is newer than the events that were read
        yield None
        yield standing(job, transcript), None
        if cursor.seq == 0 and not ended:
            cursor = cursor.model_copy(update={"seq": job.seq})  # a newcomer's snapshot has told of it
        progress = None
        while True:
            for event in events:
                if not cursor.wants(event):
                    continue
                cursor = cursor.after(event)
                yield event, cursor
                if event.terminal:
                    return
            if progress is not None:
                yield progress, None
            await follower.news.wait()
            try:
                events, progress = await _news(platform, caller, follower)
            except JobNotFound:
                return  # erased meanwhile; a reconnect is told so


async def _news(platform: Platform, caller: Caller, follower: Follower) -> tuple[list[Event], Event | None]:
    """What is to be told next: events, and the latest progress. Raises JobNotFound."""
    events, progress, behind = follower.take()
    before = follower.position or Position()
    position = None if behind else _behind_all(before, events)
    if position is not None:
        follower.position = position
        return events, progress
    try:
        found = await _look(platform, caller, follower.job_id, before)
    except DatabaseUnavailable:
        return [], progress  # the repair sends it looking again
    follower.position = found.reached
    return found.events, progress


def _is_beyond(cursor: Cursor, job: Job) -> bool:
    """Does `cursor` know of what has never been? Then it is no cursor of this job, or of a database since restored."""
    if cursor.seq > job.seq or cursor.fence > job.fence:
        return True
    return cursor.fence == job.fence and cursor.n > job.segments_n


def _behind_all(position: Position, events: list[Event]) -> Position | None:
    """The position behind events that can be given without a look into PostgreSQL, or None where one is missing."""
    following: Position | None = position
    for event in events:
        if following is None:
            return None
        following = following.after(event)
    return following


class Look(NamedTuple):
    """A job as it stands in PostgreSQL, and what is durable behind a position."""

    job: Job
    transcript: Transcript
    events: list[Event]
    """Changes of state, then segments of the present attempt; an end comes last."""
    reached: Position
    """Behind all of it: made of what was read and not of the row, which may be newer than the events."""


async def _look(
    platform: Platform, caller: Caller, job_id: UUID, position: Position, *, owner: str | None = None
) -> Look:
    """Raises JobNotFound. `owner`: of somebody to whom a job that is about to be erased is gone."""
    async with platform.sessions.alone(owner=caller.owner) as session:
        # The events before the row, so that the row knows at least what they tell of: an end comes with its result.
        states = await history.events_after(session, job_id, position.seq)
        found = await jobs.get(session, job_id, owner=owner)
        if found is None or found[0].state == JobState.PURGED:
            raise JobNotFound
        job, transcript = found
        after = position.n if position.fence == job.fence else 0
        is_told = job.state in ENDED and position.seq >= job.seq  # a browser comes back once behind every end
        rows = [] if is_told else await history.segments_after(session, job_id, job.fence, after)
    about = standing(job, transcript).model_copy(update={"seq": None, "message": None, "result": None, "error": None})
    if about.status in ENDED:  # whoever looks at nothing but the status must not take a segment for the end
        about = about.model_copy(update={"status": JobState.PROCESSING, "progress": min(99, about.progress)})
    segments = [
        about.model_copy(update={"type": "segment", "n": n, "fence": job.fence, "segment": Segment.model_validate(row)})
        for n, row in rows
    ]
    ends = [_with_result(event, job, transcript) for event in states if event.terminal]
    seq = max([position.seq, *(event.seq for event in states if event.seq is not None)])
    events = [*(event for event in states if not event.terminal), *segments, *ends]
    return Look(job, transcript, events, Position(seq, job.fence, rows[-1][0] if rows else after))


def _with_result(event: Event, job: Job, transcript: Transcript) -> Event:
    return event.model_copy(update={"result": standing(job, transcript).result})
