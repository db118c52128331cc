"""G2: jobs a second that do nothing, beside bare arq with the same settings and beside raw Redis.

    python -m bench.queue_rate [--jobs 500] [--rounds 2]

One worker process each, with as many jobs at once as the platform ships with. All jobs wait when the clock starts. The
platform's jobs go through the whole pipeline, with a decoder that does nothing; a line apart has the real one.
"""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter, time
from uuid import UUID, uuid4

from redis import Redis
from rich.progress import Progress

from bench import bare_arq, stubs
from bench.backlog import Backlog
from bench.ends import Ends
from bench.measure import Goal, Line, Runs, abba, present, quantile
from bench.plugin import installed
from bench.processes import cpu_seconds
from bench.running import Running, running

AGAINST_ARQ, AGAINST_RAW = Goal(0.35, "≥"), Goal(0.10, "≥")
LAST = 16
"""So many of the last jobs are listened for: more than can overtake one another."""


@dataclass(frozen=True, slots=True)
class Run:
    rate: float
    """Jobs a second, from the ring for all of them to the last end."""
    cpu_ms: float
    """Processor time a job, of the worker."""


async def platform_run(platform: Running, backlog: Backlog, count: int) -> Run:
    worker = [platform.process("workers")]
    jobs, cpu = await backlog.add(count), cpu_seconds(worker)
    async with Ends.heard_at(_redis(platform), *jobs[-LAST:]) as ends:
        began = time()
        await backlog.ring(jobs)
        await _all(ends, jobs[-LAST:])
    return Run(count / (await backlog.ended(jobs) - began), 1000 * (cpu_seconds(worker) - cpu) / count)


async def arq_run(platform: Running, backlog: Backlog, count: int) -> Run:
    worker = [platform.process("bench.bare_arq")]
    cpu = cpu_seconds(worker)
    jobs = [uuid4().hex if left <= LAST else bare_arq.UNHEARD + uuid4().hex for left in range(count, 0, -1)]
    async with Ends.heard_at(_redis(platform)) as ends:
        began = time()
        await backlog.ring_arq(bare_arq.QUEUE, bare_arq.TASK, [(job, "argument") for job in jobs])
        last = max(await asyncio.gather(*(ends.of(job) for job in jobs[-LAST:])))
    return Run(count / (last - began), 1000 * (cpu_seconds(worker) - cpu) / count)


def raw_rate(platform: Running, count: int) -> float:
    """BRPOPs a second of one client, one after another."""
    with Redis.from_url(_redis(platform)) as redis:
        redis.lpush("bench:raw", *range(count))
        began = perf_counter()
        for _ in range(count):
            redis.brpop(["bench:raw"])
        return count / (perf_counter() - began)


async def _all(ends: Ends, jobs: Sequence[UUID]) -> None:
    await asyncio.gather(*(ends.of(str(job)) for job in jobs))


def _redis(platform: Running) -> str:
    return platform.embedded.settings.redis.url.get_secret_value()


async def _compare(bar: Progress, jobs: int, rounds: int) -> tuple[Runs[Run], list[float]]:
    runs: Runs[Run] = Runs()
    raw: list[float] = []
    task = bar.add_task(f"{jobs} jobs beside bare arq", total=4 * rounds + 1)
    with installed(stubs.SOURCE) as found:
        async with running({**found, "WORKERS_COUNT": "1", stubs.DECODE_SECONDS: "0"}) as platform:
            await platform.supervisor.start(bare_arq.child(platform.embedded.settings.redis))
            async with Backlog.beside(platform) as backlog:
                await platform_run(platform, backlog, jobs // 10)
                await arq_run(platform, backlog, jobs // 10)
                bar.advance(task)
                for side in abba(rounds):
                    make = platform_run if side == "ours" else arq_run
                    runs.add(side, await make(platform, backlog, jobs))
                    if side == "ours":
                        raw.append(await asyncio.to_thread(raw_rate, platform, jobs))
                    bar.advance(task)
    return runs, raw


async def _with_decoder(bar: Progress, jobs: int) -> float:
    task = bar.add_task(f"{jobs} jobs with the decoder", total=1)
    with installed(stubs.SOURCE) as found:
        async with running({**found, "WORKERS_COUNT": "1"}) as platform, Backlog.beside(platform) as backlog:
            await platform_run(platform, backlog, jobs // 10)
            rate = (await platform_run(platform, backlog, jobs)).rate
    bar.advance(task)
    return rate


def measure(bar: Progress, *, jobs: int = 500, rounds: int = 2) -> list[Line]:
    runs, raw = asyncio.run(_compare(bar, jobs, rounds))
    decoded = asyncio.run(_with_decoder(bar, jobs // 5))
    rates = [run.rate for run in runs.ours]
    ours, arq, bare = (f"{quantile(each).value:,.0f}/s" for each in (rates, [run.rate for run in runs.anchor], raw))
    cpu = [f"{quantile([run.cpu_ms for run in side]).value:.2f} ms" for side in (runs.ours, runs.anchor)]
    against_raw = quantile([rate / of_raw for rate, of_raw in zip(rates, raw, strict=True)])
    return [
        Line("jobs a second ÷ bare arq", ours, arq, runs.ratio(lambda run: run.rate), goal=AGAINST_ARQ),
        Line("   the same side again (A/A)", "", "", runs.noise(lambda run: run.rate)),
        Line("   ÷ raw BRPOP", ours, bare, against_raw, goal=AGAINST_RAW),
        Line("   processor time a job ÷ bare arq", cpu[0], cpu[1], runs.ratio(lambda run: run.cpu_ms)),
        Line("   with the decoder ÷ without", f"{decoded:,.0f}/s", ours, quantile([decoded / rate for rate in rates])),
    ]


if __name__ == "__main__":
    sys.exit(present(__doc__, "Jobs that do nothing, one worker", measure))
