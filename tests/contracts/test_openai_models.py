"""The OpenAI dialect's models: its own names and ours, as they are listed and as they are asked for."""

from urllib.parse import quote

import pytest

from api.dialects.openai_models import ALIASES, DIARIZES, listed, offered, settle
from domain.capabilities import AUTO, EngineReport, ModelReport
from domain.errors import ModelNotFound
from domain.lifecycle import JobOptions
from tests.support.openai_desk import ABLE, AWAY, PLAIN, Desk

REPORTS = {report.engine: report for report in (ABLE, PLAIN, AWAY)}


async def test_the_list_has_openai_s_names_and_what_can_be_had_now(desk: Desk) -> None:
    answer = (await desk.client.get("/v1/models")).json()
    assert set(answer) == {"object", "data"}
    assert answer["object"] == "list"
    assert all(set(model) == {"id", "object", "created", "owned_by"} for model in answer["data"])
    assert all(model["object"] == "model" and isinstance(model["created"], int) for model in answer["data"])
    owners = {model["id"]: model["owned_by"] for model in answer["data"]}
    assert owners == {
        **dict.fromkeys(ALIASES, "escriba"),
        "auto": "auto",
        "able": "able", "able-base": "able", "able-large-v3": "able", "plain": "plain", "plain-small": "plain",
    }  # fmt: skip


async def test_every_model_of_the_list_is_found_by_its_name_which_has_no_slash(desk: Desk) -> None:
    for model in (await desk.client.get("/v1/models")).json()["data"]:
        assert "/" not in model["id"]
        assert (await desk.client.get(f"/v1/models/{quote(model['id'])}")).json() == model


@pytest.mark.parametrize("name", ["gigantic", "able/large", "able%2Flarge", "", "away"])
async def test_a_model_that_cannot_be_had_is_not_found(desk: Desk, name: str) -> None:
    answer = await desk.client.get(f"/v1/models/{name}", follow_redirects=True)
    assert name == "" or answer.status_code == 404
    assert name == "" or answer.json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("model", "field", "value"),
    [("able", "engine", "plain"), ("small", "engine", "able"), (DIARIZES, "enable_diarization", "false")],
)
async def test_a_wish_that_the_model_goes_against_is_refused(desk: Desk, model: str, field: str, value: str) -> None:
    status, error = await desk.error(("model", model), (field, value))
    assert (status, error["param"], error["code"]) == (400, field, "invalid_request")


@pytest.mark.parametrize("name", [*ALIASES, "gpt-4o-mini-transcribe-2025-12-15", "whisper-1-2027-01-01", "auto"])
async def test_openai_s_names_are_whatever_hears_best(desk: Desk, name: str) -> None:
    await desk.view(("model", name))
    assert [(len(engine.heard), engine.heard[0].model) for engine in (desk.able,)] == [(1, None)]


@pytest.mark.parametrize(
    ("name", "engine", "model"),
    [
        ("able", "able", None),
        ("able-base", "able", "base"),
        ("able-large-v3", "able", "large/v3"),
        ("large/v3", "able", "large/v3"),
        ("plain", "plain", None),
        ("plain-small", "plain", "small"),
        ("small", "plain", "small"),
        ("away", "away", None),
    ],
)
def test_our_names_are_an_engine_and_its_model(name: str, engine: str, model: str | None) -> None:
    settled = settle(JobOptions(engine=AUTO, model=name), REPORTS, offline=False)
    assert (settled.engine, settled.model) == (engine, model)


@pytest.mark.parametrize("default", ["auto", "plain"])
def test_openai_s_names_are_the_operator_s_default_engine(default: str) -> None:
    assert settle(JobOptions(engine=default, model="whisper-1"), REPORTS, offline=False).engine == default


@pytest.mark.parametrize(
    ("name", "diarizes"), [(DIARIZES, True), (f"{DIARIZES}-2027-01-01", True), ("whisper-1", None)]
)
def test_the_model_that_diarizes_does(name: str, diarizes: bool | None) -> None:
    assert settle(JobOptions(engine=AUTO, model=name), REPORTS, offline=False).enable_diarization is diarizes


def test_what_is_fetched_first_is_not_offered_where_nothing_may_be_fetched() -> None:
    absent = EngineReport(engine="x", available=True, models=(ModelReport(name="far", state="absent"),))
    options = JobOptions(engine=AUTO, model="far")
    assert settle(options, {"x": absent}, offline=False).engine == "x"
    assert settle(options, {"x": absent}, offline=True).engine == AUTO, "and the submission is refused"


@pytest.mark.parametrize("name", ["gigantic", "able-", "ABLE", "whisper-1-2027", "able-large/v3"])
def test_a_name_that_is_none_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(ModelNotFound, match=r"choose one of whisper-1.*able-large-v3") as caught:
        settle(JobOptions(engine=AUTO, model=name), REPORTS, offline=False)
    assert "away" not in str(caught.value)


def test_of_two_things_with_one_name_the_engine_comes_first() -> None:
    both = EngineReport(engine="a", available=True, models=(ModelReport(name="b", state="ready"),))
    other = EngineReport(engine="a-b", available=True)
    assert offered({"a": both, "a-b": other})["a-b"].engine == "a-b"


def test_what_only_tells_speakers_apart_is_no_model() -> None:
    diarizer = EngineReport(engine="diarizer", available=True, stages=("diarize",))
    assert "diarizer" not in listed({"diarizer": diarizer})
