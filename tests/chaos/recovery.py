"""P5: the job of a worker that died is worked on again within seconds; one that is only silent keeps it."""

import signal
from dataclasses import dataclass
from time import time
from types import MappingProxyType
from typing import ClassVar
from uuid import uuid4

from tests.chaos.campaign import Campaign, quantile
from tests.chaos.gates import Arrival
from tests.chaos.ground import LEASE_SECONDS, SLOTS, send

SHIPPED_LEASE_SECONDS = 15.0

AT_ONCE = SLOTS
"""Jobs of one round: fewer than there is room for, so that whoever survives has room for all."""

SWEEPER_SECONDS = 6.0
"""What a kill of the worker that sweeps adds at most, where leases are shorter than its duty's (services.upkeep)."""

ALLOWANCE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Size:
    kills: int
    leases_spun: int


class Recovery(Campaign[Size]):
    promise = "P5"
    title = "Crash recovery in seconds"
    fault = "kill -9 of a worker in the middle of its jobs; a model that computes in C for many leases"
    parts: ClassVar[tuple[str, ...]] = ("kills", "spins")
    repeated = ("kills",)
    smoke: ClassVar[Size | None] = Size(kills=3, leases_spun=4)
    full = Size(kills=100, leases_spun=10)
    lease_seconds = LEASE_SECONDS
    allowed_seconds = max(LEASE_SECONDS, SWEEPER_SECONDS) + ALLOWANCE_SECONDS

    async def kills(self) -> None:
        recoveries: list[float] = []
        for _ in range(self.size.kills):
            recoveries += await self._recoveries()
            self.injected()
        self.count("jobs taken over", len(recoveries))
        self.note("p50 until worked on again, s", quantile(recoveries, 0.5))
        self.at_most("p99 until worked on again, s", quantile(recoveries, 0.99), self.allowed_seconds)

    async def _recoveries(self) -> list[float]:
        """Kill the worker of some jobs: for each, the seconds until it is being worked on again."""
        await self.ground.all_workers()
        gates = {uuid4().hex: None for _ in range(AT_ONCE)}
        jobs = {gate: await self.ground.submit("gated", gate=gate) for gate in gates}
        arrivals = {gate: await self.ground.gates.next(gate) for gate in gates}
        victim = self.chance.choice([arrival.pid for arrival in arrivals.values()])
        killed_at = time()
        send(victim, signal.SIGKILL)
        found = []
        for gate, arrival in arrivals.items():
            heir: Arrival = arrival
            if arrival.pid == victim:
                heir = await self.ground.gates.next(gate)
                found.append((await self.ground.moments(jobs[gate], "processing"))[-1] - killed_at)
            heir.open()
        self.expect("not terminal", len(await self.ground.all_end(list(jobs.values()))))
        return found

    async def spins(self) -> None:
        """The heartbeat goes on, whatever the model does to its process."""
        seconds = self.size.leases_spun * self.lease_seconds
        job = await self.ground.submit("spinning", seconds=seconds)
        self.injected()
        self.expect("not terminal", len(await self.ground.all_end([job], patience=4 * seconds + 30)))
        row = await self.ground.sql.fetchrow("SELECT fence, crash_count, state FROM transcript_jobs WHERE id = $1", job)
        self.expect("leases lost while a model computes", row["crash_count"] + row["fence"] - 1)
        self.expect("spinning jobs not completed", int(row["state"] != "completed"))


class ShippedRecovery(Recovery):
    """The same with the lease as it is shipped: what an operator gets."""

    title = "Crash recovery in seconds, with the lease as shipped"
    parts = ("kills",)
    environ = MappingProxyType({"JOB_LEASE_SEC": str(SHIPPED_LEASE_SECONDS)})
    smoke = None
    full = Size(kills=8, leases_spun=0)
    lease_seconds = SHIPPED_LEASE_SECONDS
    allowed_seconds = SHIPPED_LEASE_SECONDS + ALLOWANCE_SECONDS
