"""G19: what the platform costs while it has nothing to do, beside an idle bare arq worker with the same poll delay.

    python -m bench.idle [--seconds 30]

One API process, one worker, which sweeps too; all at the same time as bare arq, so that neighbours disturb both.
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence

import psutil
from rich.progress import Progress

from bench import bare_arq
from bench.measure import Goal, Line, present, quantile
from bench.processes import cpu_seconds, family
from bench.running import running

WINDOW_SECONDS = 3.0
OF_A_CORE, AGAINST_ARQ = Goal(2, "≤"), Goal(2, "≤")

Shares = dict[str, list[float]]
"""Percent of a core, window by window."""


async def _watch(bar: Progress, seconds: float) -> Shares:
    windows = round(seconds / WINDOW_SECONDS)
    task = bar.add_task(f"{seconds:g} s of idleness", total=windows)
    async with running({"WORKERS_COUNT": "1"}) as platform:
        await platform.supervisor.start(bare_arq.child(platform.embedded.settings.redis))
        parts = {
            "worker": platform.process("workers"),
            "api": platform.process("api"),
            "arq": platform.process("bench.bare_arq"),
        }
        groups = {name: [process] for name, process in parts.items()}
        known = {process.pid for process in parts.values()}
        groups["servers"] = [each for each in family(psutil.Process())[1:] if each.pid not in known]
        await _window(groups)  # caches of the first looks at the queue, the rows, the engines
        shares: Shares = {name: [] for name in groups}
        for _ in range(windows):
            for name, share in (await _window(groups)).items():
                shares[name].append(share)
            bar.advance(task)
    return shares


async def _window(groups: Mapping[str, Sequence[psutil.Process]]) -> dict[str, float]:
    before = {name: cpu_seconds(group) for name, group in groups.items()}
    await asyncio.sleep(WINDOW_SECONDS)
    return {name: 100 * (cpu_seconds(group) - before[name]) / WINDOW_SECONDS for name, group in groups.items()}


def _lines(shares: Shares) -> list[Line]:
    both = [worker + api for worker, api in zip(shares["worker"], shares["api"], strict=True)]
    ratio = [ours / arq for ours, arq in zip(both, shares["arq"], strict=True)]
    arq = f"{quantile(shares['arq']).value:.2f} %"
    return [
        Line("API and worker, of a core", "", arq, quantile(both), "%", OF_A_CORE),
        Line("   ÷ bare arq", f"{quantile(both).value:.2f} %", arq, quantile(ratio), goal=AGAINST_ARQ),
        Line("   worker", "", "", quantile(shares["worker"]), "%"),
        Line("   API", "", "", quantile(shares["api"]), "%"),
        Line("   PostgreSQL, Redis, engine server", "", "", quantile(shares["servers"]), "%"),
    ]


def measure(bar: Progress, *, seconds: float = 30.0) -> list[Line]:
    return _lines(asyncio.run(_watch(bar, seconds)))


if __name__ == "__main__":
    sys.exit(present(__doc__, "Idle", measure))
