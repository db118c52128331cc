"""Engine `asr`: what the server can do now, and one recording on its way through it."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path

from grpc import StatusCode

from config.settings import EngineSettings, Settings
from domain.capabilities import EngineReport, ModelReport
from domain.errors import EngineFailed
from domain.transcript import Heard
from engines.contract import Hearing
from engines.riva.connection import Connection
from engines.riva.listening import Listening, Order
from engines.riva.models import RivaModel, choose, diarizes, languages_of, match_language
from engines.riva.recording import Recording
from engines.riva.recovery import CallFailed, error_of
from engines.riva.request import OPTIONS

PROBE_SECONDS = 1.0
"""For a report, which has two seconds."""

MODELS_SECONDS = 10.0
"""For the list of models before a recording, which a busy server may be slow to give."""


class RivaEngine:
    """The entry point `asr`: the source of one engine, which is itself."""

    name = "asr"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.engines
        uri = self._settings.riva_uri
        self._connection = None if uri is None else Connection(uri, self._settings)
        self._known: list[RivaModel] = []
        self._in_hand = 0

    async def engines(self) -> Sequence["RivaEngine"]:
        return [self]

    async def close(self) -> None:
        """Every call has a connection of its own: none is open now."""

    async def report(self) -> EngineReport:
        """As `engines.contract.Engine.report`; when the server is away, with the models that it last had."""
        reason = await self._look()
        report = describe(self._known, self._settings, reason=reason)
        return report.model_copy(update={"load": self._in_hand, "load_of": "worker"})

    async def _look(self) -> str | None:
        """Find out what the server has; why it cannot be used, or None where it can."""
        if self._connection is None:
            return "RIVA_URI is not set"
        try:
            async with self._connection.open() as session:
                self._known = await session.models(timeout=PROBE_SECONDS)
        except CallFailed as failed:
            away = failed.code in (StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED)
            return "unreachable: nothing answers at RIVA_URI" if away else str(error_of(failed.code))
        except EngineFailed as error:
            return str(error)
        return _why_unfit(self._known, self._settings)

    async def transcribe(self, audio: Path, hearing: Hearing) -> AsyncGenerator[Heard, None]:
        """As `engines.contract.Engine.transcribe`."""
        self._in_hand += 1
        try:
            async with aclosing(self._transcribe(Recording.open(audio), hearing)) as heard:
                async for item in heard:
                    yield item
        finally:
            self._in_hand -= 1

    async def _transcribe(self, recording: Recording, hearing: Hearing) -> AsyncGenerator[Heard, None]:
        if self._connection is None:
            raise EngineFailed("RIVA_URI is not set, so there is no Riva to ask", retryable=False)
        try:
            async with self._connection.open() as session:
                models = await session.models(timeout=MODELS_SECONDS)
        except CallFailed as failed:
            raise error_of(failed.code) from None
        order = Order.of(recording, hearing, models, self._settings)
        listening = Listening(self._connection, recording, order, patience=self._settings.silence_timeout_seconds)
        async with aclosing(listening.run()) as heard:
            async for item in heard:
                yield item


def describe(models: Sequence[RivaModel], settings: EngineSettings, *, reason: str | None) -> EngineReport:
    """The report on a server that has `models`; a `reason` says why it cannot be used."""
    known = match_language(models, settings.riva_language, settings.riva_language) if models else None
    language = known or settings.riva_language
    best = _default_model(models, language, settings)
    return EngineReport(
        engine=RivaEngine.name,
        available=reason is None,
        reason=reason,
        description="NVIDIA Riva or a Speech NIM, over gRPC. Boosted words are sent with every call; a server with a "
        "greedy decoder ignores them without saying so.",
        quality=90,
        models=tuple(ModelReport(name=model.name, state="ready", note=model.note) for model in models),
        default_model=best.name if best else None,
        languages=languages_of(models),
        default_language=language if known or not models else None,
        diarizes=diarizes(models, settings.riva_diarization),
        speaker_hints=("num_speakers", "max_speakers"),
        boosts_words=True,
        options=OPTIONS,
        detail={
            "uri": settings.riva_uri,
            "model": settings.riva_model,
            "language": settings.riva_language,
            "model_fits": any(model.fits(settings.riva_model) for model in models),
        },
    )


def _default_model(models: Sequence[RivaModel], language: str, settings: EngineSettings) -> RivaModel | None:
    speakers = diarizes(models, settings.riva_diarization)
    found = (
        choose(models, streaming=streaming, language=language, hint=settings.riva_model, diarize=speakers)
        for streaming in (False, True)
    )
    return next((model for model in found if model is not None), None)


def _why_unfit(models: Sequence[RivaModel], settings: EngineSettings) -> str | None:
    """None where the server can be used."""
    if not models:
        return "no fitting model: the server has none, or is still loading them"
    if languages_of(models) and match_language(models, settings.riva_language, settings.riva_language) is None:
        has = ", ".join(languages_of(models))
        return f"no fitting model: the server knows {has}; set RIVA_LANGUAGE to one of them"
    return None
