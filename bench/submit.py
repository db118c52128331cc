"""G4: how long a submission takes at 50 a second, beside a bare FastAPI route that inserts one row.

    python -m bench.submit [--rounds 4] [--slot-seconds 2.5]

The load is an open loop: a request is due every 20 ms, whatever became of those before, and its time counts from when
it was due. Both are sent the same form with a recording of 1 KB; only the platform keeps it (fsync), rings and tells.
A worker is there, and holds as many jobs as it takes, so that what is measured is submitting alone.
"""

import asyncio
import sys
from dataclasses import dataclass, field

from rich.progress import Progress

from bench import bare_api, stubs
from bench.connection import Connection, form
from bench.measure import Goal, Line, Runs, abba, present, quantile
from bench.plugin import installed
from bench.running import running
from bench.timed_jobs import SUBMIT
from tests.support.audio import tone

PER_SECOND = 50
P50_AGAINST, P99_AGAINST, P50_MS, P99_MS = Goal(1.5, "≤"), Goal(2, "≤"), Goal(10, "≤"), Goal(40, "≤")
FOR_EVER = str(24 * 3600)


@dataclass(slots=True)
class Load:
    """Posts to one server over as many kept-alive connections as are busy at once."""

    address: tuple[str, int]
    path: str
    body: bytes
    idle: list[Connection] = field(default_factory=list)

    async def slot(self, seconds: float) -> list[float]:
        """Milliseconds of every request of a slot, from when it was due."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        dues = [began + number / PER_SECOND for number in range(round(seconds * PER_SECOND))]
        async with asyncio.TaskGroup() as together:
            tasks = [together.create_task(self._post(due)) for due in dues]
        await self._close()  # the server would, while the other one has its turn
        return [task.result() for task in tasks]

    async def _post(self, due: float) -> float:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(due - loop.time())
        connection = self.idle.pop() if self.idle else await Connection(self.address).__aenter__()
        await connection.post(self.path, self.body)
        self.idle.append(connection)
        return 1000 * (loop.time() - due)

    async def _close(self) -> None:
        while self.idle:
            await self.idle.pop().__aexit__()


async def _slots(bar: Progress, rounds: int, slot_seconds: float) -> Runs[list[float]]:
    runs: Runs[list[float]] = Runs()
    task = bar.add_task(f"{PER_SECOND} submissions a second", total=4 * rounds + 2)
    body = form(tone(0.03), engine=stubs.ENGINE)
    stub = {stubs.DECODE_SECONDS: "0", stubs.ENGINE_SECONDS: FOR_EVER, "WORKERS_COUNT": "1", "WORKER_GRACE_SEC": "0.1"}
    with installed(stubs.SOURCE) as found:
        async with running(found | stub) as platform, bare_api.beside(platform) as anchor:
            loads = {"anchor": Load(anchor, "/insert", body), "ours": Load(platform.address, SUBMIT, body)}
            for number, side in enumerate(("anchor", "ours", *abba(rounds))):
                slot = await loads[side].slot(slot_seconds)
                if number >= 2:  # the first of each side warm up
                    runs.add(side, slot)
                bar.advance(task)
    return runs


def _lines(runs: Runs[list[float]]) -> list[Line]:
    ours, anchor = ([wait for slot in side for wait in slot] for side in (runs.ours, runs.anchor))
    lines = []
    for share, against, goal in ((0.5, P50_AGAINST, P50_MS), (0.99, P99_AGAINST, P99_MS)):
        mine, theirs = quantile(ours, share), quantile(anchor, share)
        shown = f"{mine.value:.1f} ms", f"{theirs.value:.1f} ms"
        lines.append(Line(f"submission, p{100 * share:.0f}", *shown, mine, "ms", goal))
        lines.append(Line(f"   p{100 * share:.0f} ÷ bare FastAPI + 1 insert", *shown, mine.over(theirs), goal=against))
    return [*lines, Line("   the same side again (A/A), p50", "", "", runs.noise(lambda slot: quantile(slot).value))]


def measure(bar: Progress, *, rounds: int = 4, slot_seconds: float = 2.5) -> list[Line]:
    return _lines(asyncio.run(_slots(bar, rounds, slot_seconds)))


if __name__ == "__main__":
    sys.exit(present(__doc__, "Submissions", measure))
