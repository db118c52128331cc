"""P8: a worker that is asked to end begins nothing more, ends in time, and nobody is charged for it."""

import asyncio
import signal
from dataclasses import dataclass
from time import time
from uuid import UUID

import psutil

from tests.chaos.audit import expect_one_end_each
from tests.chaos.campaign import Campaign
from tests.chaos.ground import GRACE_SECONDS, SLOTS, WORKERS, send, so

EXIT_SECONDS = GRACE_SECONDS + 5.0
HEARD_SECONDS = 0.5
"""A claim that was on its way when the signal came may still be recorded so much later."""

SHORT_SECONDS, LONG_SECONDS = 0.4, 2 * GRACE_SECONDS
"""What fits into the grace, and what does not."""


@dataclass(frozen=True, slots=True)
class Size:
    drains: int


class Draining(Campaign[Size]):
    promise = "P8"
    title = "A drain loses nothing"
    fault = "SIGTERM of a worker under load, half the jobs longer than the grace"
    parts = ("drains",)
    repeated = ("drains",)
    smoke = Size(2)
    full = Size(100)

    _latest_claim = 0.0

    async def drains(self) -> None:
        jobs: list[UUID] = []
        slowest = 0.0
        for _ in range(self.size.drains):
            await self.ground.all_workers()
            await self._load(jobs)
            pid = self.ground.random_worker(self.chance)
            assert pid is not None
            slowest = max(slowest, await self._drain(pid))
            self.injected()
            self.at_most("slowest exit, s", slowest, EXIT_SECONDS)
        await expect_one_end_each(self, jobs, patience=60)
        self.count("jobs", len(jobs))
        for what, column in (("tries charged", "attempts"), ("crashes charged", "crash_count")):
            charged = f"SELECT coalesce(sum({column}), 0) FROM transcript_jobs WHERE id = ANY($1::uuid[])"
            self.expect(what, await self.ground.sql.fetchval(charged, jobs))
        released = "SELECT coalesce(sum(fence) - count(*), 0) FROM transcript_jobs WHERE id = ANY($1::uuid[])"
        self.count("given back", await self.ground.sql.fetchval(released, jobs))

    async def _load(self, jobs: list[UUID]) -> None:
        """Have every worker busy, with more in line."""
        missing = 2 * WORKERS * SLOTS - len(await self.ground.unended(jobs))
        lengths = [SHORT_SECONDS, LONG_SECONDS]
        fresh = [self.ground.submit("steady", seconds=lengths[n % 2]) for n in range(missing)]
        jobs += await asyncio.gather(*fresh)
        assert await so(lambda: self._all_busy(jobs), within=30), "the workers do not take their load"

    async def _all_busy(self, jobs: list[UUID]) -> bool:
        asked = (
            "SELECT count(DISTINCT worker_id) FROM transcript_jobs WHERE id = ANY($1::uuid[]) AND state = 'processing'"
        )
        return int(await self.ground.sql.fetchval(asked, jobs)) == WORKERS

    async def _drain(self, pid: int) -> float:
        """Seconds until it is gone; infinity where that is not in time."""
        worker, asked_at = psutil.Process(pid), time()
        send(pid, signal.SIGTERM)
        gone, _ = await asyncio.to_thread(psutil.wait_procs, [worker], timeout=EXIT_SECONDS + 3)
        seconds = time() - asked_at
        late = (
            "SELECT extract(epoch FROM max(at) - to_timestamp($1))::float FROM job_events"
            " WHERE event->>'status' = 'processing' AND at > to_timestamp($1) AND event->>'worker_id' LIKE $2"
        )
        self._latest_claim = max(self._latest_claim, await self.ground.sql.fetchval(late, asked_at, f"%-{pid}-%") or 0)
        self.at_most("latest claim after the signal, s", self._latest_claim, HEARD_SECONDS)
        if not gone:
            send(pid, signal.SIGKILL)
        return seconds if gone else float("inf")
