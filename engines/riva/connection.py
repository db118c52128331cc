"""Calls to a Riva server: credentials, deadlines, silence; every failure as the status code that it is.

Each recording and each probe has a connection of its own. One that was kept would be blind after the server had been
away (gRPC waits longer and longer before it looks again), and would share its fate with other jobs.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from grpc import StatusCode
from riva.client.proto.riva_asr_pb2 import (
    RecognitionConfig,
    RecognizeRequest,
    RecognizeResponse,
    RivaSpeechRecognitionConfigRequest,
    StreamingRecognitionConfig,
    StreamingRecognizeRequest,
    StreamingRecognizeResponse,
)
from riva.client.proto.riva_asr_pb2_grpc import RivaSpeechRecognitionStub

from config.settings import EngineSettings
from domain.errors import EngineFailed
from engines.riva.models import RivaModel
from engines.riva.recovery import CallFailed

LARGEST_REPLY_BYTES = 64 << 20
"""The transcript of a long recording outgrows gRPC's own 4 MiB; the official client's limit."""

RECONNECT_SECONDS = 10.0
"""How long a server that went away in mid-call gets to come back before the attempt is given up."""

STATUS_SECONDS = 0.2
"""How long a status that came at the wrong moment is waited for."""

SLOWEST = 10
"""Seconds that a stream may take for each second of audio, as long as the server shows signs of life."""


class Session:
    """One connection."""

    def __init__(self, channel: grpc.aio.Channel, metadata: tuple[tuple[str, str], ...]) -> None:
        self._stub: Any = RivaSpeechRecognitionStub(channel)
        self._metadata = metadata

    async def models(self, *, timeout: float) -> list[RivaModel]:
        """What the server says it has. Raises CallFailed."""
        with _codes():
            answer = await self._stub.GetRivaSpeechRecognitionConfig(
                RivaSpeechRecognitionConfigRequest(), timeout=timeout, metadata=self._metadata
            )
        return [RivaModel.parse(found.model_name, found.parameters) for found in answer.model_config]

    async def recognize(self, config: RecognitionConfig, samples: bytes, *, timeout: float) -> RecognizeResponse:
        """All results at once. Raises CallFailed."""
        request = RecognizeRequest(config=config, audio=samples)
        with _codes():
            return await self._stub.Recognize(request, timeout=timeout, metadata=self._metadata)

    async def stream(
        self, config: RecognitionConfig, chunks: Iterable[bytes], *, seconds: float, patience: float
    ) -> AsyncGenerator[StreamingRecognizeResponse, None]:
        """Results as they come, to the very last one: the stream is half-closed and read to its end.

        `patience`: seconds without a reply, or a chunk taken, after which the call is given up as DEADLINE_EXCEEDED.

        Raises:
            CallFailed: UNAVAILABLE also where the server ends the stream before it has had all of the audio.
        """
        outgoing = _Outgoing(config, chunks)
        call = self._stub.StreamingRecognize(
            outgoing.messages(), timeout=patience + SLOWEST * seconds, metadata=self._metadata
        )
        status = _Status(call)
        replies = aiter(call)
        reading: asyncio.Future[StreamingRecognizeResponse | None] | None = None
        try:
            while True:
                # A task, as reading that is cancelled for a time-out would cancel the call and hide its status.
                reading = asyncio.ensure_future(_next(replies))
                try:
                    reply = await _within(reading, outgoing, patience)
                except grpc.aio.AioRpcError:
                    await status.raise_for_failure()
                    break
                if reply is None:
                    break
                yield reply
        finally:
            call.cancel()
            if reading is not None:
                await asyncio.wait({reading})
                _ = reading.cancelled() or reading.exception()  # looked at, so that nobody complains
        if not outgoing.all_taken:
            raise CallFailed(StatusCode.UNAVAILABLE)


class Connection:
    """How to reach the server that RIVA_URI names; holds nothing open."""

    def __init__(self, uri: str, settings: EngineSettings) -> None:
        self._uri = uri
        self._secure = settings.riva_use_ssl or settings.riva_ssl_cert is not None
        self._authorities = settings.riva_ssl_cert
        self._metadata = _metadata(settings)

    @asynccontextmanager
    async def open(self, *, wait: bool = False) -> AsyncIterator[Session]:
        """A new connection; leaving cancels what is going on. With `wait`, the server gets some time to appear.

        Raises:
            CallFailed: UNAVAILABLE, where waiting was in vain.
            EngineFailed: RIVA_SSL_CERT cannot be read.
        """
        async with self._channel() as channel:
            if wait:
                try:
                    async with asyncio.timeout(RECONNECT_SECONDS):
                        await channel.channel_ready()
                except TimeoutError as error:
                    raise CallFailed(StatusCode.UNAVAILABLE) from error
            yield Session(channel, self._metadata)

    def _channel(self) -> grpc.aio.Channel:
        options = (
            ("grpc.max_receive_message_length", LARGEST_REPLY_BYTES),
            ("grpc.max_send_message_length", -1),  # RIVA_MAX_MESSAGE_BYTES decides
            ("grpc.use_local_subchannel_pool", 1),  # else a new channel inherits the waiting of one before it
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
            ("grpc.enable_http_proxy", int(self._secure)),  # a proxy for the internet is none for a server of our own
        )
        if not self._secure:
            return grpc.aio.insecure_channel(self._uri, options=options)
        credentials = grpc.ssl_channel_credentials(root_certificates=_read(self._authorities))
        return grpc.aio.secure_channel(self._uri, credentials, options=options)


class _Outgoing:
    """What we say on a stream, and how far the server has taken it."""

    def __init__(self, config: RecognitionConfig, chunks: Iterable[bytes]) -> None:
        self._config, self._chunks = config, chunks
        self.last_taken = asyncio.get_running_loop().time()
        self.all_taken = False

    async def messages(self) -> AsyncIterator[StreamingRecognizeRequest]:
        """First the configuration alone, then audio alone; gRPC asks for the next when there is room for it.

        Read without a thread: a chunk of a file that has just been written costs microseconds.
        """
        # Interim results are asked for as signs of life, and for servers that never send a final one.
        config = StreamingRecognitionConfig(config=self._config, interim_results=True)
        yield StreamingRecognizeRequest(streaming_config=config)
        for chunk in self._chunks:
            self._tick()
            yield StreamingRecognizeRequest(audio_content=chunk)
        self._tick()
        self.all_taken = True

    def _tick(self) -> None:
        self.last_taken = asyncio.get_running_loop().time()


class _Status:
    """How the server ended a call, which grpc.aio mixes up if it was sending at that moment.

    It says INTERNAL then, over the status that had come or until it comes, so that a refusal looks like a mishap:
    https://github.com/grpc/grpc/issues/36066 (open in November 2026).
    """

    def __init__(self, call: Any) -> None:
        self._call = call
        self._first = StatusCode.INTERNAL
        call.add_done_callback(self._note)

    async def raise_for_failure(self) -> None:
        """Once a call has failed. Raises CallFailed, unless the server had ended it with OK."""
        code = self._first
        end = asyncio.get_running_loop().time() + STATUS_SECONDS
        while code is StatusCode.INTERNAL and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(STATUS_SECONDS / 20)  # nothing tells of the second status
            code = await self._call.code()
        if code is not StatusCode.OK:
            raise CallFailed(code)

    def _note(self, call: Any) -> None:
        try:
            call.code().send(None)  # a coroutine that need not wait: the code is there, and later it may be another
        except StopIteration as answer:
            self._first = answer.value


async def _next(replies: AsyncIterator[StreamingRecognizeResponse]) -> StreamingRecognizeResponse | None:
    return await anext(replies, None)


async def _within(
    reading: "asyncio.Future[StreamingRecognizeResponse | None]", outgoing: _Outgoing, patience: float
) -> StreamingRecognizeResponse | None:
    """What was read; None at the end. Raises CallFailed once neither side has moved for `patience` seconds."""
    now = asyncio.get_running_loop().time
    began = now()
    while True:
        left = max(began, outgoing.last_taken) + patience - now()
        if left <= 0:
            raise CallFailed(StatusCode.DEADLINE_EXCEEDED)
        done, _ = await asyncio.wait({reading}, timeout=left)
        if done and reading.cancelled():
            raise CallFailed(StatusCode.CANCELLED)  # by gRPC itself, for want of audio: the file cannot be read
        if done:
            return reading.result()


@contextmanager
def _codes() -> Iterator[None]:
    """The status of a failed call is all that is kept of it: its words may be anything."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise CallFailed(error.code()) from None


def _metadata(settings: EngineSettings) -> tuple[tuple[str, str], ...]:
    """Lower case, as HTTP/2 has it."""
    pairs = []
    if settings.riva_function_id is not None:
        pairs.append(("function-id", settings.riva_function_id))
    if settings.riva_api_key is not None:
        pairs.append(("authorization", f"Bearer {settings.riva_api_key.get_secret_value()}"))
    return tuple(pairs)


def _read(certificates: Path | None) -> bytes | None:
    """None: the authorities that gRPC brings along."""
    try:
        return None if certificates is None else certificates.read_bytes()
    except OSError as error:
        raise EngineFailed(f"RIVA_SSL_CERT cannot be read: {error.strerror}", retryable=False) from error
