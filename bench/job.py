"""G1, G11: what the platform adds to a job, beside bare arq and beside the engine called alone.

    python -m bench.job [--rounds 150] [--long-rounds 2]

G1: recordings of a second, one by one, through the real processes to an engine that does nothing; decoding and engine
are timed in the worker and taken off. Each has a bare arq round trip, with the same poll delay, for a neighbour.

G11: the sample consultation, twice over, through PocketSphinx: inside a job, and by the same client of the same
engine server alone. The overhead is measured inside the job (claim to commit, less the decoder and the engine), as the
walls of any two runs differ by more than that.
"""

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from uuid import UUID

import imageio_ffmpeg
import psutil
from rich.progress import Progress

from bench import stopwatch
from bench.connection import Connection
from bench.measure import Goal, Line, Runs, abba, present, quantile
from bench.plugin import ROOT
from bench.timed_jobs import Bench, Job, prepared
from engines.contract import Hearing
from engines.hosted import HostedEngine, HostedEngines
from media.decode import Decoded, DecodeLimits, decode
from tests.support.audio import tone

SAMPLE = ROOT / "samples" / "consultation.flac"
TIMES_OVER = 2
"""The sample is a minute; two of it are about twenty seconds of work for PocketSphinx."""

OVERHEAD_MS, WORST_OVERHEAD_MS, AGAINST_ARQ = Goal(60, "≤"), Goal(150, "≤"), Goal(2, "≤")
LONG_OVERHEAD_MS, LONG_WALL, LONG_CPU = Goal(100, "≤"), Goal(1.02, "≤"), Goal(1.03, "≤")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of hearing one recording, in seconds; processor time of all our processes, the decoder's apart."""

    wall: float
    cpu: float


# G1


async def overhead(bench: Bench, bar: Progress, rounds: int) -> list[Line]:
    task = bar.add_task(f"{2 * rounds} jobs beside bare arq", total=4 * rounds)
    recording = tone(1.0)
    jobs: list[Job] = []
    runs: Runs[float] = Runs()
    async with Connection(bench.platform.address) as connection:
        await bench.round_trip()
        await bench.job(connection, stopwatch.NO_OP, recording)
        for side in abba(rounds):
            if side == "ours":
                jobs.append(await bench.job(connection, stopwatch.NO_OP, recording))
                runs.add(side, jobs[-1].overhead)
            else:
                runs.add(side, await bench.round_trip())
            bar.advance(task)
    ours, anchor = ([1000 * seconds for seconds in side] for side in (runs.ours, runs.anchor))
    return [
        *(
            Line(
                f"overhead of a job, p{share}",
                *_both(ours, anchor, share / 100),
                quantile(ours, share / 100),
                "ms",
                goal,
            )
            for share, goal in ((50, OVERHEAD_MS), (99, WORST_OVERHEAD_MS))
        ),
        Line("   ÷ bare arq round trip", *_both(ours, anchor, 0.5), runs.ratio(float), goal=AGAINST_ARQ),
        Line("   the same side again (A/A)", "", "", runs.noise(float)),
        *_stages(jobs, await bench.claims(jobs)),
    ]


def _both(ours: Sequence[float], anchor: Sequence[float], share: float) -> tuple[str, str]:
    left, right = (f"{quantile(side, share).value:.0f} ms" for side in (ours, anchor))
    return left, right


def _stages(jobs: Sequence[Job], claims: dict[UUID, float]) -> list[Line]:
    """Where the time of a job goes, the decoder's with it."""
    stages: dict[str, Callable[[Job], float]] = {
        "sent → 202": lambda job: job.answered - job.sent,
        "202 → claim": lambda job: claims[job.id] - job.answered,
        "claim → decoder": lambda job: job.decode.began - claims[job.id],
        "(decoder)": lambda job: job.decode.seconds,
        "decoder → engine": lambda job: job.engine.began - job.decode.began - job.decode.seconds,
        "engine → commit told": lambda job: job.ended - job.engine.began - job.engine.seconds,
    }
    medians = {name: quantile([1000 * length(job) for job in jobs]) for name, length in stages.items()}
    return [Line(f"   {name}", "", "", median, "ms") for name, median in medians.items()]


