"""The OpenAI dialect: what can be asked, and how the answer looks, field by field as its clients know them."""

import asyncio
import math
from typing import Any
from uuid import UUID

import pytest

from api.dialects.openai_languages import NAMES, name_of
from domain.capabilities import Term
from engines.server.models.faster_whisper import LANGUAGES
from services.platform import Platform
from tests.api.conftest import JOBS
from tests.support.openai_desk import CONFIDENCE, RECORDING, SAID, SECONDS, TEXT, TRANSCRIPTIONS, TRANSLATIONS, Desk
from tests.support.waiting import eventually

USAGE = {"type": "duration", "seconds": SECONDS}
SEGMENT = {
    "id", "seek", "start", "end", "text", "tokens", "temperature", "avg_logprob", "compression_ratio", "no_speech_prob",
}  # fmt: skip


# The answer


async def test_json_is_the_text_and_what_it_took(desk: Desk) -> None:
    answer = await desk.ask()
    view = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert set(view) == {"text", "languages", "usage", "job_id"}
    assert (view["text"], view["languages"], view["usage"]) == (TEXT, [{"code": "en"}], USAGE)


async def test_every_answer_has_the_id_of_its_job_which_is_the_platform_s(desk: Desk) -> None:
    for form in (("response_format", "json"), ("response_format", "text"), ("stream", "true")):
        answer = await desk.ask(form)
        job_id = UUID(answer.headers["x-escriba-job-id"])
        native = (await desk.client.get(f"{JOBS}/result/{job_id}")).json()
        assert (native["text"], native["filename"]) == (TEXT, "speech.wav")
        assert form[1] != "json" or answer.json()["job_id"] == str(job_id)


@pytest.mark.parametrize(
    ("response_format", "media_type", "beginning"),
    [
        ("text", "text/plain", f"{TEXT}\n"),
        ("srt", "application/x-subrip", "1\n00:00:00,000 --> "),
        ("vtt", "text/vtt", "WEBVTT\n\n00:00:00.000 --> "),
    ],
)
async def test_text_and_subtitles_are_the_body(
    desk: Desk, response_format: str, media_type: str, beginning: str
) -> None:
    answer = await desk.ask(("response_format", response_format))
    assert answer.headers["content-type"].partition(";")[0] == media_type
    assert answer.text.startswith(beginning)
    assert all(word in answer.text for word in TEXT.split())


async def test_verbose_json_has_all_that_openai_says_of_a_transcript(desk: Desk) -> None:
    view = await desk.view(("response_format", "verbose_json"))
    assert set(view) == {
        "task", "language", "language_code", "duration", "text", "segments", "usage", "job_id",
    }  # fmt: skip
    assert (view["task"], view["language"], view["language_code"]) == ("transcribe", "english", "en")
    assert (view["duration"], view["text"], view["usage"]) == (SECONDS, TEXT, USAGE)
    assert [segment["text"] for segment in view["segments"]] == [text for text, _ in SAID]
    assert [segment["id"] for segment in view["segments"]] == [0, 1, 2, 3]
    for segment in view["segments"]:
        assert set(segment) == SEGMENT
        assert segment["avg_logprob"] == pytest.approx(math.log(CONFIDENCE))
        assert 0 < segment["compression_ratio"] < 2
        assert segment["start"] < segment["end"]
        assert isinstance(segment["seek"], int)


@pytest.mark.parametrize(
    ("said", "there"),
    [
        ((), {"segments"}),
        (("segment",), {"segments"}),
        (("word",), {"words"}),
        (("word", "segment"), {"words", "segments"}),
    ],
)
@pytest.mark.parametrize("name", ["timestamp_granularities[]", "timestamp_granularities"])
async def test_granularities_say_which_times_there_are(
    desk: Desk, name: str, said: tuple[str, ...], there: set[str]
) -> None:
    fields = [(name, value) for value in said]
    view = await desk.view(("response_format", "verbose_json"), *fields)
    assert set(view) & {"words", "segments"} == there
    if "words" in there:
        assert [word["word"] for word in view["words"]] == TEXT.split()
        assert all(set(word) == {"word", "start", "end"} and word["start"] < word["end"] for word in view["words"])


