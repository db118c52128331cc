"""The OpenAI dialect: fields besides OpenAI's, the native API's and those that other servers of its kind take."""

import json

import pytest

from domain.capabilities import Term
from tests.support.openai_desk import TEXT, Desk

Fields = list[tuple[str, str]]


async def test_fields_of_the_native_api_go_into_extra_body(desk: Desk) -> None:
    await desk.view(
        ("num_speakers", "2"), ("options", json.dumps({"hotwords": "apixaban"})), ("delete_after_seconds", "3600")
    )
    assert (desk.able.heard[0].num_speakers, desk.able.heard[0].options) == (2, {"hotwords": "apixaban"})


@pytest.mark.parametrize(
    ("fields", "diarizes"),
    [
        ([("diarize", "true")], True),
        ([("diarize", "true"), ("enable_diarization", "true"), ("num_speakers", "2")], True),
        ([("diarize", "false")], False),
        ([("diarize", ""), ("enable_diarization", "true")], True),
        ([("diarize", ""), ("num_speakers", "2")], None),
    ],
)
async def test_diarize_is_enable_diarization(desk: Desk, fields: Fields, diarizes: bool | None) -> None:
    view = await desk.view(("response_format", "verbose_json"), *fields)
    assert desk.able.heard[0].enable_diarization is diarizes
    assert [segment.get("speaker") for segment in view["segments"]] == (
        [None] * 4 if diarizes is False else ["A", "B", "B", "A"]
    )


@pytest.mark.parametrize(
    "fields",
    [
        [("hotwords[]", "metoprolol"), ("hotwords[]", "Dr. Okafor")],
        [("hotwords", "metoprolol"), ("hotwords", ""), ("hotwords", "Dr. Okafor")],
        [("hotwords", "metoprolol, Dr. Okafor,")],
        [("keywords[]", "metoprolol"), ("hotwords[]", "Dr. Okafor")],
    ],
)
async def test_hotwords_are_keywords(desk: Desk, fields: Fields) -> None:
    view = await desk.view(*fields)
    assert desk.able.heard[0].terms == (Term(text="metoprolol"), Term(text="Dr. Okafor"))
    assert desk.able.heard[0].options == {}
    assert view["text"] == TEXT


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ([("diarize", "true"), ("enable_diarization", "false")], "diarize"),
        ([("diarize", "false"), ("enable_diarization", "true")], "diarize"),
        ([("diarize", "false"), ("response_format", "diarized_json")], "response_format"),
        ([("diarize", "false"), ("model", "gpt-4o-transcribe-diarize")], "diarize"),
        ([("diarize", "false"), ("num_speakers", "2")], "num_speakers"),
        ([("hotwords[]", "x"), ("context_id", "00000000-0000-0000-0000-000000000000")], "hotwords[]"),
        ([("hotwords", ",".join(["x"] * 600)), ("keywords[]", "y")] + [("keywords[]", "y")] * 400, "hotwords[]"),
        ([("hotwords", ",".join(["x"] * 1_001))], "hotwords[]"),
        ([("hotwords", "a, " + "x" * 201)], "hotwords[]"),
        ([("hotwords[]", "a\0b")], "hotwords[]"),
        ([("diarize", "perhaps")], "diarize"),
    ],
)
@pytest.mark.parametrize("tries", [None, 0])
async def test_what_cannot_be_is_refused_by_its_name(desk: Desk, fields: Fields, param: str, tries: int | None) -> None:
    status, error = await desk.error(*fields, tries=tries)
    assert (status, error["code"], error["param"]) == (400, "invalid_request", param)
    assert desk.able.heard == []


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ([("hotwords", "metoprolol")], "hotwords[]"),
        ([("hotwords", "metoprolol"), ("keywords[]", "apixaban")], "keywords[]"),
        ([("diarize", "true")], "diarize"),
    ],
)
@pytest.mark.parametrize("tries", [None, 0])
async def test_what_a_model_cannot_do_is_refused_by_the_name_that_was_said(
    desk: Desk, fields: Fields, param: str, tries: int | None
) -> None:
    status, error = await desk.error(("model", "plain"), *fields, tries=tries)
    assert (status, error["param"]) == (400, param)
    assert f"cannot honour {param!r}" in error["message"]
    assert "engines that can: able" in error["message"]
