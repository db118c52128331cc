"""How other servers that call themselves compatible with OpenAI fail its clients: none of it happens here."""

import logging
from typing import Any

import pytest

from tests.support.openai_desk import RECORDING, SAID, TEXT, TRANSCRIPTIONS, Desk


async def test_speakers_have_a_format_of_their_own(desk: Desk) -> None:
    """Missing from most, or answered without speakers."""
    view = await desk.view(("model", "gpt-4o-transcribe-diarize"), ("response_format", "diarized_json"))
    assert {segment["speaker"] for segment in view["segments"]} == {"A", "B"}


async def test_keywords_and_languages_are_not_dropped(desk: Desk) -> None:
    await desk.view(("keywords[]", "metoprolol"), ("languages[]", "es"))
    heard = desk.able.heard[0]
    assert ([term.text for term in heard.terms], heard.language) == (["metoprolol"], "es")


async def test_a_call_that_succeeds_logs_no_error(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for response_format in ("json", "text", "srt", "vtt", "verbose_json", "diarized_json"):
        await desk.ask(("response_format", response_format))
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_no_word_of_a_recording_is_logged(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="api")
    await desk.ask(("prompt", "a secret prompt"), ("stream", "true"))
    await desk.ask(("keywords[]", "a secret word"))
    ours = [record.getMessage() for record in caplog.records if record.name.partition(".")[0] in ("api", "services")]
    assert not [line for line in ours for word in ("secret", "cough", "speech.wav") if word in line]


async def test_a_word_is_called_word(desk: Desk) -> None:
    """And not `text`."""
    fields = [("response_format", "verbose_json"), ("timestamp_granularities[]", "word")]
    assert set((await desk.view(*fields))["words"][0]) == {"word", "start", "end"}


async def test_task_language_and_duration_are_there(desk: Desk) -> None:
    view = await desk.view(("response_format", "verbose_json"))
    assert (view["task"], view["language"], view["duration"]) == ("transcribe", "english", 3.0)


async def test_json_is_what_is_answered_where_nothing_is_said(desk: Desk) -> None:
    """And not verbose_json."""
    assert "segments" not in await desk.view()


async def test_verbose_json_without_granularities_has_segments(desk: Desk) -> None:
    """It was a 500, or an empty list."""
    assert len((await desk.view(("response_format", "verbose_json")))["segments"]) == len(SAID)


async def test_times_are_seconds(desk: Desk) -> None:
    """And not nanoseconds."""
    view = await desk.view(("response_format", "verbose_json"))
    assert view["segments"][-1]["end"] == view["duration"] == 3.0


async def test_names_with_brackets_and_without_are_the_same(desk: Desk) -> None:
    for brackets in ("", "[]"):
        fields = [("response_format", "verbose_json"), (f"timestamp_granularities{brackets}", "word")]
        assert "words" in await desk.view(*fields)


async def test_references_as_files_are_refused_and_are_not_taken_for_the_recording(desk: Desk) -> None:
    parts: list[tuple[str, Any]] = [
        ("known_speaker_references", ("ana.wav", RECORDING)),
        ("model", (None, "whisper-1")),
        ("file", ("a.wav", RECORDING)),
    ]
    answer = await desk.client.post(TRANSCRIPTIONS, files=parts)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "known_speaker_references[]")


async def test_a_model_is_not_replaced_by_another_in_silence(desk: Desk) -> None:
    status, error = await desk.error(("model", "tiny"))
    assert (status, error["code"]) == (404, "model_not_found")


async def test_an_error_is_an_object_with_a_message(desk: Desk) -> None:
    """And not a string, nor `detail`, of which the library shows nothing."""
    for fields in ([("model", "tiny")], [("temperature", "x")], [("colour", "blue")]):
        _, error = await desk.error(*fields)
        assert set(error) == {"message", "type", "param", "code"}


async def test_a_stream_is_server_sent_events_that_end(desk: Desk) -> None:
    """And not lines of JSON, nor silence."""
    answer = await desk.ask(("stream", "true"))
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.endswith("data: [DONE]\r\n\r\n")


async def test_there_is_a_list_of_models(desk: Desk) -> None:
    assert (await desk.client.get("/v1/models")).json()["data"]


@pytest.mark.parametrize("response_format", ["json", "text", "srt", "vtt", "verbose_json", "diarized_json"])
async def test_every_format_is_there(desk: Desk, response_format: str) -> None:
    answer = await desk.ask(("response_format", response_format))
    assert answer.status_code == 200
    assert all(word in answer.text for word in TEXT.split())


async def test_an_upload_that_is_sent_again_is_heard_once(desk: Desk) -> None:
    for tries in (0, 1, 2):
        await desk.view(tries=tries)
    assert len(desk.able.heard) == 1
