"""P2: every job ends, in exactly one way, whoever is killed, stopped or made to forget meanwhile."""

import asyncio
import signal
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from uuid import UUID, uuid4

import asyncpg

from tests.chaos.audit import expect_one_end_each
from tests.chaos.campaign import Campaign
from tests.chaos.ground import LEASE_SECONDS, SLOTS, WORKERS, send, so

OUTSTANDING = 3 * WORKERS * SLOTS
"""Jobs that wait or are worked on, while there are more to come."""

KINDS = ("steady", "steady", "steady", "steady", "steady", "flaky", "failing")
CANCELLED_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Size:
    swallowed: int
    wishes: int
    jobs: int
    kills: int
    stops: int
    flushes: int


class Endings(Campaign[Size]):
    promise = "P2"
    title = "Every job ends in exactly one terminal state"
    fault = "kill -9 and SIGSTOP of workers, FLUSHALL, at random and in the moments that matter"
    parts = ("rings_are_swallowed", "wishes_meet_a_crash", "storm")
    repeated = ("swallowed", "wishes", "kills", "stops", "flushes")
    smoke = Size(swallowed=1, wishes=1, jobs=80, kills=8, stops=2, flushes=1)
    full = Size(swallowed=10, wishes=10, jobs=2_500, kills=200, stops=40, flushes=5)

    async def rings_are_swallowed(self) -> None:
        """Every worker dies between arq's mark that a ring is taken and the claim in PostgreSQL."""
        for _ in range(self.size.swallowed):
            job = await self._swallowed()
            self.injected()
            await expect_one_end_each(self, [job])

    async def _swallowed(self) -> UUID:
        while True:
            workers = await self.ground.all_workers()
            with suppress(asyncpg.LockNotAvailableError):  # held by a worker that was stopped just then: once more
                return await self._swallow(workers)

    async def _swallow(self, workers: list[int]) -> UUID:
        for pid in workers:
            send(pid, signal.SIGSTOP)
        try:
            job = await self.ground.submit("steady")
            async with self.ground.locked("transcript_jobs", "ACCESS EXCLUSIVE"):
                for pid in workers:
                    send(pid, signal.SIGCONT)
                assert await so(lambda: self._is_taken(job), within=30), "nobody takes the ring"
                for pid in workers:
                    send(pid, signal.SIGKILL)
            return job
        finally:
            for pid in workers:
                send(pid, signal.SIGCONT)

    async def _is_taken(self, job: UUID) -> bool:
        return bool(await self.ground.redis.exists(f"arq:in-progress:{job}:1"))

    async def wishes_meet_a_crash(self) -> None:
        """A job is to be cancelled, and its worker dies before it hears of that."""
        for _ in range(self.size.wishes):
            await self.ground.all_workers()
            gate = uuid4().hex
            job = await self.ground.submit("gated", gate=gate)
            arrival = await self.ground.gates.next(gate)
            send(arrival.pid, signal.SIGSTOP)
            wish = asyncio.create_task(self.ground.cancel(job))
            await asyncio.wait([wish], timeout=1)  # longer where the worker holds the row: then the kill frees it
            send(arrival.pid, signal.SIGKILL)
            self.injected()
            self.expect("wishes refused", int(await wish != 200))
            await expect_one_end_each(self, [job])
            (state,) = (await self.ground.states([job])).values()
            self.expect("wishes not met", int(state != "cancelled"))

    async def storm(self) -> None:
        await self.ground.all_workers()
        faults = [self._kill] * self.size.kills + [self._stop] * self.size.stops + [self._flush] * self.size.flushes
        self.chance.shuffle(faults)
        jobs: list[UUID] = []
        async with asyncio.TaskGroup() as resuming:
            for number, fault in enumerate(faults, start=1):
                await self._submit_up_to(self.size.jobs * number // len(faults), jobs)
                await fault(resuming)
                self.injected()
        self.count("jobs", len(jobs))
        await expect_one_end_each(self, jobs, patience=60)
        charged = (
            "SELECT count(*) FROM transcript_jobs WHERE id = ANY($1::uuid[]) AND state = 'failed' AND crash_count = 3"
        )
        self.count("ended as worker_crashed", await self.ground.sql.fetchval(charged, jobs))

    async def _submit_up_to(self, number: int, jobs: list[UUID]) -> None:
        """So many jobs in all, never many more at once than the platform has hands for."""
        while len(jobs) < number:
            assert await so(partial(self._room, jobs), within=60), "no job ends any more"
            wave = min(number - len(jobs), OUTSTANDING // 2)
            jobs += await asyncio.gather(*(self._submit() for _ in range(wave)))
            for job in jobs[-wave:]:
                if self.chance.random() < CANCELLED_SHARE:
                    await self.ground.cancel(job)

    async def _room(self, jobs: list[UUID]) -> bool:
        return len(await self.ground.unended(jobs)) <= OUTSTANDING // 2

    async def _submit(self) -> UUID:
        kind = self.chance.choice(KINDS)
        return await self.ground.submit(kind, seconds=self.chance.uniform(0.05, 0.8))

    async def _kill(self, _: asyncio.TaskGroup) -> None:
        assert await so(self._kill_one, within=60), "there is no worker left"

    async def _kill_one(self) -> bool:
        pid = self.ground.random_worker(self.chance)
        return pid is not None and send(pid, signal.SIGKILL)

    async def _stop(self, resuming: asyncio.TaskGroup) -> None:
        assert await so(lambda: self._stop_one(resuming), within=60), "there is no worker left"

    async def _stop_one(self, resuming: asyncio.TaskGroup) -> bool:
        pid = self.ground.random_worker(self.chance)
        if pid is None or not send(pid, signal.SIGSTOP):
            return False
        resuming.create_task(self._resume(pid, after=self.chance.uniform(0.3, 3 * LEASE_SECONDS)))
        return True

    async def _resume(self, pid: int, *, after: float) -> None:
        await asyncio.sleep(after)  # the fault itself
        send(pid, signal.SIGCONT)

    async def _flush(self, _: asyncio.TaskGroup) -> None:
        await self.ground.redis.flushall()
