"""Engines that cost nothing but time, and a decoder that does, for benches that measure what is around them.

What they do is said by the environment of their process:

    STUB_ENGINE_SECONDS   how long the engine `stub` is at a recording (0: not at all)
    STUB_ENGINE_AT_ONCE   how many recordings it hears at once; left out: as many as it is given
    STUB_DECODE_SECONDS   put a decoder in the place of ffmpeg that takes so long; left out: ffmpeg
    STUB_CLAIMS           file to which the seconds of every choice of a job with its claim are added, a line each
"""

import asyncio
import io
import os
import wave
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from time import perf_counter, time
from typing import Any, Self

from bench.plugin import replace
from bench.stopwatch import FILE, note
from config.settings import EngineSettings, Settings
from domain.capabilities import TRANSCRIBE_STAGE, EngineReport
from domain.transcript import Heard, Progress, Segment
from engines.contract import SAMPLE_RATE_HZ, Engine, Hearing
from engines.server.contract import OnDownload
from media.decode import Decoded, decode
from services import attempts

SOURCE = "bench.stubs:Stubs"
ENGINE = "stub"
ENGINE_SECONDS, ENGINE_AT_ONCE = "STUB_ENGINE_SECONDS", "STUB_ENGINE_AT_ONCE"
DECODE_SECONDS, CLAIMS = "STUB_DECODE_SECONDS", "STUB_CLAIMS"

UNLIMITED = 1_000_000

CHOOSING: ContextVar[float] = ContextVar("choosing", default=0.0)
"""Seconds that the choice took which a claim follows."""


class Stubs:
    """The engine source."""

    def __init__(self, _: Settings) -> None:
        self._engine = Stub(
            seconds=float(os.environ.get(ENGINE_SECONDS, 0)), at_once=int(os.environ.get(ENGINE_AT_ONCE, UNLIMITED))
        )
        if seconds := os.environ.get(DECODE_SECONDS):
            replace(decode, _decoder(float(seconds)))
        if file := os.environ.get(CLAIMS):
            replace(attempts.claim, _timed(attempts.claim, Path(file)))
            replace(attempts.next_due, _remembered(attempts.next_due))

    async def engines(self) -> Sequence[Engine]:
        return [self._engine]

    async def close(self) -> None: ...


class Stub:
    name = ENGINE

    def __init__(self, *, seconds: float, at_once: int) -> None:
        self._seconds = seconds
        self._turns = asyncio.Semaphore(at_once)

    async def report(self) -> EngineReport:
        return EngineReport(engine=ENGINE, available=True, detects_language=True)

    async def transcribe(self, _audio: Path, hearing: Hearing) -> AsyncGenerator[Heard]:
        async with self._turns:
            yield Progress(stage=TRANSCRIBE_STAGE, done=0, total=hearing.audio_seconds)
            if self._seconds:
                await asyncio.sleep(self._seconds)
            yield Segment(start=0, end=hearing.audio_seconds, text="nothing")


class StubModel:
    """A model in a child of the engine server; it notes when it is loaded, and when each recording reaches it."""

    @classmethod
    def report(cls, _settings: EngineSettings, /) -> EngineReport:
        return EngineReport(engine="bench-model", available=True, detects_language=True, auto=False)

    @classmethod
    def load(cls, _settings: EngineSettings, _model: str | None, _on_download: OnDownload, /) -> Self:
        if FILE in os.environ:
            note("load", time(), 0)
        return cls()

    def transcribe(self, _audio: Path, hearing: Hearing) -> Iterator[Heard]:
        note("model", time(), 0)
        yield Progress(stage=TRANSCRIBE_STAGE, done=0, total=hearing.audio_seconds)
        yield Segment(start=0, end=hearing.audio_seconds, text="nothing")


def _decoder(seconds: float) -> Callable[..., Awaitable[Decoded]]:
    silence = _silence()

    async def stub(_source: Path, target: Path, *_: Any, **__: Any) -> Decoded:
        if seconds:
            await asyncio.sleep(seconds)
        target.write_bytes(silence)
        return Decoded(1.0, "audio/wav", codec="pcm_s16le", sample_rate_hz=SAMPLE_RATE_HZ, channels=1)

    return stub


def _silence() -> bytes:
    """A second of it, as the decoder writes it."""
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(bytes(2 * SAMPLE_RATE_HZ))
    return target.getvalue()


def _timed(claim: Callable[..., Awaitable[Any]], file: Path) -> Callable[..., Awaitable[Any]]:
    target = file.open("a", buffering=1)

    async def timed(*args: Any, **kwargs: Any) -> Any:
        began = perf_counter()
        attempt = await claim(*args, **kwargs)
        target.write(f"{perf_counter() - began + CHOOSING.get()}\n")
        return attempt

    return timed


def _remembered(choose: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def remembered(*args: Any, **kwargs: Any) -> Any:
        began = perf_counter()
        found = await choose(*args, **kwargs)
        CHOOSING.set(perf_counter() - began)
        return found

    return remembered
