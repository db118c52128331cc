"""G5, G6: uploads of 100 MB through the API beside a bare sink that also hashes, one and eight at a time.

    python -m bench.upload [--rounds 6]

The API is the real process over PostgreSQL, Redis and a store in a folder; no worker runs. Both servers are sent the
same form by sendfile. The sink writes nothing; the API makes every recording durable (fsync) before it answers.
"""

import asyncio
import os
import socket
import stat
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from time import perf_counter

import psutil
from rich.progress import Progress

from bench.connection import Connection, form
from bench.measure import Estimate, Goal, Line, Runs, abba, present
from bench.running import Running, running
from cli.supervisor import Child, until_answers

RECORDING_BYTES = 100_000_000
"""As large as MAX_FILE_SIZE lets a recording be."""

AT_ONCE = {1: 3, 8: 1}
"""Uploads at once, and how many times as many rounds they get: short runs differ more."""

JOBS = "/api/transcribe/jobs"
LOOKS_PER_SECOND = 50
MIB = 1024 * 1024

THROUGHPUT = Goal(0.75, "≥")
MEMORY_MIB = Goal(12, "≤")
TEMPORARY_MIB = Goal(0, "≤")


class Watch:
    """Looks at a process again and again: its memory, and the files it has open that are neither objects nor logs."""

    def __init__(self, process: psutil.Process, *, known: Sequence[Path]) -> None:
        self._process, self._known = process, known
        self.idle_bytes = process.memory_info().rss
        self.peak_bytes = self.temporary_bytes = 0

    @contextmanager
    def looking(self) -> Iterator[None]:
        done = threading.Event()
        looker = threading.Thread(target=self._look_until, args=(done,))
        looker.start()
        try:
            yield
        finally:
            done.set()
            looker.join()

    def _look_until(self, done: threading.Event) -> None:
        while not done.wait(1 / LOOKS_PER_SECOND):
            self.peak_bytes = max(self.peak_bytes, self._process.memory_info().rss)
            self.temporary_bytes = max(self.temporary_bytes, sum(self._temporary_files()))

    def _temporary_files(self) -> Iterator[int]:
        """Sizes in bytes. A file that has lost its name, as most temporary ones have, is still among those open."""
        for descriptor in Path(f"/proc/{self._process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                found, path = descriptor.stat(), descriptor.readlink()
                if stat.S_ISREG(found.st_mode) and not any(path.is_relative_to(known) for known in self._known):
                    yield found.st_size


@asynccontextmanager
async def sink(platform: Running) -> AsyncIterator[tuple[str, int]]:
    """The anchor, as one more child of the platform's supervisor."""
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        address: tuple[str, int] = listener.getsockname()
        argv = [sys.executable, "-m", "bench.sink", "--fd", str(listener.fileno())]
        question = b"POST / HTTP/1.1\r\nHost: sink\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        ready = partial(until_answers, address[1], question, b"HTTP/1.1 200")
        await platform.supervisor.start(
            Child("sink", argv, dict(os.environ), pass_fds=(listener.fileno(),), ready=ready)
        )
        yield address


async def burst(address: tuple[str, int], path: str, body: Path, *, at_once: int) -> tuple[float, list[str]]:
    """Upload over `at_once` connections: MiB a second together, and the ids of the jobs that were made."""
    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(Connection(address)) for _ in range(at_once)]
        began = perf_counter()
        answers = await asyncio.gather(*(connection.post_file(path, body) for connection in connections))
        seconds = perf_counter() - began
    return at_once * RECORDING_BYTES / MIB / seconds, [each["job_id"] for each in answers if "job_id" in each]


async def erase(platform: Running, jobs: list[str]) -> None:
    async with Connection(platform.address) as connection:
        for job in jobs:
            await connection.delete(f"{JOBS}/{job}")


async def compare(
    platform: Running, watch: Watch, body: Path, *, at_once: int, rounds: int, bar: Progress
) -> Runs[float]:
    """Throughput of both sides, in MiB a second."""
    runs: Runs[float] = Runs()
    task = bar.add_task(f"{at_once} at once", total=4 * rounds + 2)
    async with sink(platform) as anchor:
        servers = {"anchor": (anchor, "/"), "ours": (platform.address, f"{JOBS}/transcribe")}
        for number, side in enumerate(("anchor", "ours", *abba(rounds))):
            with watch.looking():
                speed, jobs = await burst(*servers[side], body, at_once=at_once)
            await erase(platform, jobs)
            if number >= 2:  # the first of each side warm up
                runs.add(side, speed)
            bar.advance(task)
    return runs


def lines_of(runs: dict[int, Runs[float]], watch: Watch) -> list[Line]:
    lines = []
    for at_once, each in runs.items():
        ours, anchor = (f"{sorted(side)[len(side) // 2]:,.0f} MiB/s" for side in (each.ours, each.anchor))
        lines.append(Line(f"throughput, {at_once} at once", ours, anchor, each.ratio(float), goal=THROUGHPUT))
        lines.append(Line("   the same side again (A/A)", "", "", each.noise(float)))
    peak, idle = watch.peak_bytes / MIB, watch.idle_bytes / MIB
    share = Estimate.exact((peak - idle) / max(AT_ONCE))
    lines.append(
        Line(
            f"memory an upload, {max(AT_ONCE)} at once",
            f"{peak:.0f} MiB peak",
            f"{idle:.0f} MiB idle",
            share,
            "MiB",
            MEMORY_MIB,
        )
    )
    temporary = Estimate.exact(watch.temporary_bytes / MIB)
    lines.append(Line("temporary files", "", "", temporary, "MiB", TEMPORARY_MIB))
    return lines


async def _bench(bar: Progress, rounds: int) -> list[Line]:
    async with running(workers=False) as platform:
        with tempfile.NamedTemporaryFile(prefix="escriba-bench-") as file:
            file.write(form(os.urandom(RECORDING_BYTES)))
            file.flush()
            home, body = platform.embedded.home, Path(file.name)
            watch = Watch(platform.process("api"), known=[home / "objects", home / "logs", home / "metrics"])
            runs = {
                at_once: await compare(platform, watch, body, at_once=at_once, rounds=more * rounds, bar=bar)
                for at_once, more in AT_ONCE.items()
            }
            return lines_of(runs, watch)


def measure(bar: Progress, *, rounds: int = 6) -> list[Line]:
    """Rounds of four runs for each number at once."""
    return asyncio.run(_bench(bar, rounds))


if __name__ == "__main__":
    sys.exit(present(__doc__, "Uploads of 100 MB beside a bare sink that also hashes", measure))
