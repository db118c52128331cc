"""P4: Redis may forget everything, and may stay away."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import time
from uuid import UUID

from tests.chaos.audit import expect_one_end_each
from tests.chaos.campaign import Campaign
from tests.chaos.ground import SLOTS, WORKERS

AGAIN_SECONDS = 5.0
"""How soon after Redis answers the work goes on."""

SETTLING_SECONDS = 0.3
"""What was on its way when Redis forgot: claims in that time say nothing."""


@dataclass(frozen=True, slots=True)
class Size:
    queued: int
    job_seconds: float
    flushes: int
    restarts: int
    outages: int
    outage_seconds: float


class Forgetting(Campaign[Size]):
    promise = "P4"
    title = "Redis is disposable"
    fault = "FLUSHALL, kill -9 and restart of Redis, Redis away"
    parts = ("flushes", "restarts", "outages")
    repeated = ("flushes", "restarts", "outages")
    smoke = Size(queued=30, job_seconds=0.5, flushes=1, restarts=1, outages=1, outage_seconds=3)
    full = Size(queued=1_000, job_seconds=0.2, flushes=5, restarts=5, outages=3, outage_seconds=30)

    async def flushes(self) -> None:
        for _ in range(self.size.flushes):
            await self._go_on_after(self._flush)

    async def restarts(self) -> None:
        for _ in range(self.size.restarts):
            await self._go_on_after(self._restart)

    async def outages(self) -> None:
        for _ in range(self.size.outages):
            await self._go_on_after(self._stay_away)

    async def _go_on_after(self, fault: Callable[[list[UUID]], Awaitable[None]]) -> None:
        """Hurt Redis with jobs in the queue that only it knows to be waiting, and see them all through."""
        await self.ground.all_workers()
        jobs = await self._submit(self.size.queued)
        await fault(jobs)
        answered_at = time()
        self.injected()
        claimed_at = await self.ground.first_claim_after(answered_at + SETTLING_SECONDS)
        self.samples["gap"].append(claimed_at - answered_at)
        self.at_most("slowest until work goes on, s", max(self.samples["gap"]), AGAIN_SECONDS)
        await expect_one_end_each(self, jobs)
        states = await self.ground.states(jobs)
        self.expect("jobs not completed", sum(state != "completed" for state in states.values()))

    async def _submit(self, number: int) -> list[UUID]:
        at_once = asyncio.Semaphore(8)

        async def one() -> UUID:
            async with at_once:
                return await self.ground.submit("steady", seconds=self.size.job_seconds)

        return await asyncio.gather(*(one() for _ in range(number)))

    async def _flush(self, _: list[UUID]) -> None:
        await self.ground.redis.flushall()

    async def _restart(self, _: list[UUID]) -> None:
        self.ground.redis_server.kill()
        self.ground.redis_server.restart()

    async def _stay_away(self, jobs: list[UUID]) -> None:
        """Meanwhile jobs are taken all the same, and what runs, runs on."""
        self.ground.redis_server.kill()
        until, refused, asked = time() + self.size.outage_seconds, 0, 0
        while time() < until:
            answer = await self.ground.post("steady", seconds=self.size.job_seconds)
            asked += 1
            if answer.status_code == 202:
                jobs.append(UUID(answer.json()["job_id"]))
            else:
                refused += 1
            await asyncio.sleep(self.size.outage_seconds / (WORKERS * SLOTS))  # the fault lasts; a dozen are enough
        self.count("submissions while it was away", asked)
        self.expect("submissions refused while it was away", refused)
        await self._restart_empty()

    async def _restart_empty(self) -> None:
        self.ground.redis_server.restart()
        await self.ground.redis.flushall()
