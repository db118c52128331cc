"""What the tests of the OpenAI dialect share: engines, what they hear, and requests as the official library asks."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from domain.capabilities import EngineReport, ModelReport
from domain.errors import EngineFailed
from domain.transcript import Detected, Heard, Segment, Word
from engines.contract import Hearing
from tests.support.audio import tone
from tests.support.scripted import ScriptedEngine

TRANSCRIPTIONS, TRANSLATIONS = "/v1/audio/transcriptions", "/v1/audio/translations"

SECONDS = 3.0
RECORDING = tone(SECONDS)
SAID = (("Good morning, how are you?", 0), ("I have a cough", 1), ("since Monday.", 1), ("I see.", 0))
TEXT = " ".join(text for text, _ in SAID)
CONFIDENCE = 0.5

TASK = {"enum": ["transcribe", "translate"]}
OPTIONS = {
    "type": "object",
    "properties": {"initial_prompt": {"type": "string"}, "hotwords": {"type": "string"}, "task": TASK},
}
ABLE = EngineReport(
    engine="able",
    available=True,
    quality=99,
    detects_language=True,
    diarizes=True,
    boosts_words=True,
    models=(ModelReport(name="base", state="ready"), ModelReport(name="large/v3", state="ready")),
    default_model="base",
    options=OPTIONS,
)
PLAIN = EngineReport(
    engine="plain",
    available=True,
    quality=1,
    languages=("en-US",),
    default_language="en-US",
    models=(ModelReport(name="small", state="ready"),),
    default_model="small",
)
AWAY = EngineReport(engine="away", available=False, reason="it is being mended", quality=2, detects_language=True)


def spoken(*, speakers: bool = True, words: bool = True, said: Sequence[tuple[str, int]] = SAID) -> list[Segment]:
    """All of SAID within SECONDS, each word as long as any other."""
    step = SECONDS / sum(len(text.split()) for text, _ in said)
    found, at = [], 0
    for text, speaker in said:
        tag = speaker if speakers else None
        parts = [
            Word(
                start=round((at + n) * step, 3),
                end=round((at + n + 1) * step, 3),
                text=word,
                confidence=CONFIDENCE,
                speaker_tag=tag,
            )
            for n, word in enumerate(text.split())
        ]
        at += len(parts)
        times = {"start": parts[0].start, "end": parts[-1].end}
        found.append(
            Segment(**times, text=text, confidence=CONFIDENCE, speaker_tag=tag, words=tuple(parts) if words else ())
        )
    return found


class Able(ScriptedEngine):
    """Can do everything; in the middle it stands still while `goes_on` is not set, or fails."""

    def __init__(self) -> None:
        super().__init__(self._hear, name="able", report=ABLE)
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.fails_with: EngineFailed | None = None

    async def _hear(self, _: Path, hearing: Hearing) -> AsyncIterator[Heard]:
        if hearing.language is None:
            yield Detected(language="en", probability=0.9)
        first, *rest = spoken(speakers=hearing.enable_diarization is not False)
        yield first
        if self.fails_with is not None:
            raise self.fails_with
        await self.goes_on.wait()
        for segment in rest:
            yield segment


async def without_words(_: Path, hearing: Hearing) -> AsyncIterator[Heard]:
    for segment in spoken(speakers=False, words=False):
        yield segment


def plain_engine() -> ScriptedEngine:
    return ScriptedEngine(without_words, name="plain", report=PLAIN)


@dataclass(frozen=True, slots=True)
class Desk:
    """The OpenAI door, with a worker behind it."""

    client: httpx.AsyncClient
    able: Able
    plain: ScriptedEngine

    async def ask(
        self,
        *fields: tuple[str, str],
        path: str = TRANSCRIPTIONS,
        recording: bytes = RECORDING,
        tries: int | None = None,
    ) -> httpx.Response:
        """As OpenAI's library for Python asks: the file comes last, and the tries are counted."""
        headers = {} if tries is None else {"x-stainless-retry-count": str(tries), "x-stainless-lang": "python"}
        model = () if any(name == "model" for name, _ in fields) else (("model", "whisper-1"),)
        parts: list[tuple[str, Any]] = [(name, (None, value)) for name, value in (*model, *fields)]
        parts.append(("file", ("speech.wav", recording, "audio/wav")))
        return await self.client.post(path, files=parts, headers=headers)

    async def view(self, *fields: tuple[str, str], **more: Any) -> dict[str, Any]:
        """The answer, which is one."""
        answer = await self.ask(*fields, **more)
        assert answer.status_code == 200, answer.text
        view: dict[str, Any] = answer.json()
        return view

    async def error(self, *fields: tuple[str, str], **more: Any) -> tuple[int, dict[str, Any]]:
        answer = await self.ask(*fields, **more)
        error: dict[str, Any] = answer.json()["error"]
        return answer.status_code, error
