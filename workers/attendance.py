"""The attempts that one worker process makes now, and at which jobs."""

import asyncio
import logging
from uuid import UUID

from db.lanes import Room
from domain import lanes
from domain.capabilities import AUTO
from domain.errors import DatabaseUnavailable
from engines.registry import Registry
from services import attempts
from services.attempts import Waiting
from services.platform import Platform
from workers import pipeline
from workers.cells import Cells
from workers.pipeline import Tried
from workers.quarantine import Quarantine

log = logging.getLogger(__name__)

TRIES = 20
"""So many jobs are tried at one ring: each that cannot be begun now has been postponed, failed or taken by others."""


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
        reports = await self._registry.reports()
        here = [AUTO, *(report.engine for report in reports if report.available)]
        tried: set[UUID] = set()
        while len(tried) < TRIES and (waiting := await self._next(tried, here)) is not None:
            tried.add(waiting.job_id)
            if await self._try(waiting) == Tried.BEGUN:
                return
            self._chosen -= 1  # whose turn it was, has it still
        if rung_for in tried or self._draining:
            return
        waiting = await attempts.look(self._platform, rung_for)
        if waiting is not None and rung_for not in self._in_hand:
            self._in_hand.add(rung_for)
            await self._try(waiting)

    async def _try(self, waiting: Waiting) -> Tried:
        """A job that nobody foresaw, which another version may have made, must not be in the way of the others."""
        try:
            return await pipeline.attempt_at(
                self._platform,
                self._registry,
                waiting,
                worker=self._worker,
                elsewhere=self._quarantine.attempt,
                fetches=self._fetches,
            )
        except DatabaseUnavailable:
            raise
        except Exception:
            log.exception("an attempt could not be begun or ended")
            await attempts.postpone(self._platform, waiting.job_id, reason="it could not be begun: the log has why")
            return Tried.NOT_HAD
        finally:
            self._in_hand.discard(waiting.job_id)

    async def _next(self, tried: set[UUID], here: list[str]) -> Waiting | None:
        """One after another: each sees what the others have chosen, so that they do not choose the same.

        A job is in hand from here on: a claim whose answer is lost is asked for again by this worker's name.
        """
        async with self._choosing:
            if self._draining:
                return None
            room = Room(
                in_hand=self._in_hand,
                tried=tried,
                fetches=not self._fetches.locked(),
                suspects=not self._quarantine.is_full,
                engines=here,
                favoured=lanes.favoured(self._chosen),
            )
            waiting = await attempts.next_due(self._platform, room)
            if waiting is not None:
                self._chosen += 1
                self._in_hand.add(waiting.job_id)
            return waiting

    async def drain(self, grace_seconds: float) -> None:
        """Begin nothing more; let what runs end within the grace time, and give the rest back."""
        self._draining = True
        if self._attempts:
            await asyncio.wait(self._attempts, timeout=grace_seconds)
        left = list(self._attempts)
        for attempt in left:
            attempt.cancel()
        await asyncio.gather(*left, return_exceptions=True)
