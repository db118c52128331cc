"""An engine that does what a test tells it to, behind the same contract as every other."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from domain.capabilities import EngineReport
from domain.transcript import Heard, Segment
from engines.contract import Engine, Hearing
from engines.registry import Registry

Script = Callable[[Path, Hearing], AsyncIterator[Heard]]


async def three_words(_: Path, hearing: Hearing) -> AsyncIterator[Heard]:
    third = hearing.audio_seconds / 3
    for n, word in enumerate(("one", "two", "three")):
        yield Segment(start=n * third, end=(n + 1) * third, text=word)


class ScriptedEngine:
    """Engine and source in one. `began` and `ended` are set as the script is begun and left, however it is left."""

    def __init__(
        self, script: Script = three_words, *, name: str = "scripted", report: EngineReport | None = None
    ) -> None:
        self.name = name
        self.script = script
        self.answer = report or EngineReport(engine=name, available=True, quality=99, detects_language=True)
        self.began, self.ended = asyncio.Event(), asyncio.Event()
        self.heard: list[Hearing] = []

    async def engines(self) -> Sequence[Engine]:
        return [self]

    async def report(self) -> EngineReport:
        return self.answer

    async def transcribe(self, audio: Path, hearing: Hearing) -> AsyncIterator[Heard]:
        self.heard.append(hearing)
        self.began.set()
        try:
            async for item in self.script(audio, hearing):
                yield item
        finally:
            self.ended.set()

    async def close(self) -> None: ...


def registry_of(*engines: ScriptedEngine) -> Registry:
    return Registry({engine.name: engine for engine in engines})
