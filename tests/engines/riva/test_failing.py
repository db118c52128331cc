"""Calls that fail: what is tried again, what is asked in another way, and what is said when nothing helps.

The numbers of pitfalls are those of docs/reference/riva.md.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing

import pytest
from grpc import StatusCode

from domain.errors import EngineBusy, EngineFailed, EngineSilent
from domain.transcript import Heard, Progress, Segment
from engines.riva.recovery import RULES, Ask, Recovery, Way, error_of
from tests.engines.contract_suite import Recording
from tests.engines.riva.client import engine_for, hear_all, notices_of, numbered, only, words_of
from tests.support.riva.server import (
    MIXED,
    OFFLINE,
    STREAMING,
    STREAMING_SPEAKERS,
    Model,
    RivaServer,
    Saying,
    riva_server,
)
from tests.support.waiting import eventually

SECRET = "word7 of the recording, and the token of the caller"
"""Stands for what a server might say in its error."""

TRIES = {
    StatusCode.UNAVAILABLE: 6,
    StatusCode.DEADLINE_EXCEEDED: 2,
    StatusCode.INTERNAL: 3,
    StatusCode.UNKNOWN: 3,
    StatusCode.ABORTED: 3,
    StatusCode.DATA_LOSS: 3,
    StatusCode.CANCELLED: 1,
    StatusCode.UNAUTHENTICATED: 1,
    StatusCode.PERMISSION_DENIED: 1,
    StatusCode.NOT_FOUND: 1,
    StatusCode.UNIMPLEMENTED: 1,
}
"""How often a call that keeps failing with a code is made. The other two codes change the way of asking."""

RETRYABLE = {
    StatusCode.UNAVAILABLE,
    StatusCode.DEADLINE_EXCEEDED,
    StatusCode.RESOURCE_EXHAUSTED,
    StatusCode.INTERNAL,
    StatusCode.UNKNOWN,
    StatusCode.ABORTED,
    StatusCode.DATA_LOSS,
}


class TestCodes:
    @pytest.mark.parametrize("code", TRIES, ids=lambda code: code.name)
    @pytest.mark.parametrize("model", [OFFLINE, STREAMING], ids=["offline", "streaming"])
    async def test_a_code_decides_how_often_and_the_error_carries_it_alone(
        self, code: StatusCode, model: Model, speech: Recording, caplog: pytest.LogCaptureFixture
    ) -> None:
        method = "Recognize" if model is OFFLINE else "StreamingRecognize"
        async with riva_server((model,)) as server:
            server.faults.fail.extend([(method, code, SECRET)] * 10)
            with caplog.at_level(logging.DEBUG, "engines"), pytest.raises(EngineFailed) as caught:
                await hear_all(server, speech)
            assert len(server.heard(method)) == TRIES[code]
        assert caught.value.retryable is (code in RETRYABLE)
        assert code.name in str(caught.value)
        assert SECRET not in str(caught.value) + caplog.text

    @pytest.mark.parametrize("code", [code for code in TRIES if TRIES[code] > 1], ids=lambda code: code.name)
    async def test_a_call_that_fails_once_does_no_harm(
        self, code: StatusCode, riva: RivaServer, speech: Recording
    ) -> None:
        riva.faults.fail.append(("Recognize", code, ""))
        assert words_of(await hear_all(riva, speech)) == numbered(25)

    async def test_a_refusal_is_asked_in_every_other_way_and_then_final(
        self, riva: RivaServer, speech: Recording
    ) -> None:
        for method in ("Recognize", "StreamingRecognize"):
            riva.faults.fail.extend([(method, StatusCode.INVALID_ARGUMENT, SECRET)] * 10)
        with pytest.raises(EngineFailed, match="every way") as caught:
            await hear_all(riva, speech, enable_diarization=True)
        assert not caught.value.retryable
        assert [call.method for call in riva.calls[1:]] == [*["Recognize"] * 2, *["StreamingRecognize"] * 2] * 2

    async def test_a_refusal_is_told_by_its_code_though_its_text_speaks_of_something_unavailable(
        self, riva: RivaServer, speech: Recording
    ) -> None:
        riva.faults.fail.append(("Recognize", StatusCode.INVALID_ARGUMENT, "Unavailable model requested"))
        assert words_of(await hear_all(riva, speech)) == numbered(25)
        assert len(riva.heard("Recognize")) == 2

    async def test_a_message_too_large_goes_as_a_stream(self, riva: RivaServer, speech: Recording) -> None:
        riva.faults.fail.append(("Recognize", StatusCode.RESOURCE_EXHAUSTED, "larger than max"))
        assert words_of(await hear_all(riva, speech)) == numbered(25)
        assert [call.method for call in riva.calls[1:]] == ["Recognize", "StreamingRecognize"]

    async def test_a_server_without_room_is_busy(self, riva: RivaServer, speech: Recording) -> None:
        for method in ("Recognize", "StreamingRecognize"):
            riva.faults.fail.extend([(method, StatusCode.RESOURCE_EXHAUSTED, "quota")] * 10)
        with pytest.raises(EngineBusy) as caught:
            await hear_all(riva, speech)
        assert caught.value.retryable

    async def test_a_list_of_models_that_fails_is_told_by_its_code(self, riva: RivaServer, speech: Recording) -> None:
        riva.faults.fail.append(("GetRivaSpeechRecognitionConfig", StatusCode.UNAUTHENTICATED, SECRET))
        with pytest.raises(EngineFailed, match="RIVA_API_KEY") as caught:
            await hear_all(riva, speech)
        assert not caught.value.retryable

    async def test_a_server_without_models_may_still_be_loading(self, speech: Recording) -> None:
        async with riva_server(()) as server:
            with pytest.raises(EngineFailed, match="still loading") as caught:
                await hear_all(server, speech)
            assert caught.value.retryable

    def test_no_code_of_failure_is_left_without_an_answer(self) -> None:
        for code in StatusCode:
            assert str(error_of(code))
        assert set(RULES) <= set(TRIES) | {StatusCode.INVALID_ARGUMENT, StatusCode.RESOURCE_EXHAUSTED}

    def test_a_way_that_has_been_heard_on_is_not_left_for_another(self) -> None:
        recovery = Recovery([Ask(Way.STREAM, "", False), Ask(Way.PIECES, "", False)])
        for _ in range(5):
            recovery.after(StatusCode.INVALID_ARGUMENT, heard=True)
        assert recovery.ask.way is Way.STREAM
        with pytest.raises(EngineFailed):
            recovery.after(StatusCode.INVALID_ARGUMENT, heard=True)


class TestStreams:
    """Pitfalls 14 and 16."""

    @pytest.mark.parametrize(
        "code", [StatusCode.UNAVAILABLE, StatusCode.INTERNAL, StatusCode.INVALID_ARGUMENT], ids=lambda code: code.name
    )
    async def test_a_stream_that_breaks_is_begun_anew_and_loses_and_repeats_no_word(
        self, code: StatusCode, long_speech: Recording
    ) -> None:
        async with riva_server(MIXED) as server:
            server.faults.break_streams_at.extend([(50.0, code), (120.0, code)])
            heard = await hear_all(server, long_speech)
            streams = server.heard("StreamingRecognize")
        assert words_of(heard) == numbered(150)
        assert len(streams) == 3
        assert streams[-1].audio_bytes > streams[1].audio_bytes > streams[0].audio_bytes

    async def test_the_status_of_a_stream_that_ends_while_we_send_is_not_lost(self, long_speech: Recording) -> None:
        """grpc/grpc#36066: it is INTERNAL otherwise, in a race."""
        for _ in range(10):
            async with riva_server((STREAMING,)) as server:
                server.faults.break_streams_at.append((1.0, StatusCode.PERMISSION_DENIED))
                with pytest.raises(EngineFailed, match="PERMISSION_DENIED"):
                    await hear_all(server, long_speech)

    async def test_finals_are_dropped_by_their_time_though_it_wavers_and_all_texts_are_the_same(
        self, long_speech: Recording
    ) -> None:
        async with riva_server(MIXED) as server:
            server.lexicon.update({value: Saying("yes") for value in range(1, 151)})
            server.faults.jitter_ms = 200
            server.faults.break_streams_at.append((50.0, StatusCode.UNAVAILABLE))
            heard = await hear_all(server, long_speech)
        assert words_of(heard) == ["yes"] * 150

    @pytest.mark.parametrize("fault", ["no_words", "no_times"])
    async def test_finals_without_times_are_dropped_as_well(self, fault: str, long_speech: Recording) -> None:
        async with riva_server(MIXED) as server:
            setattr(server.faults, fault, True)
            server.faults.break_streams_at.append((50.0, StatusCode.UNAVAILABLE))
            assert words_of(await hear_all(server, long_speech)) == numbered(150)

    async def test_a_stream_that_keeps_breaking_is_given_up(self, long_speech: Recording) -> None:
        async with riva_server(MIXED) as server:
            server.faults.break_streams_at.extend([(50.0, StatusCode.UNAVAILABLE)] * 20)
            with pytest.raises(EngineFailed) as caught:
                await hear_all(server, long_speech)
            assert len(server.heard("StreamingRecognize")) == 6
        assert caught.value.retryable

    async def test_a_stream_that_ends_before_its_audio_is_a_broken_one(self, long_speech: Recording) -> None:
        """Pitfall 12."""
        async with riva_server((STREAMING,)) as server:
            server.faults.end_early_at = 50.0
            assert words_of(await hear_all(server, long_speech)) == numbered(150)

    async def test_a_server_that_starts_again_in_mid_stream_is_waited_for(
        self, long_speech: Recording, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("engines.riva.connection.STATUS_SECONDS", 0.0)  # what does not wait shall fail soon
        async with riva_server(MIXED) as server:
            server.faults.silent_at = 50.0
            job = asyncio.create_task(hear_all(server, long_speech))
            await server.silent.wait()
            engine, address = engine_for(server), server.uri
        for _ in range(100):  # a job that does not wait would have been given up by then
            assert not (await engine.report()).available
        async with riva_server(MIXED, address=address):
            assert words_of(await job) == numbered(150)

    async def test_interim_texts_of_a_broken_stream_are_not_said_twice(self, long_speech: Recording) -> None:
        async with riva_server((STREAMING,)) as server:
            server.faults.never_final = True
            server.faults.break_streams_at.append((50.0, StatusCode.UNAVAILABLE))
            assert words_of(await hear_all(server, long_speech)) == numbered(150)

    async def test_progress_does_not_fall_when_a_stream_is_begun_anew(self, long_speech: Recording) -> None:
        async with riva_server(MIXED) as server:
            server.faults.break_streams_at.append((100.0, StatusCode.UNAVAILABLE))
            done = [progress.done for progress in only(Progress, await hear_all(server, long_speech))]
        assert done == sorted(done)
        assert done[-1] == pytest.approx(long_speech.seconds)

    async def test_speakers_keep_their_numbers_when_a_stream_is_begun_anew(self, long_speech: Recording) -> None:
        lexicon = {value: Saying(f"word{value}", tag=1 + value // 30 % 2) for value in range(1, 151)}
        async with riva_server((STREAMING_SPEAKERS,), lexicon=lexicon) as server:
            whole = await hear_all(server, long_speech)
            server.faults.break_streams_at.append((100.0, StatusCode.UNAVAILABLE))
            broken = await hear_all(server, long_speech)
        assert only(Segment, whole) == only(Segment, broken)
        assert {segment.speaker_tag for segment in only(Segment, broken)} == {0, 1}

    async def test_a_diarizer_that_is_refused_on_a_stream_is_done_without(self, long_speech: Recording) -> None:
        async with riva_server((STREAMING,)) as server:
            heard = await hear_all(server, long_speech, enable_diarization=True)
        assert words_of(heard) == numbered(150)
        assert notices_of(heard) == ["diarization_unavailable"]

    async def test_pieces_that_have_been_heard_are_not_sent_again(self, long_speech: Recording) -> None:
        async with riva_server((OFFLINE,)) as server:
            heard: list[Heard] = []
            async for item in engine_for(server).transcribe(long_speech.path, long_speech.hearing):
                if not heard:
                    server.faults.fail.append(("Recognize", StatusCode.UNAVAILABLE, ""))
                heard.append(item)
            assert words_of(heard) == numbered(150)
            assert sum(call.audio_bytes for call in server.calls) < 1.1 * 2 * 16_000 * long_speech.seconds


class TestSilence:
    """Pitfall 15."""

    @pytest.mark.parametrize("method", ["Recognize", "StreamingRecognize"])
    async def test_a_server_that_never_answers_is_given_up(
        self, method: str, make_speech: Callable[..., Recording]
    ) -> None:
        model = OFFLINE if method == "Recognize" else STREAMING
        recording = make_speech(1)
        async with riva_server((model,)) as server:
            server.faults.hangs = method
            with pytest.raises(EngineSilent, match="WHISPERX_TIMEOUT") as caught:
                await hear_all(server, recording, environ={"WHISPERX_TIMEOUT": "0.05"})
            assert caught.value.retryable
            assert len(server.heard(method)) == 2

    async def test_every_call_has_a_deadline(self, speech: Recording) -> None:
        for models in ((OFFLINE,), (STREAMING,)):
            async with riva_server(models) as server:
                await hear_all(server, speech)
                assert all(call.granted_seconds is not None for call in server.calls)

    async def test_a_call_that_took_too_long_gets_longer(self, riva: RivaServer, speech: Recording) -> None:
        riva.faults.fail.append(("Recognize", StatusCode.DEADLINE_EXCEEDED, ""))
        await hear_all(riva, speech)
        first, second = (call.granted_seconds or 0 for call in riva.heard("Recognize"))
        assert second > 1.5 * first

    async def test_a_stream_that_falls_silent_is_begun_anew(self, long_speech: Recording) -> None:
        async with riva_server(MIXED) as server:
            server.faults.silent_at = 50.0
            job = asyncio.create_task(hear_all(server, long_speech, environ={"WHISPERX_TIMEOUT": "0.5"}))
            await server.silent.wait()
            server.faults.silent_at = None
            assert words_of(await job) == numbered(150)
            assert server.heard("StreamingRecognize")[0].cancelled


class TestCancelling:
    @pytest.mark.parametrize("model", [OFFLINE, STREAMING], ids=["offline", "streaming"])
    async def test_a_job_that_is_cancelled_cancels_its_call(self, model: Model, speech: Recording) -> None:
        async with riva_server((model,)) as server:
            server.faults.hangs = "Recognize" if model is OFFLINE else "StreamingRecognize"
            job = asyncio.create_task(hear_all(server, speech))
            await server.silent.wait()
            job.cancel()
            with pytest.raises(asyncio.CancelledError):
                await job
            call = server.calls[-1]
            async with asyncio.timeout(10):
                await call.ended.wait()
            assert call.cancelled

    async def test_an_iterator_that_is_closed_cancels_its_call(self, long_speech: Recording) -> None:
        """Pitfall 18: and nothing of it is left running here."""
        async with riva_server((STREAMING,)) as server:
            server.faults.silent_at = 150.0
            before = ours()
            async with aclosing(engine_for(server).transcribe(long_speech.path, long_speech.hearing)) as heard:
                await anext(heard)
                await server.silent.wait()
            call = server.calls[-1]
            async with asyncio.timeout(10):
                await call.ended.wait()
            assert call.cancelled
            await eventually(lambda: ours() <= before)

    async def test_the_loop_goes_on_while_a_recording_is_heard(self, long_speech: Recording) -> None:
        """Pitfall 18: four recordings at once, each with its own words to the end."""
        async with riva_server((STREAMING,)) as server:
            jobs = [hear_all(server, long_speech) for _ in range(4)]
            assert [words_of(heard) for heard in await asyncio.gather(*jobs)] == [numbered(150)] * 4
            peers = {call.peer for call in server.heard("StreamingRecognize")}
            assert len(peers) == 4, "each on a connection of its own"


def ours() -> set[asyncio.Task[object]]:
    """The tasks of this loop, without those of the server in it."""
    return {task for task in asyncio.all_tasks() if "AioServer" not in repr(task)}
