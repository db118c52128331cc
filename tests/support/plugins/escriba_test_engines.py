"""Engines for tests of whole processes: installed where this folder is on PYTHONPATH, as its dist-info says.

`poison` kills the process that it runs in, `endless` never ends, `stuck` stops that process,
`gentle` says which process it ran in.
"""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from config.settings import Settings
from domain.capabilities import EngineReport
from domain.transcript import Heard, Segment
from engines.contract import Engine, Hearing


class TestEngine:
    def __init__(self, name: str) -> None:
        self.name = name

    async def report(self) -> EngineReport:
        return EngineReport(engine=self.name, available=True, quality=0, detects_language=True)

    async def transcribe(self, audio: Path, hearing: Hearing) -> AsyncGenerator[Heard]:
        yield Segment(start=0, end=hearing.audio_seconds, text=str(os.getpid()))
        if self.name == "poison":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.name == "endless":
            await asyncio.Event().wait()
        if self.name == "stuck":
            await asyncio.sleep(0.5)  # what was said is kept meanwhile
            os.kill(os.getpid(), signal.SIGSTOP)


class TestEngines:
    def __init__(self, _: Settings) -> None:
        self._engines = [TestEngine(name) for name in ("poison", "endless", "stuck", "gentle")]

    async def engines(self) -> Sequence[Engine]:
        return self._engines

    async def close(self) -> None: ...
