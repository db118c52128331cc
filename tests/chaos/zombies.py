"""P3: a worker that was thought dead, and comes back with a result, changes nothing."""

import asyncio
import hashlib
import signal
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from tests.chaos.campaign import Campaign
from tests.chaos.gates import Arrival
from tests.chaos.ground import SLOTS, TERMINAL, send, so

REFUSED = "the attempt was stopped: lost"
"""What a worker logs that finds its job taken."""

VOLATILE = ("lease_until", "updated_at")
"""What heartbeats of the rightful worker go on changing."""

RESCUE_SECONDS = 30.0
"""How long a job may stay with a worker that is stopped; a sixth of it would do."""

AT_ONCE = SLOTS
"""Jobs of one round; those that land on stopped workers become zombies, and one worker alone has room for all."""


@dataclass(frozen=True, slots=True)
class Size:
    while_another_works: int
    after_another_finished: int
    in_a_transaction: int


@dataclass(frozen=True, slots=True)
class Zombie:
    job: UUID
    gate: str
    stopped: Arrival
    heir: Arrival


class Zombies(Campaign[Size]):
    promise = "P3"
    title = "A zombie writes nothing"
    fault = "SIGSTOP between claim and commit, another worker takes over, SIGCONT"
    parts = ("while_another_works", "after_another_finished", "in_a_transaction")
    repeated = ("while_another_works", "after_another_finished", "in_a_transaction")
    smoke = Size(4, 4, 1)
    full = Size(200, 200, 20)

    async def while_another_works(self) -> None:
        await self._rounds(self.size.while_another_works, finished=False)

    async def after_another_finished(self) -> None:
        await self._rounds(self.size.after_another_finished, finished=True)

    async def in_a_transaction(self) -> None:
        """A worker is stopped between UPDATE and COMMIT: the lock that it leaves on the row must not keep the job."""
        for _ in range(self.size.in_a_transaction):
            await self.ground.all_workers()
            gate = uuid4().hex
            job = await self.ground.submit("gated", gate=gate)
            arrival = await self.ground.gates.next(gate)
            async with self.ground.sql.acquire() as connection, connection.transaction():
                await connection.execute("SELECT 1 FROM transcript_jobs WHERE id = $1 FOR UPDATE", job)
                assert await so(self._somebody_waits_for_the_row, within=10), "there is no heartbeat"
                send(arrival.pid, signal.SIGSTOP)
            self.injected()
            try:
                heir = await self.ground.gates.next(gate, within=RESCUE_SECONDS)
                heir.open()
                self.expect("not terminal", len(await self.ground.all_end([job])))
            except TimeoutError:
                self.expect("jobs that a stopped worker keeps by its lock", 1)
            send(arrival.pid, signal.SIGCONT)

    async def _somebody_waits_for_the_row(self) -> bool:
        asked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE%'"
        return bool(await self.ground.sql.fetchval(asked))

    async def _rounds(self, wanted: int, *, finished: bool) -> None:
        made = 0
        while made < wanted:
            made += await self._round(finished=finished)

    async def _round(self, *, finished: bool) -> int:
        await self.ground.all_workers()
        zombies = await self._make_zombies()
        if finished:
            await self._let_heirs_finish(zombies)
        else:
            await so(lambda: self._kept_segments(zombies), within=10)
        before = [await self._portrait(zombie.job) for zombie in zombies]
        for zombie in zombies:
            zombie.stopped.open()
        self._resume(zombies)
        await so(lambda: self._refused_or_harmed(zombies), within=10)
        after = [await self._portrait(zombie.job) for zombie in zombies]
        for zombie, was, now in zip(zombies, before, after, strict=True):
            self.injected()
            self.expect("not refused", 1 - min(1, self.ground.said_in_logs(zombie.job, REFUSED)))
            for what in was:
                self.expect(f"{what} changed", int(now[what] != was[what]))
        if not finished:
            await self._let_heirs_finish(zombies)
        for zombie in zombies:
            await self._expect_the_heir_s(zombie)
        return len(zombies)

    async def _make_zombies(self) -> list[Zombie]:
        """Jobs whose first worker is stopped with the result in its hands, and that a second worker holds."""
        gates = [uuid4().hex for _ in range(AT_ONCE)]
        jobs = [await self.ground.submit("gated", gate=gate) for gate in gates]
        arrivals = [await self.ground.gates.next(gate) for gate in gates]
        pids = sorted({arrival.pid for arrival in arrivals})
        sweeper = await self.ground.sweeper()  # spared, as its own successor would only take over seconds later
        stopped = [pid for pid in pids if pid != sweeper][:2] if len(pids) > 1 else []
        for pid in stopped:
            send(pid, signal.SIGSTOP)
        for arrival in arrivals:
            if arrival.pid not in stopped:
                arrival.open()
        zombies = []
        for job, gate, arrival in zip(jobs, gates, arrivals, strict=True):
            if arrival.pid in stopped:
                zombies.append(Zombie(job, gate, arrival, await self._heir(job, gate)))
        return zombies

    async def _heir(self, job: UUID, gate: str) -> Arrival:
        try:
            return await self.ground.gates.next(gate)
        except TimeoutError:
            raise AssertionError(f"nobody has taken over\n{await self.ground.story(job)}") from None

    def _resume(self, zombies: list[Zombie]) -> None:
        for pid in {zombie.stopped.pid for zombie in zombies}:
            send(pid, signal.SIGCONT)

    async def _let_heirs_finish(self, zombies: list[Zombie]) -> None:
        for zombie in zombies:
            zombie.heir.open()
        self.expect("not terminal", len(await self.ground.all_end([zombie.job for zombie in zombies])))

    async def _kept_segments(self, zombies: list[Zombie]) -> bool:
        """Has every heir written what it will write while it waits?"""
        asked = "SELECT count(*) FROM transcript_jobs WHERE id = ANY($1::uuid[]) AND segments_n = 1"
        jobs = [zombie.job for zombie in zombies]
        return int(await self.ground.sql.fetchval(asked, jobs)) == len(jobs)

    async def _refused_or_harmed(self, zombies: list[Zombie]) -> bool:
        """Has every zombie said its last word, whatever it did?"""
        return all(await asyncio.gather(*(self._last_word(zombie) for zombie in zombies)))

    async def _last_word(self, zombie: Zombie) -> bool:
        refused = await asyncio.to_thread(self.ground.said_in_logs, zombie.job, REFUSED)
        if refused:
            return True
        (state,) = (await self.ground.states([zombie.job])).values()
        return state in TERMINAL and not zombie.heir.gone.done()

    async def _portrait(self, job: UUID) -> dict[str, Any]:
        """Everything that a zombie might write to."""
        ground = self.ground
        row = dict(await ground.sql.fetchrow("SELECT * FROM transcript_jobs WHERE id = $1", job))
        transcript = await ground.sql.fetchrow("SELECT * FROM transcripts WHERE id = $1", row["transcript_id"])
        events = await ground.sql.fetch("SELECT * FROM job_events WHERE job_id = $1 ORDER BY seq", job)
        segments = await ground.sql.fetch("SELECT * FROM transcript_segments WHERE job_id = $1 ORDER BY fence, n", job)
        return {
            "row": {name: value for name, value in row.items() if name not in VOLATILE},
            "result": dict(transcript),
            "events": [dict(event) for event in events],
            "segments": [dict(segment) for segment in segments],
            "objects": ground.objects(job),
            "Redis key": hashlib.sha256(await ground.redis.get(f"job:{job}:status") or b"").hexdigest(),
        }

    async def _expect_the_heir_s(self, zombie: Zombie) -> None:
        answer = await self.ground.http.get(f"/api/transcribe/jobs/result/{zombie.job}")
        heard_by = answer.json().get("text") if answer.status_code == 200 else f"nobody ({answer.status_code})"
        self.expect("results of another than the heir", int(heard_by != str(zombie.heir.pid)))
