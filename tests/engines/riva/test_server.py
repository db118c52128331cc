"""The server of these tests speaks NVIDIA's protocol: NVIDIA's own client understands it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import riva.client
from riva.client.proto.riva_asr_pb2 import RivaSpeechRecognitionConfigRequest, StreamingRecognizeRequest

from tests.engines.contract_suite import Recording
from tests.support.riva.server import MIXED, OFFLINE, RivaServer, riva_server


def config(**changes: object) -> riva.client.RecognitionConfig:
    """As the official examples make it."""
    fields = {
        "encoding": riva.client.AudioEncoding.LINEAR_PCM,
        "sample_rate_hertz": 16_000,
        "audio_channel_count": 1,
        "language_code": "en-US",
        "enable_word_time_offsets": True,
        "enable_automatic_punctuation": True,
    }
    return riva.client.RecognitionConfig(**{**fields, **changes})


def service(server: RivaServer) -> riva.client.ASRService:
    return riva.client.ASRService(riva.client.Auth(uri=server.uri))


def samples(recording: Recording) -> bytes:
    return recording.path.read_bytes()[44:]


def recognize(server: RivaServer, audio: bytes, **changes: object) -> str:
    response = service(server).offline_recognize(audio, config(**changes))
    return "".join(result.alternatives[0].transcript for result in response.results).strip()


def stream(server: RivaServer, path: Path) -> tuple[str, int]:
    """The final texts, and how many replies were not final."""
    streaming = riva.client.StreamingRecognitionConfig(config=config(), interim_results=True)
    with riva.client.AudioChunkFileIterator(path, 16_000) as chunks:
        replies = list(service(server).streaming_response_generator(chunks, streaming))
    results = [result for reply in replies for result in reply.results]
    finals = [result.alternatives[0].transcript for result in results if result.is_final]
    return "".join(finals).strip(), len(results) - len(finals)


@pytest.fixture
async def server() -> AsyncIterator[RivaServer]:
    async with riva_server(MIXED) as server:
        yield server


EXPECTED = (
    "Word1 word2 word3 word4 word5 word6 word7 word8 word9 word10. "
    "Word11 word12 word13 word14 word15 word16 word17 word18 word19 word20. "
    "Word21 word22 word23 word24 word25."
)


async def test_the_official_client_hears_a_whole_recording(server: RivaServer, speech: Recording) -> None:
    assert await asyncio.to_thread(recognize, server, samples(speech)) == EXPECTED


async def test_the_official_client_hears_a_stream(server: RivaServer, speech: Recording) -> None:
    text, interim = await asyncio.to_thread(stream, server, speech.path)
    assert text == EXPECTED
    assert interim > 0


async def test_the_official_client_lists_the_models(server: RivaServer) -> None:
    def listed() -> set[str]:
        response = service(server).stub.GetRivaSpeechRecognitionConfig(RivaSpeechRecognitionConfigRequest())
        return {model.model_name for model in response.model_config}

    assert OFFLINE.name in await asyncio.to_thread(listed)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "parakeet-0-6b-ctc-en-us"},
        {"language_code": "en"},
        {"sample_rate_hertz": 0},
        {"encoding": 0},
        {"audio_channel_count": 2},
        {"diarization_config": {"enable_speaker_diarization": True}},
    ],
    ids=lambda changes: next(iter(changes)),
)
async def test_what_a_real_server_refuses_is_refused(
    changes: dict[str, object], server: RivaServer, speech: Recording
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        await asyncio.to_thread(recognize, server, samples(speech), **changes)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("audio", [b"", b"123"], ids=["empty", "odd"])
async def test_audio_that_is_none_is_refused(audio: bytes, server: RivaServer) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        await asyncio.to_thread(recognize, server, audio)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_message_beyond_the_limit_is_refused(server: RivaServer, long_speech: Recording) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        await asyncio.to_thread(recognize, server, samples(long_speech))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_audio_before_the_configuration_is_refused(server: RivaServer) -> None:
    def stream_audio() -> None:
        list(service(server).stub.StreamingRecognize(iter([StreamingRecognizeRequest(audio_content=b"12")])))

    with pytest.raises(grpc.RpcError) as caught:
        await asyncio.to_thread(stream_audio)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