async def test_diarized_json_has_a_speaker_for_every_segment(desk: Desk) -> None:
    view = await desk.view(("response_format", "diarized_json"))
    assert set(view) == {"task", "duration", "text", "segments", "usage", "job_id"}
    assert (view["task"], view["duration"], view["text"]) == ("transcribe", SECONDS, TEXT)
    first = view["segments"][0]
    assert {name: first[name] for name in ("type", "id", "speaker", "text", "start")} == {
        "type": "transcript.text.segment", "id": "seg_0", "speaker": "A", "text": SAID[0][0], "start": 0.0,
    }  # fmt: skip
    assert [segment["speaker"] for segment in view["segments"]] == ["A", "B", "B", "A"]


async def test_a_speaker_whom_somebody_has_named_has_that_name(desk: Desk) -> None:
    form = ("response_format", "diarized_json")
    job_id = (await desk.view(form, tries=0))["job_id"]
    await desk.client.patch(f"{JOBS}/result/{job_id}/speakers", json={"names": {"1": "Dr. Lee"}})
    view = await desk.view(form, tries=1)
    assert view["job_id"] == job_id
    assert [segment["speaker"] for segment in view["segments"]] == ["A", "Dr. Lee", "Dr. Lee", "A"]


async def test_speakers_stand_beside_openai_s_fields_where_they_are_asked_for(desk: Desk) -> None:
    fields = [("response_format", "verbose_json"), ("enable_diarization", "true")]
    view = await desk.view(*fields, ("timestamp_granularities[]", "word"), ("timestamp_granularities[]", "segment"))
    assert [segment["speaker"] for segment in view["segments"]] == ["A", "B", "B", "A"]
    assert view["words"][-1] == {"word": "see.", "start": 2.769, "end": 3.0, "speaker": "A"}


async def test_nobody_who_wants_text_alone_waits_for_speakers(desk: Desk) -> None:
    await desk.view()
    await desk.view(("model", "gpt-4o-transcribe-diarize"))
    await desk.view(("num_speakers", "2"))
    assert [heard.enable_diarization for heard in desk.able.heard] == [False, True, None]


async def test_an_engine_without_times_of_words_leaves_them_out_and_says_so(desk: Desk) -> None:
    fields = [("model", "plain"), ("response_format", "verbose_json"), ("timestamp_granularities[]", "word")]
    view = await desk.view(*fields)
    assert view["words"] == []
    assert [warning["code"] for warning in view["warnings"]] == ["no_word_times"]


async def test_logprobs_are_of_words_and_together_the_text(desk: Desk) -> None:
    for name in ("include[]", "include"):
        view = await desk.view((name, "logprobs"))
        assert "".join(each["token"] for each in view["logprobs"]) == TEXT
        assert bytes(view["logprobs"][1]["bytes"]).decode() == view["logprobs"][1]["token"] == " morning,"
        assert all(each["logprob"] == pytest.approx(math.log(CONFIDENCE)) for each in view["logprobs"])
    view = await desk.view(("model", "plain"), ("include[]", "logprobs"))
    assert "logprobs" not in view
    assert [warning["code"] for warning in view["warnings"]] == ["no_logprobs"]


def test_every_language_that_whisper_knows_has_a_name() -> None:
    assert set(LANGUAGES) == set(NAMES)
    assert all(name.isascii() and name == name.lower() for name in NAMES.values())
    assert [name_of(tag) for tag in ("en-US", "ht", "tlh", None)] == ["english", "haitian creole", "tlh", "unknown"]


# What is asked


@pytest.mark.parametrize("places", [("before", "before"), ("behind", "behind"), ("before", "behind")])
async def test_the_file_may_come_first_or_last_or_in_between(desk: Desk, places: tuple[str, str]) -> None:
    file: tuple[str, Any] = ("file", ("a.wav", RECORDING))
    said = [("response_format", (None, "verbose_json")), ("model", (None, "whisper-1"))]
    before = [field for field, place in zip(said, places, strict=True) if place == "before"]
    behind = [field for field, place in zip(said, places, strict=True) if place == "behind"]
    answer = await desk.client.post(TRANSCRIPTIONS, files=[*before, file, *behind])
    assert answer.json()["language"] == "english"


@pytest.mark.parametrize("name", ["keywords[]", "keywords"])
async def test_keywords_are_words_that_the_engine_listens_for(desk: Desk, name: str) -> None:
    await desk.view((name, "metoprolol"), (name, "Dr. Okafor"), (name, ""))
    assert desk.able.heard[0].terms == (Term(text="metoprolol"), Term(text="Dr. Okafor"))


async def test_a_thousand_keywords_are_taken(desk: Desk) -> None:
    await desk.view(*[("keywords[]", f"word {n}") for n in range(1_000)])
    assert len(desk.able.heard[0].terms) == 1_000


