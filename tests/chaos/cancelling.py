"""P7: what is to be cancelled is, whatever it does at the moment; what takes too long, ends."""

import asyncio
from dataclasses import dataclass
from time import time
from uuid import UUID, uuid4

from tests.chaos.audit import expect_one_end_each
from tests.chaos.campaign import Campaign, quantile
from tests.chaos.ground import FLOOR_SECONDS, HARDLY_ANY, SLOTS, WORKERS, so

GONE_SECONDS = 6.0
LONGEST_PAUSE_SECONDS = 3.0
"""Between a submission and the wish: jobs wait, are decoded, are heard, have ended."""

PATIENCE_SECONDS = 12.0
WAVE = 30


@dataclass(frozen=True, slots=True)
class Size:
    cancels: int
    held: int
    overdue: int


@dataclass(frozen=True, slots=True)
class Cancelled:
    job: UUID
    answer: int
    wished_at: float


class Cancelling(Campaign[Size]):
    promise = "P7"
    title = "Cancel and deadline always work"
    fault = "cancel at a random instant, native code included; jobs over their deadline"
    parts = ("held_jobs", "in_native_code", "at_random_beside_overdue_ones")
    repeated = ("cancels", "held", "overdue")
    smoke = Size(cancels=40, held=6, overdue=3)
    full = Size(cancels=480, held=20, overdue=100)

    async def held_jobs(self) -> None:
        """Engines that would never end by themselves, and whose end is seen."""
        await self.ground.all_workers()
        left = self.size.held
        while left > 0:
            gates = [uuid4().hex for _ in range(min(left, 6))]
            jobs = [await self.ground.submit("gated", gate=gate) for gate in gates]
            arrivals = [await self.ground.gates.next(gate) for gate in gates]
            wished = await asyncio.gather(*(self._cancel(job) for job in jobs))
            await asyncio.wait([arrival.gone for arrival in arrivals], timeout=PATIENCE_SECONDS)
            self.expect("engines alive after a cancel", sum(not arrival.gone.done() for arrival in arrivals))
            await self._judge(wished)
            left -= len(gates)

    async def at_random_beside_overdue_ones(self) -> None:
        await asyncio.gather(self._cancel_at_random(), self._overdue())

    async def _cancel_at_random(self) -> None:
        left = self.size.cancels
        while left > 0:
            wave = min(left, WAVE)
            await self._judge(await asyncio.gather(*(self._submit_and_cancel() for _ in range(wave))))
            left -= wave

    async def in_native_code(self) -> None:
        """A model that hears no signal: its process has to go."""
        job = await self.ground.submit("spinning", seconds=600)
        assert await so(lambda: self._spins(), within=60), "the model is never loaded"
        spinning = {process.pid for process in self.ground.whole.processes("engine child")}
        await self._judge([await self._cancel(job)])
        gone = await so(lambda: self._all_gone(spinning), within=PATIENCE_SECONDS)
        self.expect("engines alive after a cancel", int(not gone))

    async def _spins(self) -> bool:
        """Is there a model's process that has done nothing but compute for some time?"""
        return any(process.cpu_percent(interval=0.3) > 30 for process in self.ground.whole.processes("engine child"))

    async def _all_gone(self, pids: set[int]) -> bool:
        return not pids & {process.pid for process in self.ground.whole.processes("engine child")}

    async def _overdue(self) -> None:
        """Recordings of no length, whose engines never end: each is given the floor of the deadline, and not more."""
        left = self.size.overdue
        while left > 0:
            gates = [uuid4().hex for _ in range(min(left, WORKERS * SLOTS // 2))]
            jobs = [await self.ground.submit("gated", gate=gate, audio=HARDLY_ANY) for gate in gates]
            await expect_one_end_each(self, jobs, patience=FLOOR_SECONDS + 20)
            asked = (
                "SELECT count(*) FROM transcript_jobs WHERE id = ANY($1::uuid[]) AND state = 'failed'"
                " AND error_details->>'code' = 'deadline'"
            )
            self.expect("overdue jobs not ended for it", len(jobs) - await self.ground.sql.fetchval(asked, jobs))
            self.injected(len(jobs))
            left -= len(jobs)

    async def _submit_and_cancel(self) -> Cancelled:
        job = await self.ground.submit("steady", seconds=self.chance.choice([0.2, 1.0, 60.0]), parts=5)
        await asyncio.sleep(self.chance.uniform(0, LONGEST_PAUSE_SECONDS))  # the random instant
        return await self._cancel(job)

    async def _cancel(self, job: UUID) -> Cancelled:
        wished_at = time()
        return Cancelled(job, await self.ground.cancel(job), wished_at)

    async def _judge(self, wished: list[Cancelled]) -> None:
        self.injected(len(wished))
        accepted = [each for each in wished if each.answer == 200]
        too_late = [each for each in wished if each.answer == 409]
        self.expect("wishes answered otherwise", len(wished) - len(accepted) - len(too_late))
        await expect_one_end_each(self, [each.job for each in wished], patience=PATIENCE_SECONDS)
        states = await self.ground.states([each.job for each in wished])
        self.expect("accepted wishes not met", sum(states[each.job] != "cancelled" for each in accepted))
        self.expect("refused wishes met", sum(states[each.job] == "cancelled" for each in too_late))
        for each in accepted:
            started = await self.ground.moments(each.job, "processing")
            self.expect("started after the wish", sum(at > each.wished_at + 1 for at in started))
            self.samples["delay"] += [at - each.wished_at for at in await self.ground.moments(each.job, "cancelled")]
        self.at_most("p99 until cancelled, s", quantile(self.samples["delay"], 0.99), GONE_SECONDS)
