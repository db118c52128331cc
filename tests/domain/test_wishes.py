"""What an engine cannot honour, by what it says of itself."""

from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.capabilities import EngineReport, ModelReport, Term
from domain.lifecycle import JobOptions
from domain.wishes import fits, refusal, unmet, waive

SCHEMA = {
    "type": "object",
    "properties": {
        "hotwords": {"type": "string", "maxLength": 12, "description": "Words to listen for."},
        "beams": {"$ref": "#/$defs/beams"},
        "style": {"enum": ["plain", "fancy"]},
        "prompt": {"type": "string", "not": {"pattern": r"<\|"}},
    },
    "$defs": {"beams": {"type": "integer", "minimum": 1}},
    "dependentRequired": {"style": ["beams"]},
    "additionalProperties": False,
}
ENGLISH = EngineReport(engine="english", available=True, languages=("en-US",), quality=1)
ABLE = EngineReport(
    engine="able",
    available=True,
    models=(ModelReport(name="base", state="ready"),),
    diarizes=True,
    boosts_words=True,
    options=SCHEMA,
)
DIARIZER = EngineReport(engine="diarizer", available=True, stages=("diarize",))


def job(**asked: Any) -> JobOptions:
    return JobOptions(engine="english", **asked)


def names(report: EngineReport, **asked: Any) -> list[str]:
    return [missing.option for missing in unmet(report, job(**asked))]


@pytest.mark.parametrize(
    "asked",
    [
        {"language": "fr"},
        {"model": "base"},
        {"enable_diarization": True},
        {"num_speakers": 2},
        {"min_speakers": 2},
        {"max_speakers": 2},
        {"context_id": "00000000-0000-0000-0000-000000000001"},
    ],
)
def test_each_wish_is_met_by_the_engine_that_can_and_by_no_other(asked: dict[str, Any]) -> None:
    assert names(ENGLISH, **asked) == list(asked)
    assert names(ABLE, **asked) == []


def test_words_without_a_context_are_called_keywords() -> None:
    wish = job(terms=(Term(text="metoprolol"),))
    assert [missing.option for missing in unmet(ENGLISH, wish)] == ["keywords"]
    assert unmet(ABLE, wish) == ()
    assert waive(wish, "english", unmet(ENGLISH, wish)).terms == ()


@pytest.mark.parametrize("asked", [{}, {"enable_diarization": False}, {"channel_roles": ("provider", "patient")}])
def test_what_every_engine_can_is_never_unmet(asked: dict[str, Any]) -> None:
    assert names(ENGLISH, **asked) == []


def test_a_diarizer_of_the_platforms_own_meets_the_wishes_for_speakers_while_it_is_there() -> None:
    wishes = job(enable_diarization=True, num_speakers=2)
    assert unmet(ENGLISH, wishes, diarizer=DIARIZER) == ()
    gone = DIARIZER.model_copy(update={"available": False})
    assert [missing.option for missing in unmet(ENGLISH, wishes, diarizer=gone)] == [
        "enable_diarization",
        "num_speakers",
    ]
    assert [fit.unmet for fit in fits([ENGLISH, DIARIZER], wishes)] == [()]


@pytest.mark.parametrize(
    ("own", "option", "words"),
    [
        ({"hotwords": "a" * 13}, "options.hotwords", "it wants maxLength 12 (Words to listen for.)"),
        ({"hotwords": 12}, "options.hotwords", "it wants type string (Words to listen for.)"),
        ({"beams": 0}, "options.beams", "it wants minimum 1"),
        ({"style": "odd", "beams": 1}, "options.style", "it wants enum ['plain', 'fancy']"),
        ({"prompt": "<|endoftext|>"}, "options.prompt", "it wants not"),
        ({"colour": "blue"}, "options.colour", "it has no such option; it has beams, hotwords, prompt, style"),
        ({"style": "plain"}, "options", "together, it wants dependentRequired"),
    ],
)
def test_an_option_of_the_engines_own_that_does_not_fit_is_named_with_the_rule(
    own: dict[str, Any], option: str, words: str
) -> None:
    (missing,) = unmet(ABLE, job(engine_options=own))
    assert missing.option == option
    assert missing.why.startswith(words)


def test_options_that_fit_are_honoured() -> None:
    own = {"hotwords": "apixaban", "beams": 5, "style": "plain", "prompt": "a < b"}
    assert unmet(ABLE, job(engine_options=own)) == ()


