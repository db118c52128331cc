"""One recording on its way through the server: which ways to ask, in which order, and what to do when one fails."""

import logging
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from grpc import StatusCode
from riva.client.proto.riva_asr_pb2 import RecognitionConfig, SpeechRecognitionResult, StreamingRecognitionResult

from config.settings import EngineSettings
from domain.capabilities import TRANSCRIBE_STAGE
from domain.errors import ModelMissing
from domain.transcript import Heard, Notice, Progress
from engines.contract import Hearing
from engines.riva.assembly import Assembly, Result
from engines.riva.connection import Connection, Session
from engines.riva.models import RivaModel, diarizes, languages_of, match_language, named
from engines.riva.recording import BYTES_PER_SECOND, Piece, Recording
from engines.riva.recovery import Ask, CallFailed, Recovery, Way, asks
from engines.riva.request import Boosts, compile_terms, most_speakers, recognition_config
from engines.riva.speakers import Speakers

logger = logging.getLogger(__name__)

SAFE_MESSAGE_BYTES = 3_670_016
"""3.5 MiB: with room for the configuration, below the 4 MiB that every gRPC server takes."""

ENVELOPE_BYTES = 1024
"""What a request may have beside its audio and its speech contexts."""

NO_SPEAKERS = "diarization_unavailable"
"""Code of the notice that speakers were not told apart though that was asked for."""


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for, as this server can do it."""

    hearing: Hearing
    language: str
    boosts: Boosts
    asks: Sequence[Ask]
    piece_bytes: int
    diarizer_known: bool
    notices: tuple[Notice, ...]

    @classmethod
    def of(
        cls, recording: Recording, hearing: Hearing, models: Sequence[RivaModel], settings: EngineSettings
    ) -> "Order":
        """Raises EngineFailed where the server has no model for it."""
        language = _language(models, hearing.language or settings.riva_language, settings.riva_language)
        usable = _usable(models, hearing.model, language)
        boosts = compile_terms(hearing.terms, settings)
        room = ENVELOPE_BYTES + sum(context.ByteSize() + ENVELOPE_BYTES for context in boosts.contexts)
        piece_bytes = max(BYTES_PER_SECOND, min(settings.riva_max_message_bytes, SAFE_MESSAGE_BYTES) - room)
        ways = _ways(usable, recording.size_bytes, whole=settings.riva_max_message_bytes - room, piece=piece_bytes)
        known = diarizes(usable, settings.riva_diarization)
        wanted = known if hearing.enable_diarization is None else hearing.enable_diarization
        possible = ways[0] is not Way.PIECES
        return cls(
            hearing=hearing,
            language=language,
            boosts=boosts,
            asks=asks(
                usable,
                ways=ways,
                language=language,
                hint=settings.riva_model,
                exact=hearing.model is not None,
                diarize=wanted and possible,
            ),
            piece_bytes=piece_bytes,
            diarizer_known=known,
            notices=tuple(_notices(hearing, wanted=wanted, possible=possible)),
        )

    def config(self, ask: Ask) -> RecognitionConfig:
        return recognition_config(
            self.hearing, self.boosts, language=self.language, model=ask.model, diarize=ask.diarize
        )


@dataclass(frozen=True, slots=True)
class _Reply:
    results: list[Result]
    """Those with an alternative: a reply, and a result, may be empty."""
    until: float
    """Seconds of the recording that have been dealt with; 0 where the server does not say."""


class Listening:
    """One recording and one server."""

    def __init__(self, connection: Connection, recording: Recording, order: Order, *, patience: float) -> None:
        """`patience`: seconds that the server may be silent."""
        self._connection, self._recording, self._order = connection, recording, order
        self._patience = patience
        self._recovery = Recovery(order.asks)
        self._speakers = Speakers(asked=self._recovery.ask.diarize, diarizer_known=order.diarizer_known)
        self._total = min(order.hearing.audio_seconds, recording.seconds)
        self._assembly = Assembly(self._total, self._speakers)
        self._done = 0.0
        self._sent_bytes = 0

    async def run(self) -> AsyncGenerator[Heard, None]:
        """Raises EngineFailed."""
        for said in self._before():
            yield said
        retrying = False
        while True:
            try:
                async with aclosing(self._ask(self._recovery.ask, wait=retrying)) as heard:
                    async for item in heard:
                        yield item
                break
            except CallFailed as failed:
                logger.warning("%s failed: %s", self._recovery.ask.way.value, failed.code.name)
                self._mend(failed.code)
                retrying = True
        for said in self._after():
            yield said

    def _mend(self, code: StatusCode) -> None:
        if code is StatusCode.DEADLINE_EXCEEDED:
            self._patience *= 2
        self._recovery.after(code, heard=self._assembly.started)
        self._assembly.restart()
        if not self._recovery.ask.diarize:
            self._speakers.give_up()

    async def _ask(self, ask: Ask, *, wait: bool) -> AsyncGenerator[Heard, None]:
        """Ask for the words in one way. Raises CallFailed."""
        config = self._order.config(ask)
        async with self._connection.open(wait=wait) as session:
            if ask.way is Way.STREAM:
                results = self._stream(session, config)
            elif ask.way is Way.WHOLE:
                results = self._recognize(session, config, [self._recording.whole()])
            else:
                results = self._recognize(session, config, self._recording.pieces(self._order.piece_bytes))
            async with aclosing(results):
                async for reply in results:
                    for segment in self._assembly.take(reply.results):
                        yield segment
                    for progress in self._progress(reply.until):
                        yield progress

    async def _stream(self, session: Session, config: RecognitionConfig) -> AsyncGenerator[_Reply, None]:
        replies = session.stream(
            config, self._recording.chunks(), seconds=self._recording.seconds, patience=self._patience
        )
        async with aclosing(replies):
            async for reply in replies:
                until = max((result.audio_processed for result in reply.results), default=0.0)
                yield _Reply([_of_stream(result) for result in reply.results if result.alternatives], until)

    async def _recognize(
        self, session: Session, config: RecognitionConfig, pieces: Iterable[Piece]
    ) -> AsyncGenerator[_Reply, None]:
        """Piece by piece; what has been heard of an earlier try is not sent again."""
        for piece in pieces:
            if piece.start_byte < self._sent_bytes:
                continue
            reply = await session.recognize(config, piece.samples, timeout=self._patience + piece.seconds)
            self._sent_bytes = piece.end_byte
            yield _Reply([_of_call(result, piece) for result in reply.results if result.alternatives], piece.end)

    def _progress(self, done: float) -> Iterator[Progress]:
        """Never falls, though a stream that is begun anew hears everything again; never beyond the end."""
        if done > self._done:
            self._done = min(done, self._total)
            yield Progress(stage=TRANSCRIBE_STAGE, done=self._done, total=self._total)

    def _before(self) -> Iterator[Heard]:
        if self._order.boosts.used is not None:
            yield self._order.boosts.used
        yield from self._order.boosts.notices
        yield from self._order.notices

    def _after(self) -> Iterator[Heard]:
        yield from self._assembly.finish()
        yield Progress(stage=TRANSCRIBE_STAGE, done=self._total, total=self._total)
        asked = self._order.asks[0].diarize
        if asked and self._assembly.started and not self._speakers.count:
            yield Notice(code=NO_SPEAKERS, message="Riva did not tell speakers apart: its model has no diarizer")
        most = most_speakers(self._order.hearing)
        if asked and most is not None and self._speakers.count > most:
            said = f"Riva found {self._speakers.count} speakers, though {most} were the most to look for"
            yield Notice(code="more_speakers", message=said)


def _language(models: Sequence[RivaModel], wanted: str, preferred: str) -> str:
    if not models:
        raise ModelMissing("Riva has no models, or is still loading them; try again later", retryable=True)
    language = match_language(models, wanted, preferred)
    if language is None:
        has = ", ".join(languages_of(models))
        raise ModelMissing(f"Riva has no model for {wanted}; it knows {has}", retryable=False)
    return language


def _usable(models: Sequence[RivaModel], model: str | None, language: str) -> Sequence[RivaModel]:
    """The models of a language; or the one that the caller named."""
    if model is None:
        return [known for known in models if known.speaks(language)]
    found = named(models, model)
    if found is None or not found.speaks(language):
        has = ", ".join(known.name for known in models if known.speaks(language))
        raise ModelMissing(f"Riva has no model {model!r} for {language}; it has {has}", retryable=False)
    return [found]


def _ways(models: Sequence[RivaModel], size: int, *, whole: int, piece: int) -> list[Way]:
    """Short recordings at once, long ones as a stream, by what the server says it can; then what it does not say."""
    streams = any(model.streaming for model in models)
    if size <= whole:
        ways = [Way.WHOLE, Way.STREAM] if any(model.offline for model in models) else [Way.STREAM, Way.WHOLE]
        # The operator's limit may be more than the server takes.
        return ways if size <= piece else [*ways, Way.PIECES]
    return [Way.STREAM, Way.PIECES] if streams else [Way.PIECES, Way.STREAM]


def _notices(hearing: Hearing, *, wanted: bool, possible: bool) -> Iterator[Notice]:
    if wanted and not possible:
        said = (
            "speakers were not told apart: the recording is longer than one message for Riva, which does not stream; "
            "raise RIVA_MAX_MESSAGE_BYTES if the server takes more, or give it a streaming model"
        )
        yield Notice(code=NO_SPEAKERS, message=said)
    if wanted and hearing.num_speakers is not None:
        said = f"Riva was told that {hearing.num_speakers} speak at most, as it cannot be told how many exactly"
        yield Notice(code="num_speakers_as_most", message=said)


def _of_stream(result: StreamingRecognitionResult) -> Result:
    return Result(result.alternatives[0], final=result.is_final, until=round(result.audio_processed, 3))


def _of_call(result: SpeechRecognitionResult, piece: Piece) -> Result:
    until = round(piece.start + result.audio_processed, 3) if result.audio_processed else piece.end
    return Result(result.alternatives[0], final=True, until=until, offset=piece.start)
