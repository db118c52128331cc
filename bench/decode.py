"""G18: decoding ten hours through the sandbox against the plain ffmpeg command, side by side.

    python -m bench.decode [--hours 10] [--rounds 3] [--source FILE]

Every run has a process of its own, which reports the decoder's peak memory; for ours, what the worker's side grew by is
added to it.
"""

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg

from bench.measure import Estimate, Goal, Line, Runs, abba, console, progress_bar, quantile, table
from media.decode import DecodeLimits, decode

SPEED = Goal(0.9, "≥")
PEAK_MIB = Goal(256, "≤")
LIMITS = DecodeLimits(max_seconds=100_000, memory_bytes=2_147_483_648)


@dataclass(frozen=True, slots=True)
class Run:
    wall_seconds: float
    cpu_seconds: float
    peak_mib: float
    sound_seconds: float


def plain_command(source: Path, target: Path) -> list[str]:
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    form = ["-vn", "-ac", "1", "-ar", "16000", "-c:a", "pcm_s16le"]
    return [ffmpeg, "-v", "error", "-nostdin", "-i", str(source), *form, str(target)]


def measure(way: str, source: Path, target: Path) -> Run:
    imageio_ffmpeg.get_ffmpeg_exe()  # looks for ffmpeg once in a process; a worker has done that long ago
    before, own_before = (resource.getrusage(who) for who in (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF))
    started = time.perf_counter()
    if way == "plain":
        subprocess.run(plain_command(source, target), check=True)
    else:
        asyncio.run(decode(source, target, LIMITS))
    wall = time.perf_counter() - started
    after, own_after = (resource.getrusage(who) for who in (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF))
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    grown_kib = 0 if way == "plain" else own_after.ru_maxrss - own_before.ru_maxrss
    return Run(wall, cpu, (after.ru_maxrss + grown_kib) / 1024, (target.stat().st_size - 44) / 32_000)


def measure_apart(way: str, source: Path) -> Run:
    target = source.with_name("sound.wav")
    command = [sys.executable, "-m", "bench.decode", "--one", way, str(source), str(target)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    target.unlink()
    return Run(**json.loads(done.stdout))


def make_silence(folder: Path, hours: float) -> Path:
    print(f"making {hours:g} hours of silence as FLAC …", flush=True)
    source = folder / "silence.flac"
    silence = ["-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono", "-t", str(hours * 3600)]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *silence, str(source)], check=True)
    return source


def lines_of(runs: Runs[Run]) -> list[Line]:
    ours, anchor = (f"{quantile([run.wall_seconds for run in side]).value:.2f} s" for side in (runs.ours, runs.anchor))
    peak = max(run.peak_mib for run in runs.ours)
    return [
        Line("speed", ours, anchor, runs.ratio(lambda run: 1 / run.wall_seconds), goal=SPEED),
        Line("   the same side again (A/A)", "", "", runs.noise(lambda run: 1 / run.wall_seconds)),
        Line("   processor time", "", "", runs.ratio(lambda run: run.cpu_seconds)),
        Line("peak memory", "", "", Estimate.exact(peak), "MiB", PEAK_MIB),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=10, help="length of the silence")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of four runs")
    parser.add_argument("--source", type=Path, help="decode this file instead")
    parser.add_argument("--one", nargs=3, metavar=("WAY", "SOURCE", "TARGET"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        way, source, target = options.one
        run = measure(way, Path(source), Path(target))
        print(json.dumps({name: getattr(run, name) for name in Run.__slots__}))
        return 0
    runs: Runs[Run] = Runs()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        if options.source:
            source.write_bytes(options.source.read_bytes())
        else:
            source = make_silence(Path(folder), options.hours)
        with progress_bar() as bar:
            task = bar.add_task("decoding", total=4 * options.rounds)
            for side in abba(options.rounds):
                runs.add(side, measure_apart("plain" if side == "anchor" else "ours", source))
                bar.advance(task)
    hours = runs.ours[0].sound_seconds / 3600
    console().print(table(f"Decoding {hours:.1f} hours of sound beside the ffmpeg command", lines_of(runs)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
