"""G8: from the 202 to the first events of a job on its stream.

    python -m bench.first_event [--jobs 200]

A client posts a recording of a second and opens the stream as soon as it has the id, on a connection of its own. The
decoder is the real one; the engine says at once that it has begun, and has its one segment after 0.5 s.
"""

import asyncio
import random
import re
import sys
from collections.abc import Sequence
from time import time

from rich.progress import Progress

from bench import stubs
from bench.connection import Connection, form
from bench.listening import EVENT, listening
from bench.measure import Goal, Line, present, quantile
from bench.plugin import installed
from bench.running import Running, running
from bench.timed_jobs import SUBMIT
from tests.support.audio import tone
from workers.main import POLL_SECONDS

STREAM = "/api/transcribe/jobs/stream"
SIGNS = {
    "first event (how the job stands)": EVENT,
    "told that a worker has begun": re.compile(rb'"status":"processing"'),
    "progress of the engine, or a segment": re.compile(rb'"type":"(progress|segment)"'),
    "end": re.compile(rb'"status":"completed"'),
}
JUDGED = "told that a worker has begun"
P50_MS, P99_MS = Goal(100, "≤"), Goal(300, "≤")
ENGINE_SECONDS = 0.5


async def _one(platform: Running, connection: Connection, body: bytes) -> dict[str, float]:
    """Milliseconds from the 202 to each of the signs."""
    await asyncio.sleep(random.uniform(0, POLL_SECONDS))  # at any point between two polls
    job = (await connection.post(SUBMIT, body))["job_id"]
    answered = time()
    async with listening(platform.address, f"{STREAM}/{job}") as [stream]:
        return {name: 1000 * (await stream.first(sign) - answered) for name, sign in SIGNS.items()}


async def _jobs(bar: Progress, count: int) -> list[dict[str, float]]:
    task = bar.add_task(f"{count} jobs and their streams", total=count)
    body, found = form(tone(1.0), engine=stubs.ENGINE), []
    with installed(stubs.SOURCE) as engines:
        environ = {**engines, "WORKERS_COUNT": "1", stubs.ENGINE_SECONDS: str(ENGINE_SECONDS)}
        async with running(environ) as platform, Connection(platform.address) as connection:
            await _one(platform, connection, body)
            for _ in range(count):
                found.append(await _one(platform, connection, body))
                bar.advance(task)
    return found


def measure(bar: Progress, *, jobs: int = 200) -> list[Line]:
    found = asyncio.run(_jobs(bar, jobs))
    waits = {name: [job[name] for job in found] for name in SIGNS}
    return [line for name, each in waits.items() for line in _lines(name, each, judged=name == JUDGED)]


def _lines(name: str, waits: Sequence[float], *, judged: bool) -> list[Line]:
    goals = ((0.5, P50_MS), (0.99, P99_MS)) if judged else ((0.5, None),)
    return [Line(f"{name}, p{100 * share:.0f}", "", "", quantile(waits, share), "ms", goal) for share, goal in goals]


if __name__ == "__main__":
    sys.exit(present(__doc__, "From the 202 to the first events", measure))
