"""G9: what it costs to tell 1, 10, 100 and 1,000 clients of a job's progress, beside a bare Starlette broadcast.

    python -m bench.followers [--rounds 1] [--events 20]

All clients follow one job of the real API, which no worker holds; this process publishes its progress as a worker
would, ten times a second. All processor time that the API takes meanwhile is charged to the events; what it takes as
long with the same clients and no events is a line apart. The anchor sends as many events from one subscription
without a look at them.
"""

import asyncio
import re
import resource
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import time

import numpy as np
import psutil
from redis.asyncio import Redis
from rich.progress import Progress

from bench import bare_api
from bench.backlog import Backlog
from bench.first_event import STREAM
from bench.listening import listening
from bench.measure import SEED, Estimate, Goal, Line, Runs, abba, present, quantile
from bench.processes import cpu_seconds
from bench.running import Running, running
from domain.events import Event
from domain.lifecycle import JobState
from messaging.redis_events import RedisEvents
from services import attempts
from services.platform import open_platform

CLIENTS = (1_000, 100, 10, 1)
"""Most first: memory that a process was given for a thousand it does not give back."""

EVERY_SECONDS = 0.1
TICK, SETTLED = re.compile(rb"tick (\d+)\."), re.compile(rb"settled")

COST_US, FLAT, MEMORY_KIB = Goal(25, "≤"), Goal(1.2, "≤"), Goal(32, "≤")
CONNECTIONS, DELAY_MS = Goal(2, "≤"), Goal(50, "≤")

Publish = Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Run:
    clients: int
    cost_us: float
    """Processor time an event and client."""
    idle: float
    """Share of a core that the server takes while nothing happens."""
    kib: float
    """Memory a client, of the server."""
    connections: int
    """Of the server to Redis, with all clients there."""
    delays_ms: list[list[float]]
    """Of each tick, from its publication to each client that was told of it."""

    @property
    def told(self) -> float:
        """Share of the ticks that clients were told of; of one that a later one overtook, they are not."""
        return sum(map(len, self.delays_ms)) / len(self.delays_ms) / self.clients


@dataclass(frozen=True, slots=True)
class Server:
    process: psutil.Process
    address: tuple[str, int]
    path: str
    redis_port: int
    publish: Publish

    async def run(self, clients: int, events: int) -> Run:
        before = self.process.memory_info().rss
        async with listening(self.address, self.path, clients) as listeners:
            grown = self.process.memory_info().rss - before
            await self.publish("settled")  # a follower first looks up what it has missed, and only then is told this
            await asyncio.gather(*(each.first(SETTLED) for each in listeners))
            seconds = events * EVERY_SECONDS
            idle = await self._spend(seconds)
            sent: list[float] = []
            spent = 0.0
            for number in range(events):
                sent.append(time())
                await self.publish(f"tick {number}.")
                spent += await self._spend(EVERY_SECONDS)
            connections = self._connections()
            last = re.compile(rb"tick %d\." % (events - 1))
            await asyncio.gather(*(each.first(last) for each in listeners))
        delays: list[list[float]] = [[] for _ in range(events)]
        for each in listeners:
            for found, at in each.moments(TICK):
                delays[int(found)].append(1000 * (at - sent[int(found)]))
        cost_us, kib = 1e6 * spent / events / clients, grown / 1024 / clients
        return Run(clients, cost_us, idle / seconds, kib, connections, delays)

    async def _spend(self, seconds: float) -> float:
        """Processor seconds of the server in that time."""
        before = cpu_seconds([self.process])
        await asyncio.sleep(seconds)
        return cpu_seconds([self.process]) - before

    def _connections(self) -> int:
        return sum(bool(each.raddr) and each.raddr.port == self.redis_port for each in self.process.net_connections())


@asynccontextmanager
async def _ours(platform: Running) -> AsyncIterator[Server]:
    settings = platform.embedded.settings
    async with Backlog.beside(platform) as backlog, open_platform(settings, application="bench") as beside:
        [job] = await backlog.add(1)
        attempt = await attempts.claim(beside, job, worker="bench")
        assert attempt is not None
        events = RedisEvents(settings.redis)

        async def publish(tick: str) -> None:
            about = {"job_id": job, "transcript_id": attempt.transcript_id, "fence": attempt.fence, "message": tick}
            shown = {"stage": "transcribe", "audio_done": 30.0, "audio_total": 60.0, "engine": "stub", "worker_id": "w"}
            event = {"type": "progress", "status": JobState.PROCESSING, "progress": 50, **about, **shown}
            await events.publish(Event.model_validate(event))

        yield Server(platform.process("api"), platform.address, f"{STREAM}/{job}", _port(platform), publish)
        await events.close()


