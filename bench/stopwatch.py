"""What a worker loads by entry point: engines that note their own wall time, and that of the decoder.

Each note is a line of JSON in the file that STOPWATCH_FILE names: what was timed, when it began (seconds since 1970),
and for how many seconds we waited for it. A job's notes are there before its row says that it has ended.
"""

import json
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from time import perf_counter, time
from typing import Any

from bench.plugin import replace
from config.settings import Settings
from domain.capabilities import EngineReport
from domain.transcript import Heard, Segment
from engines.contract import Engine, Hearing
from engines.hosted import HostedEngine, HostedEngines
from media.decode import decode

SOURCE = "bench.stopwatch:Stopwatch"
FILE = "STOPWATCH_FILE"

NO_OP = "no-op"
TIMED = "timed-sphinx"
TIMED_MODEL = "timed-model"


class Stopwatch:
    """The engine source. It times the decoder too, wherever it was imported, as that has no seam for strangers."""

    def __init__(self, settings: Settings) -> None:
        self._hosted = HostedEngines(settings)
        replace(decode, _timed(decode))

    async def engines(self) -> Sequence[Engine]:
        sphinx, model = (HostedEngine(self._hosted, name) for name in ("sphinx", "bench-model"))
        return [Timed(NO_OP, NoOp()), Timed(TIMED, sphinx), Timed(TIMED_MODEL, model)]

    async def close(self) -> None:
        await self._hosted.close()


class NoOp:
    name = NO_OP

    async def report(self) -> EngineReport:
        return EngineReport(engine=NO_OP, available=True, detects_language=True)

    async def transcribe(self, _audio: Path, hearing: Hearing) -> AsyncGenerator[Heard]:
        yield Segment(start=0, end=hearing.audio_seconds, text="nothing")


class Timed:
    """Another engine under a name of our own. Only waiting for it counts, not what is done with what it says."""

    def __init__(self, name: str, engine: Engine) -> None:
        self.name = name
        self._engine = engine

    async def report(self) -> EngineReport:
        return (await self._engine.report()).model_copy(update={"engine": self.name})

    async def transcribe(self, audio: Path, hearing: Hearing) -> AsyncGenerator[Heard]:
        began, waited, ended = time(), 0.0, False
        async with aclosing(self._engine.transcribe(audio, hearing)) as heard:
            while not ended:
                asked = perf_counter()
                item = await anext(heard, None)
                waited += perf_counter() - asked
                if item is None:
                    ended = True
                else:
                    yield item
        note("engine", began, waited)


def _timed(function: Any) -> Any:
    async def timed(*args: Any, **kwargs: Any) -> Any:
        began, clock = time(), perf_counter()
        try:
            return await function(*args, **kwargs)
        finally:
            note("decode", began, perf_counter() - clock)

    return timed


def note(what: str, began: float, seconds: float) -> None:
    """Add a line to the notes."""
    with Path(os.environ[FILE]).open("a") as file:
        file.write(json.dumps({"what": what, "began": began, "seconds": seconds}) + "\n")
