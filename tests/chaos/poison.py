"""P6: jobs that kill their workers are tried three times, and take nobody along."""

import asyncio
from dataclasses import dataclass
from time import monotonic
from typing import Any
from uuid import UUID

from tests.chaos.audit import expect_one_end_each
from tests.chaos.campaign import Campaign
from tests.chaos.ground import SLOTS, WORKERS

TRIES = 3
POISON_SECONDS = 0.5
"""Between the first word and the blow: time enough for innocents to be at work beside it."""

LEAST_RATE = 0.9


@dataclass(frozen=True, slots=True)
class Size:
    killers: int
    eaters: int
    innocents: int
    innocent_seconds: float
    rated: bool
    """Whether there is work enough for its rate to say something."""


class Poison(Campaign[Size]):
    promise = "P6"
    title = "Poison is contained"
    fault = "jobs that SIGKILL their process, jobs that eat its memory"
    parts = ("poison",)
    repeated = ("killers", "eaters")
    smoke = Size(killers=4, eaters=1, innocents=12, innocent_seconds=2, rated=False)
    full = Size(killers=5, eaters=3, innocents=300, innocent_seconds=6, rated=True)

    async def poison(self) -> None:
        await self.ground.all_workers()
        undisturbed = await self._undisturbed() if self.size.rated else None
        await self.ground.all_workers()
        began = monotonic()
        guilty, innocents = await self._submit_among_each_other()
        self.injected(len(guilty))
        self.expect("innocents not terminal", len(await self.ground.all_end(innocents, patience=60)))
        wall = monotonic() - began
        await expect_one_end_each(self, guilty, patience=60)
        await expect_one_end_each(self, innocents)
        rows = await self._rows(guilty)
        self.expect("poison jobs tried other than three times", sum(row["fence"] != TRIES for row in rows))
        blamed = sum(row["code"] != "worker_crashed" for row in rows)
        self.expect("poison jobs not failed as worker_crashed", blamed)
        rows = await self._rows(innocents)
        self.expect("innocents failed", sum(row["state"] != "completed" for row in rows))
        self.count("innocents charged", sum(row["crash_count"] > 0 for row in rows))
        if undisturbed is not None:
            self.note("rate of the rest beside undisturbed", undisturbed / wall)
            self.expect("rate of the rest too low", int(undisturbed / wall < LEAST_RATE))

    async def _undisturbed(self) -> float:
        """Seconds that the innocents take by themselves."""
        began = monotonic()
        jobs = await asyncio.gather(*(self._innocent() for _ in range(self.size.innocents)))
        self.expect("not terminal", len(await self.ground.all_end(jobs, patience=60)))
        return monotonic() - began

    async def _submit_among_each_other(self) -> tuple[list[UUID], list[UUID]]:
        """The guilty early, so that whoever is beside them is."""
        engines = ["poisonous"] * self.size.killers + ["hungry"] * self.size.eaters
        beside = [self._innocent() for _ in range(WORKERS * SLOTS - len(engines))]
        mixed = [*(self.ground.submit(engine, seconds=POISON_SECONDS) for engine in engines), *beside]
        first = await asyncio.gather(*mixed)
        rest = await asyncio.gather(*(self._innocent() for _ in range(self.size.innocents - len(beside))))
        return first[: len(engines)], [*first[len(engines) :], *rest]

    async def _innocent(self) -> UUID:
        return await self.ground.submit("steady", seconds=self.size.innocent_seconds)

    async def _rows(self, jobs: list[UUID]) -> list[dict[str, Any]]:
        asked = (
            "SELECT state, fence, crash_count, error_details->>'code' AS code FROM transcript_jobs"
            " WHERE id = ANY($1::uuid[])"
        )
        return [dict(row) for row in await self.ground.sql.fetch(asked, jobs)]
