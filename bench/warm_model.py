"""G12: how often a model is loaded for 100 jobs, and how soon a job reaches a model that is there.

    python -m bench.warm_model [--jobs 100]

A stub model in a child of the real engine server notes when it is loaded and when a recording reaches it. What lies
before is timed from the claim, the decoder taken off: fetching, two transactions, the way to the child.
"""

import asyncio
import sys

from rich.progress import Progress

from bench import stopwatch
from bench.connection import Connection
from bench.measure import Estimate, Goal, Line, present, quantile
from bench.timed_jobs import Job, prepared
from tests.support.audio import tone

LOADS, BEFORE_MS = Goal(1, "≤"), Goal(50, "≤")


async def _jobs(bar: Progress, count: int) -> tuple[int, list[tuple[Job, float]]]:
    """How often the model was loaded; and the jobs that found it there, each with when it was claimed."""
    task = bar.add_task(f"{count} jobs for one model", total=count)
    recording, jobs = tone(1.0), []
    async with prepared() as bench, Connection(bench.platform.address) as connection:
        for _ in range(count):
            jobs.append(await bench.job(connection, stopwatch.TIMED_MODEL, recording))
            bar.advance(task)
        claims = await bench.claims(jobs)
    warm = [job for job in jobs if job.load is None]
    return len(jobs) - len(warm), [(job, claims[job.id]) for job in warm]


def _lines(loads: int, warm: list[tuple[Job, float]]) -> list[Line]:
    before, call = [], []
    for job, claimed in warm:
        assert job.model is not None
        before.append(1000 * (job.model.began - claimed - job.decode.seconds))
        call.append(1000 * (job.model.began - job.engine.began))
    return [
        Line(f"model loads in {len(warm) + loads} jobs", "", "", Estimate.exact(loads), "", LOADS),
        Line("claim → warm model, decoder apart, p50", "", "", quantile(before), "ms", BEFORE_MS),
        Line("   p99", "", "", quantile(before, 0.99), "ms"),
        Line("   of it, engine asked → in the model's child", "", "", quantile(call), "ms"),
    ]


def measure(bar: Progress, *, jobs: int = 100) -> list[Line]:
    return _lines(*asyncio.run(_jobs(bar, jobs)))


if __name__ == "__main__":
    sys.exit(present(__doc__, "A model that stays loaded", measure))
