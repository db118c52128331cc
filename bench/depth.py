"""G3: what a job costs with 10 to 10,000 others in the queue, of one owner or many, and 100,000 finished ones behind.

    python -m bench.depth [--jobs 200] [--rounds 2] [--finished 100000]

One worker, an engine and a decoder that do nothing. While jobs are timed, others take the places of those that end, so
that the queue stays as long as the line says (to twice that). Claims are timed in the worker, with the choice of a job.
"""

import asyncio
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import time
from uuid import UUID

from rich.progress import Progress

from bench import stubs
from bench.backlog import Backlog
from bench.ends import Ends
from bench.measure import Estimate, Goal, Line, present, quantile
from bench.plugin import installed
from bench.running import running
from domain.access import LOCAL_OWNER

DEPTHS = (10, 100, 1_000, 10_000)
MANY = 100
"""Owners, who share the longest queue once more."""
RATE, CLAIM = Goal(0.9, "≥"), Goal(1.5, "≤")


Scene = tuple[int, int]
"""How many jobs are queued, and how many owners they are of."""
SCENES: tuple[Scene, ...] = (*((depth, 1) for depth in DEPTHS), (DEPTHS[-1], MANY))


@dataclass(frozen=True, slots=True)
class Run:
    """`count` jobs at one depth: jobs a second, and the seconds of their claims."""

    rate: float
    claims: list[float]


@dataclass(frozen=True, slots=True)
class Queue:
    backlog: Backlog
    redis_url: str
    claims: Path

    async def run(self, depth: int, count: int, owners: int = 1) -> Run:
        step = min(depth, count)
        waiting = await self._put(depth + step, owners)
        seen = len(self._claims())
        ended: list[UUID] = []
        began = time()
        while len(ended) < count:
            batch, waiting = waiting[:step], waiting[step:]
            async with Ends.heard_at(self.redis_url, batch[-1]) as ends:
                if await self.backlog.unfinished(batch[-1]):
                    await ends.of(str(batch[-1]))
            ended += batch
            if len(ended) < count:
                waiting += await self._put(step, owners)
        seconds = time() - began
        claims = self._claims()[seen:][: len(ended)]
        await self._clear()
        return Run(len(ended) / seconds, claims)

    async def _put(self, count: int, owners: int) -> list[UUID]:
        named = [f"owner-{n}" for n in range(owners)] if owners > 1 else [LOCAL_OWNER]
        jobs = await self.backlog.add(count, owners=named)
        await self.backlog.ring(jobs)
        return jobs

    async def _clear(self) -> None:
        """Leave an empty queue: one more job, behind all that is taken back, says that the worker has come to rest."""
        await self.backlog.clear()
        [last] = await self.backlog.add(1)
        async with Ends.heard_at(self.redis_url, last) as ends:
            await self.backlog.ring([last])
            await ends.of(str(last))

    def _claims(self) -> list[float]:
        return [float(line) for line in self.claims.read_text().split()]


async def _runs(bar: Progress, jobs: int, rounds: int, finished: int) -> dict[Scene, list[Run]]:
    task = bar.add_task(f"{jobs} jobs at each depth", total=1 + 2 * rounds * len(SCENES))
    found: dict[Scene, list[Run]] = {scene: [] for scene in SCENES}
    with tempfile.TemporaryDirectory(prefix="escriba-bench-") as folder, installed(stubs.SOURCE) as engines:
        claims = Path(folder) / "claims"
        claims.touch()
        stub = {stubs.DECODE_SECONDS: "0", stubs.CLAIMS: str(claims), "WORKERS_COUNT": "1"}
        async with running(engines | stub) as platform, Backlog.beside(platform) as backlog:
            queue = Queue(backlog, platform.embedded.settings.redis.url.get_secret_value(), claims)
            await backlog.add_finished(finished)
            await queue.run(DEPTHS[0], jobs)
            bar.advance(task)
            for depth, owners in _turns(rounds):
                found[depth, owners].append(await queue.run(depth, jobs, owners))
                bar.advance(task)
    return found


def _turns(rounds: int) -> Iterator[Scene]:
    """There and back: a machine that warms up or slows down favours no depth."""
    for _ in range(rounds):
        yield from (*SCENES, *reversed(SCENES))


def _lines(found: dict[Scene, list[Run]]) -> list[Line]:
    rates = {depth: [run.rate for run in runs] for (depth, owners), runs in found.items() if owners == 1}
    p99 = {depth: _p99(runs) for (depth, owners), runs in found.items() if owners == 1}
    shared = found[DEPTHS[-1], MANY]
    return [
        Line(
            "rate with 10,000 queued ÷ with 1,000",
            f"{quantile(rates[10_000]).value:,.0f}/s",
            f"{quantile(rates[1_000]).value:,.0f}/s",
            quantile([deep / flat for deep, flat in zip(rates[10_000], rates[1_000], strict=True)]),
            goal=RATE,
        ),
        Line(
            "claim p99 with 10,000 queued ÷ with 100",
            f"{1000 * p99[10_000].value:.1f} ms",
            f"{1000 * p99[100].value:.1f} ms",
            p99[10_000].over(p99[100]),
            goal=CLAIM,
        ),
        Line(
            f"rate with 10,000 queued of {MANY} owners ÷ of one",
            f"{quantile([run.rate for run in shared]).value:,.0f}/s",
            f"{quantile(rates[10_000]).value:,.0f}/s",
            quantile([run.rate / flat for run, flat in zip(shared, rates[10_000], strict=True)]),
            goal=RATE,
        ),
        Line(
            f"claim p99 with 10,000 queued of {MANY} owners ÷ of one",
            f"{1000 * _p99(shared).value:.1f} ms",
            f"{1000 * p99[10_000].value:.1f} ms",
            _p99(shared).over(p99[10_000]),
            goal=CLAIM,
        ),
        *(Line(f"   rate with {depth:,} queued", "", "", quantile(each), "/s") for depth, each in rates.items()),
    ]


def _p99(runs: list[Run]) -> Estimate:
    return quantile([claim for run in runs for claim in run.claims], 0.99)


def measure(bar: Progress, *, jobs: int = 200, rounds: int = 2, finished: int = 100_000) -> list[Line]:
    return _lines(asyncio.run(_runs(bar, jobs, rounds, finished)))


if __name__ == "__main__":
    sys.exit(present(__doc__, "Jobs behind a long queue", measure))
