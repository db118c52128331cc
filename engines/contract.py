"""What every engine promises, whoever wrote it. `tests/engines/contract_suite.py` holds an adapter to it."""

from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any, Protocol

from pydantic import Field

from domain.capabilities import EngineReport, Term
from domain.transcript import Heard, Seconds, StageReached, Value

SAMPLE_RATE_HZ = 16_000
"""Every engine gets WAV, mono, signed 16-bit, at this rate: what the speech models here were all trained on."""

DOWNLOAD_STAGE = "download"
"""The stage of a Progress that counts bytes, not seconds: the weights that an engine fetches before it can start."""


class Hearing(Value):
    """What to do with one recording, in the platform's own words; each adapter translates.

    `language` is BCP 47 or None for the engine's own way (detection where it can, else its default).
    `options` are the engine's own, already checked against its JSON Schema. `given` is what was kept of an earlier try
    or another engine, of a stage before one of this engine's own: begin behind it, and say all its segments again.
    """

    audio_seconds: Seconds
    language: str | None = None
    model: str | None = None
    enable_diarization: bool | None = None
    num_speakers: int | None = None
    min_speakers: int | None = None
    max_speakers: int | None = None
    terms: tuple[Term, ...] = ()
    given: StageReached | None = None
    options: dict[str, Any] = Field(default_factory=dict)


class Engine(Protocol):
    name: str

    async def report(self) -> EngineReport:
        """What the engine can do now, or why it cannot. Within two seconds; never raises."""
        ...

    def transcribe(self, audio: Path, hearing: Hearing) -> AsyncGenerator[Heard, None]:
        """Hear one file.

        Args:
            audio: WAV, 16 kHz, mono, signed 16-bit, with at least one sample; read only.
            hearing: what to do with it.

        Yields:
            Segments in time order, never overlapping, within the recording; Progress as the audio is dealt with (its
            `done` never falls within a stage); at most one Detected, before the first segment; at most one TermsUsed,
            where there are terms; Notices at any time; StageReached behind a stage that took work and that others
            of its own follow. Silence yields no segment.

        Closing the iterator, or cancelling the task that reads it, ends the work within a second and frees the engine.

        Raises:
            EngineFailed: with `retryable=True` where the same call may succeed later.
        """
        ...


class EngineSource(Protocol):
    """What an entry point of the group `escriba.engines` names: a class made with the Settings of this process."""

    async def engines(self) -> Sequence[Engine]:
        """The engines that can be named through this source now. An unreachable source names the last it knew."""
        ...

    async def close(self) -> None: ...