# G11


async def long_jobs(bench: Bench, bar: Progress, rounds: int) -> list[Line]:
    task = bar.add_task("long jobs beside the engine alone", total=4 * rounds)
    settings = bench.platform.embedded.settings
    jobs: list[Job] = []
    runs: Runs[Cost] = Runs()
    with tempfile.TemporaryDirectory(prefix="escriba-bench-") as folder:
        source = _long_recording(Path(folder))
        recording, audio = source.read_bytes(), Path(folder) / "audio.wav"
        decoded = await decode(source, audio, DecodeLimits.of(settings.media))
        hosted = HostedEngines(settings)
        try:
            for side in abba(rounds):
                before = _cpu_seconds()
                if side == "anchor":
                    wall = await _hear(HostedEngine(hosted, "sphinx"), audio, decoded)
                else:
                    async with Connection(bench.platform.address) as connection:
                        jobs.append(await bench.job(connection, stopwatch.TIMED, recording))
                    [claim] = (await bench.claims(jobs[-1:])).values()
                    wall = jobs[-1].ended - claim - jobs[-1].decode.seconds
                runs.add(side, Cost(wall, _cpu_seconds() - before))
                bar.advance(task)
        finally:
            await hosted.close()
    return _long_lines(runs, jobs, await bench.claims(jobs))


def _long_lines(runs: Runs[Cost], jobs: Sequence[Job], claims: dict[UUID, float]) -> list[Line]:
    added = [job.ended - claims[job.id] - job.decode.seconds - job.engine.seconds for job in jobs]
    engine = sum(job.engine.seconds for job in jobs)
    inside = quantile([1 + more / job.engine.seconds for more, job in zip(added, jobs, strict=True)])
    ours, anchor = f"{engine:.0f} s engine", f"{sum(cost.wall for cost in runs.anchor):.0f} s alone"
    return [
        Line("engine in a job: overhead", ours, "", quantile([1000 * more for more in added]), "ms", LONG_OVERHEAD_MS),
        Line("   wall ÷ engine's own, inside the job", "", "", inside, goal=LONG_WALL),
        Line("   wall ÷ engine called alone", ours, anchor, runs.ratio(lambda cost: cost.wall)),
        Line("   the same side again (A/A)", "", "", runs.noise(lambda cost: cost.wall)),
        Line("   processor time ÷ called alone", "", "", runs.ratio(lambda cost: cost.cpu), goal=LONG_CPU),
        Line("   the same side again (A/A)", "", "", runs.noise(lambda cost: cost.cpu)),
    ]


async def _hear(engine: HostedEngine, audio: Path, decoded: Decoded) -> float:
    """Seconds that the engine takes for `audio`, with a client that does nothing with what it says."""
    began = perf_counter()
    async for _ in engine.transcribe(audio, Hearing(audio_seconds=decoded.seconds, language="en-US")):
        pass
    return perf_counter() - began


def _long_recording(folder: Path) -> Path:
    target = folder / "long.flac"
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-stream_loop", str(TIMES_OVER - 1)]
    subprocess.run([*ffmpeg, "-i", str(SAMPLE), "-ac", "1", str(target)], check=True)  # one channel: one engine call
    return target


def _cpu_seconds() -> float:
    """Of everything that lives now; what has come and gone, as decoders do, is not in it."""
    own, spent = psutil.Process(), 0.0
    for process in (own, *own.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):  # a decoder that has just gone
            times = process.cpu_times()
            spent += times.user + times.system
    return spent


async def _both_benches(bar: Progress, rounds: int, long_rounds: int) -> list[Line]:
    async with prepared() as bench:
        return [*await overhead(bench, bar, rounds), *await long_jobs(bench, bar, long_rounds)]


def measure(bar: Progress, *, rounds: int = 150, long_rounds: int = 2) -> list[Line]:
    """Rounds of two tiny jobs and two bare arq round trips; of two long jobs and two direct calls."""
    return asyncio.run(_both_benches(bar, rounds, long_rounds))


if __name__ == "__main__":
    sys.exit(present(__doc__, "What the platform adds to a job", measure))
