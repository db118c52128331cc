"""G18: decoding ten hours through the sandbox against the plain ffmpeg command, side by side.

    python -m bench.decode [--hours 10] [--rounds 3] [--source FILE]

Every run has a process of its own, which reports the decoder's peak memory; for ours, what the worker's side grew by is
added to it.
"""

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
from rich.progress import Progress

from bench.measure import Estimate, Goal, Line, Runs, abba, present, quantile
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


def run(way: str, source: Path, target: Path) -> Run:
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


def run_apart(way: str, source: Path) -> Run:
    target = source.with_name("sound.wav")
    command = [sys.executable, "-m", "bench.decode", "--one", way, str(source), str(target)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    target.unlink()
    return Run(**json.loads(done.stdout))


def make_silence(folder: Path, hours: float) -> Path:
    source = folder / "silence.flac"
    silence = ["-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono", "-t", str(hours * 3600)]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *silence, str(source)], check=True)
    return source


def lines_of(runs: Runs[Run]) -> list[Line]:
    hours = runs.ours[0].sound_seconds / 3600
    ours, anchor = (f"{quantile([run.wall_seconds for run in side]).value:.2f} s" for side in (runs.ours, runs.anchor))
    peak = max(run.peak_mib for run in runs.ours)
    return [
        Line(
            f"speed, {hours:.1f} hours of sound", ours, anchor, runs.ratio(lambda run: 1 / run.wall_seconds), goal=SPEED
        ),
        Line("   the same side again (A/A)", "", "", runs.noise(lambda run: 1 / run.wall_seconds)),
        Line("   processor time", "", "", runs.ratio(lambda run: run.cpu_seconds)),
        Line("peak memory", "", "", Estimate.exact(peak), "MiB", PEAK_MIB),
    ]


def measure(bar: Progress, *, hours: float = 10.0, rounds: int = 3, source: str = "") -> list[Line]:
    """Hours of silence, or the recording `source`; rounds of four runs."""
    runs: Runs[Run] = Runs()
    task = bar.add_task("decoding", total=4 * rounds + 1)
    with tempfile.TemporaryDirectory() as folder:
        recording = Path(folder) / "source"
        if source:
            recording.write_bytes(Path(source).read_bytes())
        else:
            recording = make_silence(Path(folder), hours)
        bar.advance(task)
        for side in abba(rounds):
            runs.add(side, run_apart("plain" if side == "anchor" else "ours", recording))
            bar.advance(task)
    return lines_of(runs)


def main() -> int:
    if sys.argv[1:2] != ["--one"]:
        return present(__doc__, "Decoding beside the ffmpeg command", measure)
    way, source, target = sys.argv[2:]
    found = run(way, Path(source), Path(target))
    print(json.dumps({name: getattr(found, name) for name in Run.__slots__}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
