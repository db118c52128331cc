"""G13: do the next recordings get decoded while the engine is at one?

    python -m bench.overlap [--jobs 20] [--rounds 5]

A decoder and an engine that take 0.25 s each and no processor; the engine hears one recording at a time, as a model
does. Jobs one after another would take n·(d + e); the least there can be is d + n·max(d, e). One worker; timed from the
first claim to the last end, all jobs waiting from the start.
"""

import asyncio
import sys

from rich.progress import Progress

from bench import stubs
from bench.backlog import Backlog
from bench.ends import Ends
from bench.measure import Goal, Line, present, quantile
from bench.plugin import installed
from bench.running import running

SECONDS = 0.25
AGAINST_IDEAL, AGAINST_SERIAL = Goal(1.15, "≤"), Goal(0.65, "≤")


async def _walls(bar: Progress, jobs: int, rounds: int) -> list[float]:
    task = bar.add_task(f"{jobs} jobs at an engine that hears one at a time", total=rounds)
    stub = {stubs.DECODE_SECONDS: str(SECONDS), stubs.ENGINE_SECONDS: str(SECONDS), stubs.ENGINE_AT_ONCE: "1"}
    walls = []
    with installed(stubs.SOURCE) as found:
        async with running({**found, **stub, "WORKERS_COUNT": "1"}) as platform, Backlog.beside(platform) as backlog:
            redis = platform.embedded.settings.redis.url.get_secret_value()
            for _ in range(rounds):
                batch = await backlog.add(jobs)
                async with Ends.heard_at(redis, *batch) as ends:
                    await backlog.ring(batch)
                    await asyncio.gather(*(ends.of(str(job)) for job in batch))
                walls.append(await backlog.ended(batch) - await backlog.begun(batch))
                bar.advance(task)
    return walls


def measure(bar: Progress, *, jobs: int = 20, rounds: int = 5) -> list[Line]:
    walls = asyncio.run(_walls(bar, jobs, rounds))
    ideal, serial = SECONDS + jobs * SECONDS, jobs * 2 * SECONDS
    ours = f"{quantile(walls).value:.2f} s"
    return [
        Line(
            "wall ÷ the least there can be",
            ours,
            f"{ideal:.2f} s",
            quantile([w / ideal for w in walls]),
            goal=AGAINST_IDEAL,
        ),
        Line(
            "   ÷ one after another",
            ours,
            f"{serial:.2f} s",
            quantile([w / serial for w in walls]),
            goal=AGAINST_SERIAL,
        ),
    ]


if __name__ == "__main__":
    sys.exit(present(__doc__, "Decoding while the engine works", measure))
