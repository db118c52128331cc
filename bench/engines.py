"""GET /engines, polled 50 times a second while jobs run: how long an answer takes, and how old it is.

    python -m bench.engines [--rounds 8] [--faults 5]

Open loop: a request is due every 20 ms whether or not the last was answered, and its latency counts from when it was
due. In turn with it, at the same rate, GET /health, which is one small look at the database. PocketSphinx hears the
sample consultation all the while. Then Riva (a stand-in), the engine server and the workers are stopped and started, at
any moment of the platform's own clocks, and the time is taken until an answer says so.
"""

import argparse
import asyncio
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import httpx
import psutil
from rich.progress import Progress

from bench.measure import Goal, Line, console, progress_bar, quantile, table
from bench.plugin import ROOT
from bench.running import Running, running
from tests.support.servers import free_port

RATE = 50
"""Requests a second."""

SLOT_SECONDS = 2.5
"""How long one kind of request has the platform to itself: short, so that neighbours on this machine disturb all."""

JOBS = 20
"""Minutes of speech in the queue: more than PocketSphinx can do until the bench is over."""

SAMPLE = ROOT / "samples" / "consultation.flac"
LOOK_SECONDS = 0.01
LONGEST_WAIT_SECONDS = 30.0

FRESH_SECONDS = Goal(5, "≤")
AGAINST_HEALTH = Goal(2, "≤")


