"""A Riva server for tests: NVIDIA's published protocol, as strict as real servers are known to be, with every fault of
theirs as a switch. It understands the recordings of `tests.support.riva.speech`.

What it refuses, and with which code, is from reports on real servers and from NVIDIA's open `riva_server`; its model
names, parameters and error texts are the real ones, so that nothing here can be passed by reading texts.
"""

import asyncio
import hashlib
import struct
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import grpc
import grpc.aio
from riva.client.proto import riva_asr_pb2 as pb
from riva.client.proto.riva_asr_pb2_grpc import (
    RivaSpeechRecognitionServicer,
    add_RivaSpeechRecognitionServicer_to_server,
)
from riva.client.proto.riva_audio_pb2 import AudioEncoding

from tests.support.riva.speech import PAUSE_SECONDS, RATE_HZ, WORD_SECONDS, Listener, Spoken

MIB = 1 << 20
WAV_HEADER_BYTES = 44
GAP_THAT_ENDS_AN_UTTERANCE = PAUSE_SECONDS - WORD_SECONDS - 0.1


@dataclass(frozen=True)
class Model:
    name: str
    offline: bool
    language: str = "en-US"
    listed_as: str | None = None
    """What the list says in place of the truth, as NVIDIA's open server does."""

    @property
    def diarizes(self) -> bool:
        return "sortformer" in self.name

    @property
    def kind(self) -> str:
        return "offline" if self.offline else "online"

    def serves(self, kind: str) -> bool:
        return self.kind == kind or self.listed_as == "both"


OFFLINE = Model("parakeet-0.6b-en-US-asr-offline", offline=True)
STREAMING = Model("parakeet-0.6b-en-US-asr-streaming", offline=False)
OFFLINE_SPEAKERS = Model("parakeet-0.6b-en-US-asr-offline-silero-vad-sortformer", offline=True)
STREAMING_SPEAKERS = Model("parakeet-0.6b-en-US-asr-streaming-silero-vad-sortformer", offline=False)
MIXED = (OFFLINE, STREAMING)
MIXED_SPEAKERS = (OFFLINE_SPEAKERS, STREAMING_SPEAKERS)


@dataclass(frozen=True)
class Saying:
    """What the server makes of a value in the recording."""

    text: str
    tag: int = 0
    confidence: float = 0.5


@dataclass
class Faults:
    """Switches; each is something that real servers have done."""

    fail: deque[tuple[str, grpc.StatusCode, str]] = field(default_factory=deque)
    """For the next calls: method, code, text."""
    break_streams_at: deque[tuple[float, grpc.StatusCode]] = field(default_factory=deque)
    """For the next streams: the second of audio at which they end, and how."""
    end_early_at: float | None = None
    """A stream ends with OK though there is audio left."""
    silent_at: float | None = None
    """The second of audio from which on nothing is said or taken any more."""
    hangs: str | None = None
    """The method that never answers."""
    never_final: bool = False
    """All interim, each with the whole text so far."""
    reply_to_every_chunk: bool = False
    """With a reply without results."""
    hollow: bool = False
    """Results without alternatives, and alternatives without text, among the real ones."""
    blank: str = " {}"
    """Where a final text has its blank: after on Riva, before on the open server."""
    late_marks: bool = False
    """The full stop of an utterance comes at the start of the next one."""
    lone_marks: bool = False
    """The full stop is a word of its own."""
    no_words: bool = False
    no_times: bool = False
    confidence: str = "posterior"
    """Or "log", "one", "unset"."""
    diarizer_refuses: bool = True
    """Whether asking a server without a diarizer is refused, or answered with tag 0 throughout."""
    tag_base: int = 1
    jitter_ms: int = 0
    """How much later the words of every further stream are said to be."""


