"""G17: what a worker grows by from its 100th job to its 1,000th.

    python -m bench.leak [--jobs 1000]

Recordings of a second through the API, the real decoder and an engine that does nothing; one worker. Its memory is
looked at after every 25 jobs, and so is the API's.
"""

import asyncio
import sys

from rich.progress import Progress

from bench import stubs
from bench.connection import Connection, form
from bench.ends import Ends
from bench.measure import Goal, Line, present, slope
from bench.plugin import installed
from bench.running import running
from bench.timed_jobs import SUBMIT
from tests.support.audio import tone

WARM, EVERY = 100, 25
KIB_A_JOB = Goal(10, "≤")

Points = list[tuple[float, float]]
"""Jobs done, and the KiB that the process has in memory."""


async def _grow(bar: Progress, jobs: int) -> dict[str, Points]:
    task = bar.add_task(f"{jobs} jobs", total=jobs)
    points: dict[str, Points] = {"workers": [], "api": []}
    body = form(tone(1.0), engine=stubs.ENGINE)
    with installed(stubs.SOURCE) as found:
        async with running({**found, "WORKERS_COUNT": "1"}) as platform, Connection(platform.address) as connection:
            processes = {module: platform.process(module) for module in points}
            async with Ends.heard_at(platform.embedded.settings.redis.url.get_secret_value()) as ends:
                for done in range(EVERY, jobs + 1, EVERY):
                    batch = [await connection.post(SUBMIT, body) for _ in range(EVERY)]
                    await asyncio.gather(*(ends.of(job["job_id"]) for job in batch))
                    if done >= WARM:
                        for module, process in processes.items():
                            points[module].append((done, process.memory_info().rss / 1024))
                    bar.advance(task, EVERY)
    return points


def measure(bar: Progress, *, jobs: int = 1000) -> list[Line]:
    points = asyncio.run(_grow(bar, jobs))
    goals = {"workers": KIB_A_JOB, "api": None}
    names = {"workers": f"growth of the worker, jobs {WARM} to {jobs:,}", "api": "   of the API"}
    return [
        Line(names[module], f"{each[-1][1] / 1024:.0f} MiB", "", slope(each), "KiB a job", goals[module])
        for module, each in points.items()
    ]


if __name__ == "__main__":
    sys.exit(present(__doc__, "Memory over many jobs", measure))