async def test_a_prompt_is_what_was_said_before(desk: Desk) -> None:
    await desk.view(("prompt", "Minutes of the board:"))
    assert desk.able.heard[0].options == {"initial_prompt": "Minutes of the board:"}


@pytest.mark.parametrize(
    ("fields", "language", "name"),
    [
        ([("language", "es")], "es", "spanish"),
        ([("languages[]", "fr")], "fr", "french"),
        ([("languages", "fr")], "fr", "french"),
        ([("language", "es"), ("languages[]", "es")], "es", "spanish"),
        ([("language", "")], None, "english"),
    ],
)
async def test_a_language_is_the_job_s(
    desk: Desk, fields: list[tuple[str, str]], language: str | None, name: str
) -> None:
    view = await desk.view(("response_format", "verbose_json"), *fields)
    assert (desk.able.heard[0].language, view["language"]) == (language, name)
    assert "warnings" not in view


@pytest.mark.parametrize(
    "fields",
    [
        [("temperature", "0.4")],
        [("languages[]", "es"), ("languages[]", "fr")],
        [("chunking_strategy[type]", "server_vad"), ("chunking_strategy[threshold]", "0.7")],
    ],
)
@pytest.mark.parametrize("response_format", ["json", "verbose_json", "diarized_json"])
async def test_what_no_engine_is_told_is_a_warning(
    desk: Desk, fields: list[tuple[str, str]], response_format: str
) -> None:
    view = await desk.view(("response_format", response_format), *fields)
    assert [warning["code"] for warning in view["warnings"]] == ["option_not_honoured"]
    assert view["warnings"][0]["message"].startswith(fields[0][0].partition("[type]")[0])
    native = (await desk.client.get(f"{JOBS}/result/{view['job_id']}")).json()
    assert native["warnings"] == view["warnings"]


@pytest.mark.parametrize(
    "fields",
    [
        [("temperature", "0")],
        [("temperature", "0.0")],
        [("chunking_strategy", "auto")],
        [("chunking_strategy[type]", "server_vad")],
        [("stream", "false")],
    ],
)
async def test_what_changes_nothing_is_taken(desk: Desk, fields: list[tuple[str, str]]) -> None:
    assert "warnings" not in await desk.view(*fields)


async def test_an_option_that_is_waived_is_a_warning(desk: Desk) -> None:
    view = await desk.view(("model", "plain"), ("prompt", "Minutes:"), ("on_unsupported", "warn"))
    assert [warning["code"] for warning in view["warnings"]] == ["option_not_honoured"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ([("timestamp_granularities[]", "word")], "timestamp_granularities[]"),
        ([("include[]", "logprobs"), ("response_format", "text")], "include[]"),
        ([("stream", "true"), ("response_format", "srt")], "stream"),
        ([("stream", "true"), ("response_format", "verbose_json")], "stream"),
        ([("response_format", "diarized_json"), ("enable_diarization", "false")], "response_format"),
        ([("language", "es"), ("languages[]", "fr")], "language"),
        ([("keywords[]", "x"), ("context_id", "00000000-0000-0000-0000-000000000000")], "keywords[]"),
        ([("prompt", "x"), ("initial_prompt", "y")], "prompt"),
        ([("prompt", "x"), ("options", '{"initial_prompt": "y"}')], "prompt"),
        ([("enable_diarization", "false"), ("num_speakers", "2")], "num_speakers"),
        ([("min_speakers", "3"), ("max_speakers", "2")], "min_speakers"),
    ],
)
@pytest.mark.parametrize("tries", [None, 0])
async def test_what_contradicts_itself_is_refused(
    desk: Desk, fields: list[tuple[str, str]], param: str, tries: int | None
) -> None:
    status, error = await desk.error(*fields, tries=tries)
    assert (status, error["code"], error["param"]) == (400, "invalid_request", param)
    assert desk.able.heard == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("response_format", "docx"),
        ("temperature", "1.5"),
        ("temperature", "nan"),
        ("temperature", "warm"),
        ("stream", "perhaps"),
        ("timestamp_granularities[]", "character"),
        ("include[]", "everything"),
        ("chunking_strategy", "never"),
        ("chunking_strategy[type]", "manual"),
        ("chunking_strategy[threshold]", "2"),
        ("keywords[]", "x" * 201),
        ("keywords[]", "a\0b"),
        ("language", "english"),
        ("colour", "blue"),
        ("colours[]", "blue"),
    ],
)
async def test_a_value_that_cannot_be_is_refused_by_its_name(desk: Desk, name: str, value: str) -> None:
    status, error = await desk.error((name, value))
    assert (status, error["type"], error["code"]) == (400, "invalid_request_error", "invalid_request")
    assert error["param"] == name
    assert error["message"]


