"""WhisperX behind a real engine server, on small weights in the real formats; what its tests and its bench share."""

import json
import subprocess
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domain.transcript import Heard, Notice, Progress, Segment, StageReached
from engines.contract import Engine
from tests.engines.harness import ROOT, engine_server

Environ = dict[str, str]

STAGES = ("vad", "transcribe", "align", "diarize")


@dataclass(frozen=True)
class Models:
    """Folders of weights. Whisper's and the aligner's have memorised the shared data, the diarizer's are random."""

    whisper: Path
    aligner: Path
    diarizer: Path

    def environ(self, models_dir: Path) -> Environ:
        """What an operator without a network would have set. NLTK's data are not there: it has to do without them."""
        return {
            "WHISPERX_DEFAULT_MODEL": str(self.whisper),
            "WHISPERX_ALIGN_MODELS": f"en={self.aligner}",
            "WHISPERX_DIARIZATION_MODEL": str(self.diarizer),
            "WHISPER_DEVICE": "cpu",
            "MODELS_OFFLINE": "1",
            "MODELS_DIR": str(models_dir),
        }

    def made_by(self, python: Path, recording: Path) -> dict[str, Any]:
        """Write the diarizer, and answer what the libraries make of `recording` in a process of their own."""
        arguments = [str(each) for each in (self.whisper, self.aligner, self.diarizer, recording)]
        command = [str(python), "-m", "tests.support.whisperx_directly", *arguments]
        done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer


@asynccontextmanager
async def whisperx_with(python: Path, environ: Environ, **changed: str) -> AsyncIterator[Engine]:
    """A server of its own, for settings that no other test has."""
    async with engine_server(python=python, **{**environ, **changed}) as server, server.engine("whisperx") as engine:
        yield engine


async def until(heard: AsyncIterator[Heard], stage: str) -> list[Heard]:
    """What is said up to the first word of `stage`; the engine is at it then."""
    said = []
    async for item in heard:
        said.append(item)
        if isinstance(item, Progress) and item.stage == stage:
            return said
    raise AssertionError(f"there was no stage {stage}")


def segments_of(heard: Iterable[Heard]) -> list[Segment]:
    return [item for item in heard if isinstance(item, Segment)]


def notices_of(heard: Iterable[Heard]) -> list[str]:
    return [item.code for item in heard if isinstance(item, Notice)]


def stages_of(heard: Iterable[Heard]) -> list[str]:
    """The stages in which progress was told, in order."""
    return list(dict.fromkeys(item.stage for item in heard if isinstance(item, Progress)))


def reached_in(heard: Iterable[Heard]) -> list[StageReached]:
    return [item for item in heard if isinstance(item, StageReached)]