def test_the_callers_text_is_in_no_reason() -> None:
    own = {"hotwords": "Jane Doe is ill", "beams": "Jane Doe", "style": "Jane Doe", "prompt": "<|Jane Doe"}
    missing = unmet(ABLE, job(engine_options=own))
    assert len(missing) == 4
    assert all("Jane" not in each.why for each in missing)


def test_an_option_that_an_open_schema_does_not_name_is_not_honoured() -> None:
    for schema in ({}, {"type": "object"}, {"additionalProperties": True}):
        silent = ABLE.model_copy(update={"options": schema})
        assert names(silent, engine_options={"colour": 1}) == ["options.colour"]


def test_a_schema_that_is_none_honours_nothing() -> None:
    strange = ABLE.model_copy(update={"options": {"type": "thing"}})
    assert names(strange, engine_options={"colour": 1}) == ["options"]
    assert names(strange) == []


def test_nothing_is_fetched_for_a_schema_that_lies_elsewhere() -> None:
    fetched: list[str] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fetched.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        serving = Thread(target=server.serve_forever)
        serving.start()
        schema = {"properties": {"colour": {"$ref": f"http://127.0.0.1:{server.server_port}/schema.json"}}}
        strange = ABLE.model_copy(update={"options": schema})
        assert names(strange, engine_options={"colour": 1}) == ["options"]
        server.shutdown()
        serving.join()
    assert fetched == []


def test_a_required_option_with_a_wrong_value_is_named_once() -> None:
    strict = ABLE.model_copy(update={"options": {**SCHEMA, "required": ["hotwords"]}})
    assert names(strict, engine_options={"hotwords": 1}) == ["options.hotwords"]


def test_what_is_waived_is_gone_and_each_has_its_warning() -> None:
    asked = job(
        language="fr",
        num_speakers=2,
        context_id="00000000-0000-0000-0000-000000000001",
        context_version=3,
        terms=(Term(text="apixaban"),),
        engine_options={"hotwords": "apixaban", "beams": 2},
        warnings=({"code": "before", "message": "said before"},),
    )
    kept = waive(asked, "english", unmet(ENGLISH, asked))
    assert unmet(ENGLISH, kept) == ()
    assert kept == job(warnings=kept.warnings)
    assert [warning["code"] for warning in kept.warnings] == ["before"] + ["option_not_honoured"] * 5
    said = "engine 'english' cannot honour 'language': it does not know 'fr'; it knows en-US"
    assert kept.warnings[1]["message"] == said
    assert "apixaban" not in str(kept.warnings)


OWN: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.sampled_from(["hotwords", "beams", "style", "prompt", "colour"]),
    st.sampled_from(["plain", "a" * 13, 0, 1, None, [], {}]),
)


@given(OWN)
def test_what_is_left_after_a_waiver_is_always_honoured(own: dict[str, Any]) -> None:
    asked = job(engine_options=own)
    assert unmet(ABLE, waive(asked, "able", unmet(ABLE, asked))) == ()


def test_a_refusal_has_the_code_of_what_is_refused_and_names_who_could_now() -> None:
    away = ABLE.model_copy(update={"engine": "away", "available": False})
    for asked, code, field in (
        ({"language": "fr"}, "unsupported_language", "language"),
        ({"model": "base"}, "unknown_model", "model"),
        ({"num_speakers": 2}, "unsupported_option", "num_speakers"),
        ({"engine_options": {"beams": 2}}, "unsupported_option", "options.beams"),
    ):
        found = fits([ABLE, ENGLISH, away], job(**asked))
        error = refusal(next(fit for fit in found if fit.report == ENGLISH), found)
        assert (error.code, error.field) == (code, field)
        assert "(engines that can: able)" in str(error)
        assert "on_unsupported=warn" in str(error)


def test_the_nearest_engine_is_first_and_one_that_knows_the_language_is_always_nearer() -> None:
    french = EngineReport(engine="french", available=True, languages=("fr",))
    versatile = ABLE.model_copy(update={"languages": ("en",), "quality": 99})
    found = fits([versatile, ENGLISH, french], job(language="fr", num_speakers=2, model="base"))
    assert [fit.report.engine for fit in found] == ["french", "able", "english"]
