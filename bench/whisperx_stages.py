"""Cancels and kills WhisperX in the middle of each stage: `python -m bench.whisperx_stages`, about six minutes.

A real engine server and its child, with the small weights of ../shared/data/models and a diarizer with random ones, on
44 s of speech. Of a job that is cancelled: how long until the server says that the child has nothing in hand, and
whether the child still has its model then (one deep in native code has to be killed). Of a child that is killed
(`kill -9`): how long until its job fails. Needs `make whisperx` and ../shared/data.
"""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import httpx
import imageio_ffmpeg
from rich import box
from rich.table import Table

from bench.measure import console, progress_bar
from cli.embedded import WHISPERX_PYTHON
from domain.errors import EngineCrashed
from engines.contract import Engine
from tests.engines.contract_suite import Recording
from tests.engines.harness import EngineServer, engine_server, hear
from tests.support.whisperx_engine import STAGES, Models, until

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
LONGEST_SECONDS = 6.0
"""After which a cancelled job's work is to be gone."""


@dataclass(slots=True)
class Stage:
    gone: list[float] = field(default_factory=list)
    """Seconds from a cancel until the child has nothing in hand."""
    kept: int = 0
    """How often it still had its model then."""
    failed: list[float] = field(default_factory=list)
    """Seconds from a kill until the job fails."""


@dataclass(frozen=True, slots=True)
class Bench:
    server: EngineServer
    engine: Engine
    speech: Recording
    short: Recording

    async def warm_up(self) -> int:
        """Have the models of all stages in memory; answers the child's process id."""
        await hear(self.engine, self.short.path, self.short.hearing)
        return await self.server.pid("whisperx")

    async def cancel_in(self, name: str, stage: Stage) -> None:
        child = await self.warm_up()
        async with self.server.http() as http:
            async with aclosing(self.engine.transcribe(self.speech.path, self.speech.hearing)) as heard:
                await until(heard, name)
                began = perf_counter()
            # What the server knows is asked of it without the client's cache, as fast as it answers.
            while (report := await self._report(http))["load"]:
                pass
            stage.gone.append(perf_counter() - began)
        stage.kept += [loaded["pid"] for loaded in report["memory"]] == [child]

    async def kill_in(self, name: str, stage: Stage) -> None:
        child = await self.warm_up()
        async with aclosing(self.engine.transcribe(self.speech.path, self.speech.hearing)) as heard:
            await until(heard, name)
            began = perf_counter()
            os.kill(child, signal.SIGKILL)
            try:
                async for _ in heard:
                    pass
            except EngineCrashed:
                stage.failed.append(perf_counter() - began)

    async def _report(self, http: httpx.AsyncClient) -> dict[str, Any]:
        (report,) = [each for each in (await http.get("/models")).json() if each["engine"] == "whisperx"]
        return dict(report)


def decode(source: Path, folder: Path) -> Recording:
    """As the platform does it before an engine gets a recording."""
    target = folder / f"{source.stem}.wav"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-i", str(source)]
    subprocess.run([*command, "-ac", "1", "-ar", "16000", "-c:a", "pcm_s16le", str(target)], check=True)
    return Recording(target)


async def measure(folder: Path, rounds: int) -> dict[str, Stage]:
    speech, short = (decode(DATA / name, folder) for name in ("long/two_cities_16k.wav", "en/riva_en-US_sample.wav"))
    weights = Models(DATA / "models" / "whisper-micro-ct2", DATA / "models" / "wav2vec2-micro-en", folder / "diarizer")
    weights.made_by(WHISPERX_PYTHON, short.path)
    stages = {name: Stage() for name in STAGES}
    async with (
        engine_server(python=WHISPERX_PYTHON, **weights.environ(folder)) as server,
        server.engine("whisperx") as engine,
    ):
        bench = Bench(server, engine, speech, short)
        with progress_bar() as bar:
            for name in bar.track([*STAGES] * rounds, description="cancelled and killed"):
                await bench.cancel_in(name, stages[name])
                await bench.kill_in(name, stages[name])
    return stages


def table(stages: dict[str, Stage], rounds: int) -> Table:
    title = f"WhisperX interrupted in each stage, {rounds} times each way; goal: gone within {LONGEST_SECONDS:g} s"
    drawn = Table(title=title, title_justify="left", box=box.SIMPLE)
    for heading in ("stage", "cancelled: gone after", "worst", "kept its model", "killed: job failed after", "worst"):
        drawn.add_column(heading, justify="left" if heading == "stage" else "right")
    for name, stage in stages.items():
        drawn.add_row(
            name,
            f"{median(stage.gone):.2f} s",
            f"{max(stage.gone):.2f} s",
            f"{stage.kept} of {rounds}",
            f"{median(stage.failed):.2f} s" if stage.failed else "never",
            f"{max(stage.failed):.2f} s" if stage.failed else "never",
        )
    return drawn


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often each stage is cancelled, and killed")
    rounds = parser.parse_args().rounds
    if not WHISPERX_PYTHON.exists():
        console().print("WhisperX is not installed here: run `make whisperx`")
        return 1
    with tempfile.TemporaryDirectory(prefix="escriba-bench-") as folder:
        stages = asyncio.run(measure(Path(folder), rounds))
    console().print(table(stages, rounds))
    failed = all(len(stage.failed) == rounds for stage in stages.values())
    return 0 if failed and max(max(stage.gone) for stage in stages.values()) <= LONGEST_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