@dataclass
class Call:
    """What reached the server."""

    method: str
    peer: str
    """The client's end of the connection."""
    granted_seconds: float | None
    """Until the client's deadline; None where it has none."""
    metadata: dict[str, str]
    config: Any = None
    audio_bytes: int = 0
    digest: Any = field(default_factory=hashlib.sha256)
    messages: int = 0
    largest_message: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: bool = False
    """By the client."""

    def take(self, audio: bytes) -> None:
        self.audio_bytes += len(audio)
        self.digest.update(audio)
        self.messages += 1
        self.largest_message = max(self.largest_message, len(audio))


class RivaServer(RivaSpeechRecognitionServicer):  # type: ignore[misc]  # the generated class has no types
    def __init__(self, models: Sequence[Model], lexicon: dict[int, Saying]) -> None:
        self.uri = ""
        self.models = list(models)
        self.lexicon = lexicon
        self.faults = Faults()
        self.calls: list[Call] = []
        self.key: str | None = None
        """The bearer token and the function that callers must name, if any."""
        self.silent = asyncio.Event()
        self._streams = 0

    def heard(self, method: str) -> list[Call]:
        return [call for call in self.calls if call.method == method]

    async def GetRivaSpeechRecognitionConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        async with self._call("GetRivaSpeechRecognitionConfig", context):
            listed = [model for model in self.models if request.model_name in ("", model.name)]
            return pb.RivaSpeechRecognitionConfigResponse(
                model_config=[{"model_name": model.name, "parameters": _parameters(model)} for model in listed]
            )

    async def Recognize(self, request: Any, context: Any) -> Any:  # noqa: N802
        async with self._call("Recognize", context) as call:
            call.config = request.config
            call.take(request.audio)
            samples = await self._check(request.config, "offline", request.audio, context)
            if not samples or len(samples) % 2:
                await _refuse(context, "empty audio" if not samples else "odd byte count")
            listener = Listener()
            words = [*listener.hear(samples), *listener.finish()]
            results = [
                pb.SpeechRecognitionResult(
                    alternatives=alternatives, audio_processed=utterance[-1].end / RATE_HZ if utterance else 0
                )
                for utterance, alternatives in self._results(words, request.config, late=0)
            ]
            return pb.RecognizeResponse(results=results, id=request.id)

    async def StreamingRecognize(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:  # noqa: N802
        async with self._call("StreamingRecognize", context) as call:
            first = await anext(requests, None)
            if first is None or first.WhichOneof("streaming_request") != "streaming_config":
                await _refuse(context, "the first message must be a streaming_config")
            call.config = first.streaming_config.config
            late = self._streams * self.faults.jitter_ms
            self._streams += 1
            listening = _Stream(self, first.streaming_config, late)
            breaking = self.faults.break_streams_at.popleft() if self.faults.break_streams_at else None
            async for request in requests:
                if request.WhichOneof("streaming_request") != "audio_content":
                    await _refuse(context, "a configuration may only come first")
                call.take(samples := request.audio_content)
                if call.messages == 1:
                    samples = await self._check(call.config, "online", samples, context)
                for reply in listening.hear(samples):
                    yield reply
                if breaking is not None and listening.seconds >= breaking[0]:
                    await context.abort(breaking[1], "Sequence broke")
                if self.faults.end_early_at is not None and listening.seconds >= self.faults.end_early_at:
                    self.faults.end_early_at = None
                    return
                if self.faults.silent_at is not None and listening.seconds >= self.faults.silent_at:
                    self.silent.set()
                    await asyncio.Event().wait()
            if call.audio_bytes == 0 or call.audio_bytes % 2:
                await _refuse(context, "empty audio" if not call.audio_bytes else "odd byte count")
            for reply in listening.finish():
                yield reply

    @asynccontextmanager
    async def _call(self, method: str, context: Any) -> AsyncIterator[Call]:
        call = Call(method, context.peer(), context.time_remaining(), dict(context.invocation_metadata()))
        self.calls.append(call)
        try:
            if self.key is not None and call.metadata.get("authorization") != f"Bearer {self.key}":
                await context.abort(grpc.StatusCode.UNAUTHENTICATED, "invalid token")
            fault = next((fault for fault in self.faults.fail if fault[0] == method), None)
            if fault is not None:
                self.faults.fail.remove(fault)
                await context.abort(fault[1], fault[2])
            if self.faults.hangs == method:
                self.silent.set()
                await asyncio.Event().wait()
            yield call
        except asyncio.CancelledError:
            call.cancelled = True
            raise
        finally:
            call.ended.set()

    async def _check(self, config: Any, kind: str, audio: bytes, context: Any) -> bytes:
        """The samples of the first bytes: a header may stand before them, if it says what the configuration says."""
        header = audio[:WAV_HEADER_BYTES] if audio.startswith(b"RIFF") else b""
        differs = header and struct.unpack_from("<HI", header, 22) != (1, config.sample_rate_hertz)
        if config.encoding != AudioEncoding.LINEAR_PCM or differs:
            await _refuse(context, "config format doesn't match with header format")
        if config.audio_channel_count > 1:
            await _refuse(context, "only mono is supported")
        able = [
            model
            for model in self.models
            if model.serves(kind)
            and model.language == config.language_code
            and config.model in ("", model.name)
            and 8_000 <= config.sample_rate_hertz <= 96_000
        ]
        if not able:
            base = config.language_code.split("-")[0]
            given = f"language_code={base}; sample_rate={config.sample_rate_hertz}; type={kind};"
            await _refuse(context, f"Unavailable model requested given these parameters: {given}")
        wants_speakers = config.diarization_config.enable_speaker_diarization
        if wants_speakers and not any(model.diarizes for model in able) and self.faults.diarizer_refuses:
            await _refuse(context, "speaker diarization requested but no diarizer model is loaded")
        return audio[len(header) :]

    def _results(
        self, words: Iterable[Spoken], config: Any, *, late: int
    ) -> list[tuple[list[Spoken], list[pb.SpeechRecognitionAlternative]]]:
        """Utterances with their alternatives."""
        found = [(utterance, [self.alternative(utterance, config, late)]) for utterance in _utterances(words)]
        return [([], []), ([], [pb.SpeechRecognitionAlternative()]), *found] if self.faults.hollow else found

    def alternative(self, utterance: Sequence[Spoken], config: Any, late: int) -> pb.SpeechRecognitionAlternative:
        said = [self.lexicon.get(word.value, Saying(f"word{word.value}")) for word in utterance]
        texts = [saying.text for saying in said]
        if config.enable_automatic_punctuation and texts:
            texts[0] = texts[0].capitalize()
            if self.faults.late_marks and utterance[0].start > RATE_HZ:
                texts[0] = ". " + texts[0]
            elif not self.faults.late_marks and not self.faults.lone_marks:
                texts[-1] += "."
        words = [
            self._word(word, text, saying, config, late)
            for word, text, saying in zip(utterance, texts, said, strict=True)
        ]
        if self.faults.lone_marks:
            words.append(pb.WordInfo(word=".", start_time=words[-1].end_time, end_time=words[-1].end_time))
            texts[-1] += "."
        timed = config.enable_word_time_offsets and not self.faults.no_words
        return pb.SpeechRecognitionAlternative(
            transcript=self.faults.blank.format(" ".join(texts)),
            confidence=self._confidence(0.5),
            words=words if timed else [],
            language_code=[config.language_code],
        )

    def _word(self, word: Spoken, text: str, saying: Saying, config: Any, late: int) -> pb.WordInfo:
        able = any(model.diarizes for model in self.models)
        tagged = saying.tag and able and config.diarization_config.enable_speaker_diarization
        info = pb.WordInfo(word=text, confidence=self._confidence(saying.confidence))
        if not self.faults.no_times:
            info.start_time = word.start * 1000 // RATE_HZ + late
            info.end_time = word.end * 1000 // RATE_HZ + late
        if tagged:
            info.speaker_tag = saying.tag - 1 + self.faults.tag_base
        return info

    def _confidence(self, posterior: float) -> float:
        return {"posterior": posterior, "log": 2 * posterior - 1.78, "one": 1.0, "unset": 0.0}[self.faults.confidence]


class _Stream:
    """What one stream has heard: interim results as it goes, a final one for each utterance."""

    def __init__(self, server: RivaServer, config: Any, late: int) -> None:
        self._server, self._config, self._late = server, config, late
        self._listener = Listener()
        self._words: list[Spoken] = []

    @property
    def seconds(self) -> float:
        return self._listener.heard_samples / RATE_HZ

    def hear(self, audio: bytes) -> list[Any]:
        fresh = list(self._listener.hear(audio))
        self._words += fresh
        if self._server.faults.never_final:
            return [self._interim(self._words)] if fresh and self._config.interim_results else []
        *complete, last = _utterances(self._words) or [[]]
        if last and self._listener.heard_samples - last[-1].end > GAP_THAT_ENDS_AN_UTTERANCE * RATE_HZ:
            complete, last = [*complete, last], []
        self._words = list(last)
        replies = [self._final(utterance) for utterance in complete]
        if self._server.faults.hollow:
            replies.append(pb.StreamingRecognizeResponse(results=[{"is_final": True}, {"alternatives": [{}]}]))
        if last and fresh and self._config.interim_results:
            replies.append(self._interim(last))
        if self._server.faults.reply_to_every_chunk:
            replies.append(pb.StreamingRecognizeResponse())
        return replies

    def finish(self) -> list[Any]:
        self._words += self._listener.finish()
        if self._server.faults.never_final:
            return [self._interim(self._words)] if self._words and self._config.interim_results else []
        return [self._final(utterance) for utterance in _utterances(self._words)]

    def _final(self, utterance: Sequence[Spoken]) -> Any:
        alternative = self._server.alternative(utterance, self._config.config, self._late)
        return self._reply({"alternatives": [alternative], "is_final": True})

    def _interim(self, words: Sequence[Spoken]) -> Any:
        texts = [self._server.lexicon.get(word.value, Saying(f"word{word.value}")).text for word in words]
        return self._reply({"alternatives": [{"transcript": " ".join(texts)}], "is_final": False})

    def _reply(self, result: dict[str, Any]) -> Any:
        return pb.StreamingRecognizeResponse(results=[{**result, "audio_processed": self.seconds}])


@asynccontextmanager
async def riva_server(
    models: Sequence[Model] = MIXED,
    *,
    lexicon: dict[int, Saying] | None = None,
    max_message_bytes: int = 4 * MIB,
    credentials: grpc.ServerCredentials | None = None,
    address: str = "127.0.0.1:0",
) -> AsyncIterator[RivaServer]:
    """A server on a loopback port. The message limit is gRPC's own, which is what a caller meets if none is set."""
    riva = RivaServer(models, lexicon or {})
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", max_message_bytes), ("grpc.so_reuseport", 0)])
    add_RivaSpeechRecognitionServicer_to_server(riva, server)
    secure = credentials is not None
    port = server.add_secure_port(address, credentials) if secure else server.add_insecure_port(address)
    riva.uri = f"{'localhost' if secure else '127.0.0.1'}:{port}"
    await server.start()
    try:
        yield riva
    finally:
        await server.stop(grace=None)


def _utterances(words: Iterable[Spoken]) -> list[list[Spoken]]:
    utterances: list[list[Spoken]] = []
    for word in words:
        if utterances and word.start - utterances[-1][-1].end < GAP_THAT_ENDS_AN_UTTERANCE * RATE_HZ:
            utterances[-1].append(word)
        else:
            utterances.append([word])
    return utterances


def _parameters(model: Model) -> dict[str, str]:
    kind = "online" if model.listed_as == "both" else model.listed_as or model.kind
    return {
        "type": kind,
        "language_code": model.language,
        "sample_rate": str(RATE_HZ),
        "streaming": str(kind == "online"),
        "offline": str(kind == "offline"),
    }


async def _refuse(context: Any, why: str) -> NoReturn:
    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, why)
    raise AssertionError("abort does not return")
