"""G22: jobs a second while a worker is killed every ten seconds, beside none being killed.

    python -m bench.kills [--rounds 3] [--seconds 10]

Four workers as shipped, an engine of half a second and a decoder that does nothing; there is always more to do than
they can. In every other slot of ten seconds the one that has run longest gets SIGKILL as the slot begins. In the end
what still waits is taken back, and every other job must have completed, those of the killed ones too.
"""

import asyncio
import sys
from dataclasses import dataclass

from rich.progress import Progress

from bench import stubs
from bench.backlog import Backlog
from bench.measure import Estimate, Goal, Line, Runs, abba, present, quantile
from bench.plugin import installed
from bench.running import Running, running

TOLL = """
SELECT coalesce(sum(crash_count), 0)::int, count(*) FILTER (WHERE state NOT IN ('completed', 'cancelled'))
FROM transcript_jobs
"""

WORKERS = 4
ENGINE_SECONDS = 0.5
MOST_A_SECOND = 30
"""Jobs put a second: more than four workers of three places can do with such an engine."""

KEPT, LOST = Goal(0.8, "≥"), Goal(0, "≤")


@dataclass(frozen=True, slots=True)
class Outcome:
    rates: Runs[float]
    crashes: int
    """Times that a job's lease ran out."""
    lost: int
    """Jobs that have neither completed nor been taken back."""


async def _slot(platform: Running, backlog: Backlog, seconds: float, *, kill: bool) -> float:
    """Jobs a second."""
    await backlog.ring(await backlog.add(round(MOST_A_SECOND * seconds)))
    before = await backlog.completed()
    if kill:
        min(platform.processes("workers"), key=lambda worker: worker.create_time()).kill()
    await asyncio.sleep(seconds)
    return (await backlog.completed() - before) / seconds


async def _slots(bar: Progress, rounds: int, seconds: float) -> Outcome:
    task = bar.add_task("jobs while workers are killed", total=4 * rounds + 1)
    rates: Runs[float] = Runs()
    stub = {stubs.DECODE_SECONDS: "0", stubs.ENGINE_SECONDS: str(ENGINE_SECONDS), "WORKERS_COUNT": str(WORKERS)}
    with installed(stubs.SOURCE) as found:
        async with running(found | stub) as platform, Backlog.beside(platform) as backlog:
            for number, side in enumerate(("anchor", *abba(rounds))):
                rate = await _slot(platform, backlog, seconds, kill=side == "ours")
                if number >= 1:  # the first warms up
                    rates.add(side, rate)
                bar.advance(task)
            await backlog.clear()
            await backlog.rest(platform.embedded.settings.redis.url.get_secret_value())
            return Outcome(rates, *await backlog.sql.fetchrow(TOLL))


def measure(bar: Progress, *, rounds: int = 3, seconds: float = 10.0) -> list[Line]:
    outcome = asyncio.run(_slots(bar, rounds, seconds))
    ours, anchor = (f"{quantile(side).value:.1f}/s" for side in (outcome.rates.ours, outcome.rates.anchor))
    taken_over = f"{outcome.crashes} taken over"
    return [
        Line("rate with kills ÷ without", ours, anchor, outcome.rates.ratio(float), goal=KEPT),
        Line("   the same side again (A/A)", "", "", outcome.rates.noise(float)),
        Line("   jobs lost", taken_over, "", Estimate.exact(outcome.lost), "", LOST),
    ]


if __name__ == "__main__":
    sys.exit(present(__doc__, "Workers that are killed", measure))