@dataclass
class Kind:
    """One kind of request, and what its answers took: milliseconds from when each was due, slot by slot."""

    name: str
    path: str
    remembers: bool = False
    etag: str | None = None
    slots: list[list[float]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    async def ask(self, client: httpx.AsyncClient, due: float) -> float:
        headers = {"If-None-Match": self.etag} if self.remembers and self.etag else {}
        response = await client.get(self.path, headers=headers)
        took = 1000 * (perf_counter() - due)
        self.etag = response.headers.get("etag")
        self.statuses.append(response.status_code)
        return took

    @property
    def all(self) -> list[float]:
        return [took for slot in self.slots for took in slot]

    def share_of(self, status: int) -> float:
        return self.statuses.count(status) / len(self.statuses)


async def slot(client: httpx.AsyncClient, kind: Kind) -> None:
    """Ask at the fixed rate, whatever becomes of the answers."""
    began = perf_counter()
    asked = []
    for number in range(round(RATE * SLOT_SECONDS)):
        due = began + number / RATE
        await asyncio.sleep(max(0.0, due - perf_counter()))
        asked.append(asyncio.create_task(kind.ask(client, due)))
    kind.slots.append(list(await asyncio.gather(*asked)))


async def latencies(client: httpx.AsyncClient, bar: Progress, rounds: int) -> list[Line]:
    health, plain = Kind("GET /health", "/health"), Kind("GET /engines", "/engines")
    polled = Kind("GET /engines, If-None-Match", "/engines", remembers=True)
    task = bar.add_task(f"{RATE} requests a second", total=3 * rounds)
    for _ in range(rounds):
        for kind in random.sample([health, plain, polled], 3):
            await slot(client, kind)
            bar.advance(task)
    lines = []
    for kind in (plain, polled):
        notes = f"{100 * kind.share_of(304):.0f} % 304" if kind.remembers else f"{len(kind.all)} asked"
        for share in (0.5, 0.99):
            ours, anchor = quantile(kind.all, share), quantile(health.all, share)
            name = f"{kind.name}, p{100 * share:.0f}"
            lines.append(Line(name, notes, f"{anchor.value:.1f} ms", ours, "ms"))
        ratio = [
            quantile(ours).value / quantile(anchor).value for ours, anchor in zip(kind.slots, health.slots, strict=True)
        ]
        lines.append(Line("   p50 ÷ p50 of GET /health", "", "", quantile(ratio), goal=AGAINST_HEALTH))
    return lines


class Riva:
    """The stand-in, to be killed and started again at the same address."""

    def __init__(self) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        argv = (sys.executable, "-m", "bench.riva_stand_in", self.address)
        self._process = await asyncio.create_subprocess_exec(*argv, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
        assert self._process.stdout is not None
        assert (await self._process.stdout.readline()).decode().strip() == self.address

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def riva() -> AsyncIterator[Riva]:
    stand_in = Riva()
    await stand_in.start()
    try:
        yield stand_in
    finally:
        await stand_in.kill()


Seen = Callable[[dict[str, Any]], bool]


@dataclass(frozen=True, slots=True)
class Change:
    """Something that is done to the platform, and how an answer shows it."""

    name: str
    make: Callable[[], Awaitable[None]]
    seen: Seen


def available(engine: str, *, so: bool) -> Seen:
    return lambda answer: answer["engines"].get(engine, {}).get("available") is so


def changes(stand_in: Riva, platform: Running) -> list[Change]:
    async def signal(module: str, act: Callable[[psutil.Process], None]) -> None:
        for process in platform.processes(module):
            act(process)

    def stop(module: str) -> Callable[[], Awaitable[None]]:
        return lambda: signal(module, psutil.Process.suspend)

    def cont(module: str) -> Callable[[], Awaitable[None]]:
        return lambda: signal(module, psutil.Process.resume)

    server = "engines.server"
    return [
        Change("Riva killed → unavailable", stand_in.kill, available("asr", so=False)),
        Change("Riva started → available", stand_in.start, available("asr", so=True)),
        Change("engine server stands still → unavailable", stop(server), available("sphinx", so=False)),
        Change("engine server goes on → available", cont(server), available("sphinx", so=True)),
        Change("all workers stand still → none is there", stop("workers"), lambda answer: answer["workers"] == 0),
        Change("workers go on → available", cont("workers"), available("sphinx", so=True)),
    ]


async def until_seen(client: httpx.AsyncClient, seen: Seen) -> float:
    """Seconds until an answer shows it."""
    began = perf_counter()
    while not seen((await client.get("/engines")).json()):
        assert perf_counter() - began < LONGEST_WAIT_SECONDS, "it was never seen"
        await asyncio.sleep(LOOK_SECONDS)
    return perf_counter() - began


async def freshness(
    client: httpx.AsyncClient, stand_in: Riva, platform: Running, bar: Progress, rounds: int
) -> list[Line]:
    found = changes(stand_in, platform)
    task = bar.add_task("changes, and when they are seen", total=rounds * len(found))
    delays: dict[str, list[float]] = {change.name: [] for change in found}
    for _ in range(rounds):
        for change in found:
            await asyncio.sleep(random.uniform(0, 2))  # at any moment of the clocks
            await change.make()
            delays[change.name].append(await until_seen(client, change.seen))
            bar.advance(task)
    return [Line(name, _spread(each), "", quantile(each), "s", FRESH_SECONDS) for name, each in delays.items()]


def _spread(delays: Sequence[float]) -> str:
    return f"{min(delays):.1f} … {max(delays):.1f} s"


async def submit(client: httpx.AsyncClient, count: int) -> None:
    recording = SAMPLE.read_bytes()
    for _ in range(count):
        answer = await client.post(
            "/api/transcribe/jobs/transcribe", data={"engine": "sphinx"}, files={"file": ("a.flac", recording)}
        )
        answer.raise_for_status()


async def bench(rounds: int, faults: int) -> None:
    async with riva() as stand_in, running({"RIVA_URI": stand_in.address}) as platform:
        async with httpx.AsyncClient(base_url=platform.embedded.address, timeout=60, trust_env=False) as client:
            await until_seen(client, available("asr", so=True))
            await until_seen(client, available("sphinx", so=True))
            await submit(client, JOBS)
            with progress_bar() as bar:
                lines = await latencies(client, bar, rounds)
                lines += await freshness(client, stand_in, platform, bar, faults)
        console().print(table("GET /engines while jobs run", lines))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8, help=f"rounds of {SLOT_SECONDS:g} s of each kind of request")
    parser.add_argument("--faults", type=int, default=5, help="how often each part is stopped and started")
    options = parser.parse_args()
    asyncio.run(bench(options.rounds, options.faults))
    return 0


if __name__ == "__main__":
    sys.exit(main())