@asynccontextmanager
async def _anchor(platform: Running) -> AsyncIterator[Server]:
    url = platform.embedded.settings.redis.url.get_secret_value()
    async with bare_api.beside(platform) as address, Redis.from_url(url) as redis:

        async def publish(tick: str) -> None:
            await redis.publish(bare_api.CHANNEL, f'{{"status":"processing","progress":50,"message":"{tick}"}}')

        yield Server(platform.process("bench.bare_api"), address, "/events", _port(platform), publish)


def _port(platform: Running) -> int:
    port = platform.embedded.settings.redis.url.get_secret_value().rpartition(":")[2].split("/")[0]
    return int(port)


async def _runs(bar: Progress, rounds: int, events: int) -> Runs[dict[int, Run]]:
    task = bar.add_task("clients of a job's stream", total=4 * rounds * len(CLIENTS))
    runs: Runs[dict[int, Run]] = Runs()
    async with (
        running({"JOB_LEASE_SEC": "3600"}, workers=False) as platform,
        _ours(platform) as ours,
        _anchor(platform) as anchor,
    ):
        servers = {"ours": ours, "anchor": anchor}
        for number, side in enumerate(abba(rounds)):
            found: dict[int, Run] = {}
            for clients in CLIENTS if number < 2 else reversed(CLIENTS):
                found[clients] = await servers[side].run(clients, events)
                bar.advance(task)
            runs.add(side, found)
    return runs


def _lines(runs: Runs[dict[int, Run]]) -> list[Line]:
    most = CLIENTS[0]
    fullest, first = [run[most] for run in runs.ours], runs.ours[0][most]
    flat = quantile([run[most].cost_us / run[100].cost_us for run in runs.ours])
    told = min(run.told for run in fullest)
    return [
        *(_cost(runs, clients) for clients in CLIENTS),
        Line("   1,000 clients ÷ 100", "", "", flat, goal=FLAT),
        Line("   with 1,000 clients ÷ bare Starlette", *_both(runs, most), runs.ratio(lambda run: run[most].cost_us)),
        _idle(runs, most),
        Line(
            "memory a client, 1,000 there", "", _kib(runs.anchor[0][most]), Estimate.exact(first.kib), "KiB", MEMORY_KIB
        ),
        Line("connections to Redis, 1,000 there", "", "", Estimate.exact(first.connections), "", CONNECTIONS),
        Line("delay of an event, 1,000 there, p99", "", _p99_shown(runs, most), _p99(fullest), "ms", DELAY_MS),
        Line("   share of the events told, worst run", "", "", Estimate.exact(told)),
    ]


def _cost(runs: Runs[dict[int, Run]], clients: int) -> Line:
    cost = quantile([run[clients].cost_us for run in runs.ours])
    goal = COST_US if clients == CLIENTS[0] else None
    return Line(f"processor an event and client, {clients:,} there", "", _both(runs, clients)[1], cost, "µs", goal)


def _both(runs: Runs[dict[int, Run]], clients: int) -> tuple[str, str]:
    ours, anchor = (quantile([run[clients].cost_us for run in side]).value for side in (runs.ours, runs.anchor))
    return f"{ours:.0f} µs", f"{anchor:.0f} µs"


def _idle(runs: Runs[dict[int, Run]], clients: int) -> Line:
    ours, anchor = (quantile([100 * run[clients].idle for run in side]) for side in (runs.ours, runs.anchor))
    return Line(f"   of a core with {clients:,} and no events", "", f"{anchor.value:.1f} %", ours, "%")


def _kib(run: Run) -> str:
    return f"{run.kib:.0f} KiB"


def _p99_shown(runs: Runs[dict[int, Run]], clients: int) -> str:
    return f"{_p99([run[clients] for run in runs.anchor]).value:.0f} ms"


def _p99(found: Sequence[Run]) -> Estimate:
    """Clients of one tick are no samples of their own, so it is ticks that are drawn for the interval."""
    ticks = [np.asarray(tick) for run in found for tick in run.delays_ms if tick]
    draws = np.random.default_rng(SEED).integers(0, len(ticks), (400, len(ticks)))
    drawn = [np.quantile(np.concatenate([ticks[number] for number in draw]), 0.99) for draw in draws]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Estimate(float(np.quantile(np.concatenate(ticks), 0.99)), float(low), float(high))


def measure(bar: Progress, *, rounds: int = 1, events: int = 20) -> list[Line]:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # our clients', and the servers', which inherit it
    return _lines(asyncio.run(_runs(bar, rounds, events)))


if __name__ == "__main__":
    sys.exit(present(__doc__, "Clients that follow a job", measure))
