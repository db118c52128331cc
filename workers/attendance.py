"""The attempts that one worker process makes now, and at which jobs."""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from db.lanes import Room
from domain import lanes
from engines.registry import Registry
from services import attempts
from services.attempts import Waiting
from services.platform import Platform
from workers import pipeline
from workers.cells import Cells
from workers.pipeline import Tried
from workers.quarantine import Quarantine

log = logging.getLogger(__name__)

REFUSALS = 3
"""So many jobs of an engine are tried at one ring: where as many find that it is not there, the next ones would too."""


class Attendance:
    """The attempts that this process makes now, at most so many at once; they outlive arq's own connection troubles."""

    def __init__(self, platform: Platform, registry: Registry, cells: Cells, *, worker: str) -> None:
        self._platform, self._registry, self._worker = platform, registry, worker
        at_once = platform.settings.workers.max_concurrent_jobs
        self._free = asyncio.Semaphore(at_once)
        # One place less: servers that dawdle shall not keep a worker from the jobs that are there.
        self._fetches = asyncio.Semaphore(max(1, at_once - 1))
        self._attempts: set[asyncio.Task[None]] = set()
        self._in_hand: set[UUID] = set()
        self._choosing = asyncio.Lock()
        self._chosen = 0
        self._quarantine = Quarantine(platform, cells)
        self._draining = False

    async def attend(self, rung_for: UUID) -> None:
        """Make an attempt at one job and wait for its end: the one that goes next, whichever it was rung for.

        A hint that comes while draining is for somebody else.
        """
        async with self._free:
            if self._draining:
                return
            attempt = asyncio.create_task(self._attempt(rung_for))
            self._attempts.add(attempt)
            attempt.add_done_callback(self._attempts.discard)
            await asyncio.shield(attempt)

    async def _attempt(self, rung_for: UUID) -> None:
        try:
            await self._begin_one(rung_for)
        except Exception:
            # Before the claim or after the row's last word: nothing is ours any more, and the sweeper sees to the rest.
            log.exception("an attempt could not be begun or ended")

    async def _begin_one(self, rung_for: UUID) -> None:
        """Go through the jobs that are due until one can be begun.

        The job that was rung for is looked at where none is left: it may have to wait, and then says for what.
        """
        tried: set[UUID] = set()
        refusals = Counter[str]()
        while (waiting := await self._next(tried, refusals)) is not None:
            tried.add(waiting.job_id)
            with self._holding(waiting.job_id):
                outcome = await self._try(waiting)
            if outcome == Tried.BEGUN:
                return
            if outcome == Tried.NO_ENGINE:
                refusals[waiting.options.engine] += 1
        if rung_for in tried | self._in_hand or self._draining:
            return
        with self._holding(rung_for):
            if (waiting := await attempts.look(self._platform, rung_for)) is not None:
                await self._try(waiting)

    async def _try(self, waiting: Waiting) -> Tried:
        return await pipeline.attempt_at(
            self._platform,
            self._registry,
            waiting,
            worker=self._worker,
            elsewhere=self._quarantine.attempt,
            fetches=self._fetches,
        )

    async def _next(self, tried: set[UUID], refusals: Counter[str]) -> Waiting | None:
        """One after another: each sees what the others have chosen, so that they do not choose the same."""
        async with self._choosing:
            if self._draining:
                return None
            room = Room(
                in_hand=self._in_hand,
                tried=tried,
                fetches=not self._fetches.locked(),
                suspects=not self._quarantine.is_full,
                without=[engine for engine, count in refusals.items() if count >= REFUSALS],
                favoured=lanes.favoured(self._chosen),
            )
            waiting = await attempts.next_due(self._platform, room)
            if waiting is not None:
                self._chosen += 1
                self._in_hand.add(waiting.job_id)
            return waiting

    @contextmanager
    def _holding(self, job_id: UUID) -> Iterator[None]:
        """A job is tried once at a time: a claim whose answer is lost is asked for again by this worker's name."""
        self._in_hand.add(job_id)
        try:
            yield
        finally:
            self._in_hand.discard(job_id)

    async def drain(self, grace_seconds: float) -> None:
        """Begin nothing more; let what runs end within the grace time, and give the rest back."""
        self._draining = True
        if self._attempts:
            await asyncio.wait(self._attempts, timeout=grace_seconds)
        left = list(self._attempts)
        for attempt in left:
            attempt.cancel()
        await asyncio.gather(*left, return_exceptions=True)
