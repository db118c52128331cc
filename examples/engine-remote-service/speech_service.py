"""Engine `speech-service`: a server that speaks OpenAI's `POST /v1/audio/transcriptions`, at SPEECH_SERVICE_URL."""

import asyncio
import os
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx

from config.settings import Settings
from domain.capabilities import TRANSCRIBE_STAGE, EngineReport, base_language
from domain.errors import EngineFailed
from domain.transcript import Heard, Progress, Segment
from engines.contract import Hearing

NEVER = (400, 413, 415, 422)  # statuses that are about the recording; any other may pass
ABOUT = EngineReport(
    engine="speech-service",
    available=True,
    description="A speech service with OpenAI's API",
    quality=40,
    default_language="en",
    options={"type": "object", "properties": {"prompt": {"type": "string"}}, "additionalProperties": False},
)


class SpeechService:
    name = ABOUT.engine

    def __init__(self, settings: Settings) -> None:
        self._client = httpx.AsyncClient(
            base_url=os.environ.get("SPEECH_SERVICE_URL", ""),
            headers={"Authorization": f"Bearer {os.environ.get('SPEECH_SERVICE_KEY', '')}"},
            timeout=httpx.Timeout(10, read=settings.engines.silence_timeout_seconds),
        )

    async def engines(self) -> list["SpeechService"]:
        return [self]  # one service is one engine, so this is the source and the engine at once

    async def close(self) -> None:
        await self._client.aclose()

    async def report(self) -> EngineReport:
        try:  # a report may take two seconds
            (await self._client.get("/v1/models", timeout=1.5)).raise_for_status()
        except httpx.HTTPError as error:
            reason = f"{type(error).__name__}; are SPEECH_SERVICE_URL and SPEECH_SERVICE_KEY right?"
            return ABOUT.model_copy(update={"available": False, "reason": reason})
        return ABOUT

    async def transcribe(self, audio: Path, hearing: Hearing) -> AsyncGenerator[Heard]:
        start = 0.0
        for said in await self._ask(audio, hearing):
            start, end = max(start, said.start), min(said.end, hearing.audio_seconds)
            if said.text.strip() and start < end:
                yield Segment(start=start, end=end, text=said.text.strip())
                start = end
        yield Progress(stage=TRANSCRIBE_STAGE, done=hearing.audio_seconds, total=hearing.audio_seconds)

    async def _ask(self, audio: Path, hearing: Hearing) -> list[Segment]:
        model, language = os.environ.get("SPEECH_SERVICE_MODEL", "whisper-1"), base_language(hearing.language or "en")
        form = {"model": model, "language": language, "response_format": "verbose_json", **hearing.options}
        try:
            with await asyncio.to_thread(audio.open, "rb") as file:
                answer = await self._client.post("/v1/audio/transcriptions", data=form, files={"file": file})
            if answer.is_error:
                raise EngineFailed(f"the service says {answer.status_code}", retryable=answer.status_code not in NEVER)
            return [Segment(start=it["start"], end=it["end"], text=it["text"]) for it in answer.json()["segments"]]
        except httpx.HTTPError as error:
            raise EngineFailed(f"the service is away ({type(error).__name__})", retryable=True) from error
        except (ValueError, KeyError, TypeError) as error:
            raise EngineFailed("the service answers something else than verbose_json", retryable=False) from error
