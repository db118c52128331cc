"""The OpenAI dialect with `stream=true`: nothing but its own events, and every word once."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx
import pytest

from api import event_streams
from domain.lifecycle import JobState
from domain.transcript import Segment
from services import attempts, ending
from services.attempts import Attempt
from services.platform import Platform
from tests.api.conftest import JOBS
from tests.contracts.test_streaming import TEXTS, heard, segments
from tests.support.jobs import ME
from tests.support.openai_desk import RECORDING, SAID, SECONDS, TEXT, TRANSCRIPTIONS, TRANSLATIONS, Desk, spoken
from tests.support.waiting import eventually

Event = dict[str, Any]

DELTA, SEGMENT, DONE = "transcript.text.delta", "transcript.text.segment", "transcript.text.done"


class Line:
    """What one client is told."""

    def __init__(self) -> None:
        self.comments: list[str] = []
        self.events: list[Event] = []
        self.job_id: UUID | None = None
        self.ended_by_done = False

    @property
    def text(self) -> str:
        return "".join(event["delta"] for event in self.events if event["type"] == DELTA)

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.events]

    async def listen(self, client: httpx.AsyncClient, *fields: tuple[str, str], path: str = TRANSCRIPTIONS) -> None:
        parts: list[tuple[str, Any]] = [(name, (None, value)) for name, value in fields]
        parts += [("model", (None, "whisper-1")), ("stream", (None, "true")), ("file", ("a.wav", RECORDING))]
        async with client.stream("POST", path, files=parts) as answer:
            assert answer.status_code == 200, await answer.aread()
            assert answer.headers["content-type"].startswith("text/event-stream")
            self.job_id = UUID(answer.headers["x-escriba-job-id"])
            async for line in answer.aiter_lines():
                if line.startswith(":"):
                    self.comments.append(line)
                elif line:
                    name, _, value = line.partition(": ")
                    assert name == "data", line
                    assert not self.ended_by_done
                    if value == "[DONE]":
                        self.ended_by_done = True
                    else:
                        self.events.append(json.loads(value))


async def listened(desk: Desk, *fields: tuple[str, str], path: str = TRANSCRIPTIONS) -> Line:
    line = Line()
    await line.listen(desk.client, *fields, path=path)
    return line


async def test_the_words_come_one_by_one_and_together_are_the_text(desk: Desk) -> None:
    line = await listened(desk)
    assert line.types == [DELTA] * len(TEXT.split()) + [DONE]
    assert line.text == line.events[-1]["text"] == TEXT
    assert all(set(event) == {"type", "delta"} for event in line.events[:-1])
    done = line.events[-1]
    assert (done["usage"], done["languages"]) == ({"type": "duration", "seconds": SECONDS}, [{"code": "en"}])
    assert done["job_id"] == str(line.job_id)
    assert line.ended_by_done


@pytest.mark.parametrize("response_format", ["json", "text"])
async def test_there_are_no_segments_unless_diarized_json_is_asked_for(desk: Desk, response_format: str) -> None:
    fields = [("response_format", response_format), ("enable_diarization", "true")]
    assert set((await listened(desk, *fields)).types) == {DELTA, DONE}


async def test_diarized_json_has_segments_with_speakers_before_the_end(desk: Desk) -> None:
    line = await listened(desk, ("response_format", "diarized_json"))
    assert line.text == TEXT
    told = [event for event in line.events if event["type"] == SEGMENT]
    assert line.types[-5:] == [SEGMENT] * 4 + [DONE]
    assert [(event["text"], event["speaker"]) for event in told] == [(text, "AB"[speaker]) for text, speaker in SAID]
    assert [event["id"] for event in told] == ["seg_0", "seg_1", "seg_2", "seg_3"]
    assert all(set(event) == {"type", "id", "start", "end", "speaker", "text"} for event in told)


async def test_words_come_while_the_rest_is_being_heard(desk: Desk) -> None:
    desk.able.goes_on.clear()
    line = Line()
    task = asyncio.create_task(line.listen(desk.client))
    await eventually(lambda: line.text == SAID[0][0])
    desk.able.goes_on.set()
    await task
    assert line.text == TEXT


async def test_a_translation_streams_as_well(desk: Desk) -> None:
    assert (await listened(desk, path=TRANSLATIONS)).text == TEXT


async def test_logprobs_come_with_the_end(desk: Desk) -> None:
    line = await listened(desk, ("include[]", "logprobs"))
    assert "".join(each["token"] for each in line.events[-1]["logprobs"]) == TEXT


async def test_what_keeps_the_line_alive_is_comments_alone(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_streams, "PING_SECONDS", 0.02)
    desk.able.goes_on.clear()
    line = Line()
    task = asyncio.create_task(line.listen(desk.client))
    await eventually(lambda: len(line.comments) > 2)
    desk.able.goes_on.set()
    await task
    assert set(line.types) == {DELTA, DONE}


async def test_a_recording_that_cannot_be_heard_ends_with_an_error(desk: Desk) -> None:
    parts = [("model", (None, "whisper-1")), ("stream", (None, "true")), ("file", ("a.wav", b"no sound" * 100))]
    answer = await desk.client.post(TRANSCRIPTIONS, files=parts)
    told = json.loads(answer.text.strip().removeprefix("data: "))
    assert (answer.status_code, told["type"]) == (200, "error")
    assert (told["error"]["code"], told["error"]["type"]) == ("media_unsupported", "invalid_request_error")
    assert set(told["error"]) == {"message", "type", "param", "code"}


async def test_what_is_refused_before_the_job_is_refused_by_status(desk: Desk) -> None:
    assert (await desk.error(("stream", "true"), ("model", "gigantic")))[0] == 404


async def listened_while(desk: Desk, platform: Platform, end: Callable[..., Awaitable[Any]]) -> Line:
    """What is told of a job that its owner ends in the middle."""
    desk.able.goes_on.clear()
    line = Line()
    task = asyncio.create_task(line.listen(desk.client))
    await eventually(lambda: bool(line.events))
    await end(platform, ME, line.job_id)
    await task
    return line


async def test_a_cancelled_job_ends_with_an_error_that_says_so(desk: Desk, platform: Platform) -> None:
    line = await listened_while(desk, platform, ending.cancel)
    assert (line.types[-1], line.events[-1]["error"]["code"]) == ("error", "cancelled")


async def test_a_job_that_is_erased_meanwhile_ends_with_an_error(desk: Desk, platform: Platform) -> None:
    line = await listened_while(desk, platform, ending.erase)
    assert line.types[-1] == "error"
    assert line.events[-1]["error"]["code"] in ("job_not_found", "cancelled")


async def test_a_client_that_leaves_takes_nothing_along(desk: Desk, platform: Platform) -> None:
    desk.able.goes_on.clear()
    line = Line()
    task = asyncio.create_task(line.listen(desk.client))
    await eventually(lambda: bool(line.events))
    task.cancel()
    desk.able.goes_on.set()

    async def ends() -> bool:
        status = (await desk.client.get(f"{JOBS}/status/{line.job_id}")).json()["status"]
        return bool(status == JobState.COMPLETED)

    await eventually(ends)


@asynccontextmanager
async def by_hand(openai_url: str, platform: Platform) -> AsyncIterator[tuple[Line, Attempt]]:
    """A client that listens to its end, and the attempt at its job."""
    line = Line()
    async with httpx.AsyncClient(base_url=openai_url, timeout=60) as client:
        listening = asyncio.create_task(line.listen(client))
        await eventually(lambda: line.job_id is not None)
        assert line.job_id is not None
        attempt = await attempts.claim(platform, line.job_id, worker="w")
        assert attempt is not None
        yield line, attempt
        await listening


async def test_over_a_crash_each_word_comes_once(openai_url: str, platform: Platform) -> None:
    """The second attempt cuts the recording into other phrases."""
    async with by_hand(openai_url, platform) as (line, first):
        numbered = list(enumerate(segments()[:2], start=1))
        assert await attempts.note_progress(platform, first, stage="transcribe", audio_done=None, segments=numbered)
        await eventually(lambda: len(line.events) == 9)
        await attempts.release(platform, first, reason="a test")
        again = await attempts.claim(platform, first.job_id, worker="w2")
        assert again is not None
        whole = heard(("Good morning,", "how are", "you? I have a", "cough since Monday."))
        assert await attempts.complete(platform, again, whole, unkept=list(enumerate(whole.segments, start=1)))
    assert line.text == line.events[-1]["text"] == " ".join(TEXTS)


@pytest.mark.parametrize(
    "text", ["one\u2028two\u2029three\x85four", "今日は良い天気", 'a "quoted" \\ word', "data: [DONE]"]
)
async def test_no_word_breaks_the_line(openai_url: str, platform: Platform, text: str) -> None:
    async with by_hand(openai_url, platform) as (line, attempt):
        whole = heard().model_copy(update={"segments": (Segment(start=0, end=1, text=text),)})
        assert await attempts.complete(platform, attempt, whole, unkept=[(1, whole.segments[0])])
    assert line.text == line.events[-1]["text"] == text
    assert line.ended_by_done


async def test_words_that_were_lost_on_the_way_come_with_the_end(openai_url: str, platform: Platform) -> None:
    async with by_hand(openai_url, platform) as (line, attempt):
        assert await attempts.complete(platform, attempt, heard(), unkept=[(1, spoken()[0])])
    assert line.text == line.events[-1]["text"]
