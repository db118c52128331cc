"""G16: a transcript of 100,000 words out of the API, beside FastAPI's own way through a model.

    python -m bench.transcript [--rounds 5] [--words 100000]

The transcript is stored as a worker stores it. The anchor reads the same answer from a file and gives it to a route
with the same `response_model`. Processor time is the server's own; the client only counts bytes.
"""

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import httpx
import psutil
from rich.progress import Progress

from bench import bare_api
from bench.backlog import Backlog
from bench.measure import Estimate, Goal, Line, Runs, abba, present, quantile
from bench.processes import MIB, cpu_seconds
from bench.running import Running, running
from domain.transcript import Segment, Transcript, Word
from services import attempts
from services.platform import open_platform

RESULT = "/api/transcribe/jobs/result"
WORDS_A_SEGMENT = 10
WORD_SECONDS = 0.3

CPU_MS, CPU_AGAINST, FIRST_MS, GROWTH_MIB = Goal(20, "≤"), Goal(0.1, "≤"), Goal(50, "≤"), Goal(4, "≤")


@dataclass(frozen=True, slots=True)
class Run:
    cpu_ms: float
    first_ms: float
    """To the first byte of the body."""
    wall_ms: float


@dataclass(frozen=True, slots=True)
class Server:
    process: psutil.Process
    url: str

    async def run(self, client: httpx.AsyncClient) -> Run:
        cpu, began = cpu_seconds([self.process]), perf_counter()
        async with client.stream("GET", self.url) as answer:
            answer.raise_for_status()
            chunks = answer.aiter_raw()
            await anext(chunks)
            first = perf_counter()
            async for _ in chunks:
                pass
        wall = perf_counter() - began
        return Run(1000 * (cpu_seconds([self.process]) - cpu), 1000 * (first - began), 1000 * wall)


def heard(words: int) -> Transcript:
    """Every word with its times, its confidence and its speaker."""
    segments = []
    for first in range(0, words, WORDS_A_SEGMENT):
        spoken = tuple(_word(number) for number in range(first, first + WORDS_A_SEGMENT))
        about = {"confidence": 0.93, "speaker_tag": first // 100 % 2}
        text = " ".join(word.text for word in spoken)
        segments.append(Segment(start=spoken[0].start, end=spoken[-1].end, text=text, words=spoken, **about))
    duration = words * WORD_SECONDS
    return Transcript(
        language="en", duration=duration, engine="stub", engine_reason="for a bench", segments=tuple(segments)
    )


def _word(number: int) -> Word:
    start = round(number * WORD_SECONDS, 3)
    return Word(
        start=start, end=round(start + 0.25, 3), text=f"word{number}", confidence=0.9375, speaker_tag=number // 100 % 2
    )


async def _stored(platform: Running, words: int) -> Server:
    """A transcript of so many words, as a worker stores it, and where the API has it."""
    settings = platform.embedded.settings
    async with Backlog.beside(platform) as backlog, open_platform(settings, application="bench") as beside:
        [job] = await backlog.add(1)
        attempt = await attempts.claim(beside, job, worker="bench")
        assert attempt is not None
        await attempts.complete(beside, attempt, heard(words))
    return Server(platform.process("api"), f"http://{platform.address[0]}:{platform.address[1]}{RESULT}/{job}")


@asynccontextmanager
async def _anchor(platform: Running, client: httpx.AsyncClient, ours: Server) -> AsyncIterator[Server]:
    with tempfile.TemporaryDirectory(prefix="escriba-bench-") as folder:
        file = Path(folder) / "result.json"
        file.write_text(json.dumps((await client.get(ours.url)).json()))
        async with bare_api.beside(platform) as (host, port):
            yield Server(platform.process("bench.bare_api"), f"http://{host}:{port}/result?file={file}")


async def _runs(bar: Progress, rounds: int, words: int) -> tuple[Runs[Run], float]:
    """And by how much the API grew, in MiB, over all its runs, once it had served a transcript of one word."""
    task = bar.add_task(f"a transcript of {words:,} words", total=4 * rounds)
    runs: Runs[Run] = Runs()
    async with (
        running({"JOB_LEASE_SEC": "3600"}, workers=False) as platform,
        httpx.AsyncClient(trust_env=False, timeout=60) as client,
    ):
        short, ours = await _stored(platform, 1), await _stored(platform, words)
        await short.run(client)
        before = ours.process.memory_info().rss
        async with _anchor(platform, client, ours) as anchor:
            await anchor.run(client)
            for side in abba(rounds):
                runs.add(side, await (ours if side == "ours" else anchor).run(client))
                bar.advance(task)
        return runs, (ours.process.memory_info().rss - before) / MIB


def _lines(runs: Runs[Run], grown: float) -> list[Line]:
    ours, anchor = ([run.cpu_ms for run in side] for side in (runs.ours, runs.anchor))
    theirs = f"{quantile(anchor).value:.0f} ms"
    first, wall = (
        [quantile([getattr(run, name) for run in side]) for side in (runs.ours, runs.anchor)]
        for name in ("first_ms", "wall_ms")
    )
    return [
        Line("processor time of an answer", "", theirs, quantile(ours), "ms", CPU_MS),
        Line(
            "   ÷ FastAPI's model path",
            f"{quantile(ours).value:.0f} ms",
            theirs,
            runs.ratio(lambda run: run.cpu_ms),
            goal=CPU_AGAINST,
        ),
        Line("   the same side again (A/A)", "", "", runs.noise(lambda run: run.cpu_ms)),
        Line("to the first byte", "", f"{first[1].value:.0f} ms", first[0], "ms", FIRST_MS),
        Line("to the last byte", "", f"{wall[1].value:.0f} ms", wall[0], "ms"),
        Line("growth of the API", "", "", Estimate.exact(grown), "MiB", GROWTH_MIB),
    ]


def measure(bar: Progress, *, rounds: int = 5, words: int = 100_000) -> list[Line]:
    return _lines(*asyncio.run(_runs(bar, rounds, words)))


if __name__ == "__main__":
    sys.exit(present(__doc__, "A long transcript", measure))
