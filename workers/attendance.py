"""The attempts that one worker process makes now."""

import asyncio
import logging
from uuid import UUID

from engines.registry import Registry
from services.platform import Platform
from workers import pipeline
from workers.cells import Cells
from workers.quarantine import Quarantine

log = logging.getLogger(__name__)


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
        self._quarantine = Quarantine(platform, cells)
        self._draining = False

    async def attend(self, job_id: UUID) -> None:
        """Make an attempt at a job and wait for its end.

        A hint that comes while draining is for somebody else, and a second one for a job in hand for nobody.
        """
        async with self._free:
            if self._draining or job_id in self._in_hand:
                return
            self._in_hand.add(job_id)
            attempt = asyncio.create_task(self._attempt(job_id))
            self._attempts.add(attempt)
            attempt.add_done_callback(self._attempts.discard)
            await asyncio.shield(attempt)

    async def _attempt(self, job_id: UUID) -> None:
        try:
            await pipeline.run_attempt(
                self._platform,
                self._registry,
                job_id,
                worker=self._worker,
                elsewhere=self._quarantine.attempt,
                fetches=self._fetches,
            )
        except Exception:
            # Before the claim or after the row's last word: nothing is ours any more, and the sweeper sees to the rest.
            log.exception("an attempt could not be begun or ended")
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