@pytest.mark.parametrize("name", ["known_speaker_names", "known_speaker_references"])
@pytest.mark.parametrize("brackets", ["", "[]"])
@pytest.mark.parametrize("filename", [None, "ana.wav"])
async def test_samples_of_voices_are_refused_before_they_are_read(
    desk: Desk, name: str, brackets: str, filename: str | None
) -> None:
    parts: list[tuple[str, Any]] = [
        ("model", (None, "whisper-1")),
        (f"{name}{brackets}", (filename, "data:audio/wav;base64," + "A" * 1_000_000)),
        ("file", ("a.wav", RECORDING)),
    ]
    answer = await desk.client.post(TRANSCRIPTIONS, files=parts)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, f"{name}[]")
    assert "/speakers" in error["message"]


# Translations


async def test_a_translation_is_english_by_an_engine_that_translates(desk: Desk) -> None:
    view = await desk.view(("response_format", "verbose_json"), path=TRANSLATIONS)
    assert (view["task"], view["language"], view["text"]) == ("translate", "english", TEXT)
    assert desk.able.heard[0].options == {"task": "translate"}


@pytest.mark.parametrize("response_format", ["json", "text", "srt", "vtt"])
async def test_a_translation_comes_in_openai_s_formats(desk: Desk, response_format: str) -> None:
    assert "cough" in (await desk.ask(("response_format", response_format), path=TRANSLATIONS)).text


async def test_a_translation_takes_a_prompt(desk: Desk) -> None:
    await desk.view(("prompt", "Minutes:"), path=TRANSLATIONS)
    assert desk.able.heard[0].options == {"task": "translate", "initial_prompt": "Minutes:"}


async def test_a_translation_has_no_speakers(desk: Desk) -> None:
    status, error = await desk.error(("response_format", "diarized_json"), path=TRANSLATIONS)
    assert (status, error["param"]) == (400, "response_format")


@pytest.mark.parametrize("tries", [None, 0])
async def test_an_engine_that_does_not_translate_is_refused_with_those_that_do(desk: Desk, tries: int | None) -> None:
    status, error = await desk.error(("model", "plain"), path=TRANSLATIONS, tries=tries)
    assert (status, error["code"], error["param"]) == (400, "unsupported_option", "translation")
    assert "engines that can: able" in error["message"]


# What the platform has


async def test_the_openapi_document_has_the_fields_by_their_names(desk: Desk) -> None:
    spec = (await desk.client.get("/openapi.json")).json()
    said = spec["paths"][TRANSCRIPTIONS]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert {"file", "model"} == set(said["required"])
    assert {"keywords[]", "languages[]", "timestamp_granularities[]", "include[]", "chunking_strategy[type]"} <= set(
        said["properties"]
    )


async def test_no_bytes_come_before_the_answer(desk: Desk, platform: Platform) -> None:
    """So that a failure can still be told by its status."""
    answer = await desk.ask(recording=b"no recording at all" * 100)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "media_unsupported")


async def test_a_recording_is_needed_and_is_a_file(desk: Desk) -> None:
    for files in ([("model", (None, "whisper-1"))], [("model", (None, "whisper-1")), ("file", (None, "a.wav"))]):
        answer = await desk.client.post(TRANSCRIPTIONS, files=files)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "file")
    answer = await desk.client.post(TRANSCRIPTIONS, json={"model": "whisper-1"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "malformed_upload")
    answer = await desk.client.post(TRANSCRIPTIONS, files=[("file", ("a.wav", RECORDING))])
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "model")


async def test_an_engine_that_is_away_is_not_waited_for_unless_that_is_asked(desk: Desk) -> None:
    status, error = await desk.error(("model", "away"))
    assert (status, error["code"]) == (503, "engine_unavailable")
    assert "it is being mended" in error["message"]
    asking = asyncio.create_task(desk.ask(("model", "away"), ("wait", "true")))

    async def waits() -> bool:
        jobs = (await desk.client.get(JOBS, params={"engine": "away"})).json()["jobs"]
        return [job["status"] for job in jobs] == ["queued"]

    await eventually(waits)
    assert not asking.done()
    asking.cancel()
