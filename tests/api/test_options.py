"""Every option with every kind of engine: honoured, refused, or waived with a warning in the result."""

import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import httpx
import pytest

from domain.capabilities import EngineReport, ModelReport
from domain.errors import Invalid
from domain.lifecycle import JobOptions
from services import engine_reports, submission
from services.platform import Platform
from services.submission import Submission
from tests.api.conftest import JOBS
from tests.support.audio import tone
from tests.support.jobs import ME, row
from tests.support.scripted import ScriptedEngine, registry_of
from workers.pipeline import run_attempt

FILE = {"file": ("visit.wav", tone(1.0), "audio/wav")}
SCHEMA = {
    "type": "object",
    "properties": {
        "hotwords": {"type": "string", "maxLength": 30, "description": "Words to listen for, parted by commas."},
        "initial_prompt": {"type": "string"},
        "beams": {"type": "integer", "minimum": 1},
    },
}
PLAIN = EngineReport(engine="plain", available=True, quality=10, languages=("en-US",))
ABLE = EngineReport(
    engine="able",
    available=True,
    quality=50,
    models=(ModelReport(name="base", state="ready"), ModelReport(name="small", state="ready")),
    default_model="base",
    detects_language=True,
    diarizes=True,
    boosts_words=True,
    options=SCHEMA,
)
AWAY = EngineReport(engine="away", available=False, reason="it rests")
DIARIZER = EngineReport(engine="diarizer", available=True, stages=("diarize",))

Work = Callable[..., Awaitable[None]]


@pytest.fixture(autouse=True)
async def _engines(platform: Platform) -> None:
    """Reports are believed for seconds only."""
    await report(platform, PLAIN, ABLE, AWAY)


async def report(platform: Platform, *reports: EngineReport) -> None:
    await engine_reports.record(platform, worker="worker-1", reports=reports)


@pytest.fixture(scope="module")
async def context_id(client: httpx.AsyncClient) -> str:
    answer = await client.post("/api/contexts", json={"name": "drugs", "terms": [{"text": "metoprolol"}]})
    return str(answer.json()["context_id"])


async def submit(client: httpx.AsyncClient, route: str = "transcribe", **fields: str) -> httpx.Response:
    return await client.post(f"{JOBS}/{route}", data=fields, files=FILE)


async def result_of(client: httpx.AsyncClient, work: Work, answer: httpx.Response, engine: ScriptedEngine) -> Any:
    assert answer.status_code == 202, answer.text
    await work(answer.json()["job_id"], engine)
    return (await client.get(f"{JOBS}/result/{answer.json()['job_id']}")).json()


Wish = tuple[dict[str, str], str, str, dict[str, Any]]

WISHES: list[Wish] = [
    ({"language": "fr"}, "unsupported_language", "language", {"language": "fr"}),
    ({"model": "small"}, "unknown_model", "model", {"model": "small"}),
    ({"enable_diarization": "true"}, "unsupported_option", "enable_diarization", {"enable_diarization": True}),
    ({"num_speakers": "2"}, "unsupported_option", "num_speakers", {"num_speakers": 2}),
    ({"min_speakers": "2"}, "unsupported_option", "min_speakers", {"min_speakers": 2}),
    ({"max_speakers": "2"}, "unsupported_option", "max_speakers", {"max_speakers": 2}),
    ({"context_id": "drugs"}, "unsupported_option", "context_id", {"terms": ["metoprolol"]}),
    ({"hotwords": "metoprolol"}, "unsupported_option", "options.hotwords", {"hotwords": "metoprolol"}),
    ({"initial_prompt": "Hi"}, "unsupported_option", "options.initial_prompt", {"initial_prompt": "Hi"}),
    ({"options": '{"beams": 5}'}, "unsupported_option", "options.beams", {"beams": 5}),
]
"""The fields, the code and the field of a refusal, and what an engine hears of it that can."""

each_wish = pytest.mark.parametrize("wish", WISHES, ids=[next(iter(wish[0])) for wish in WISHES])


@pytest.fixture
def asked(wish: Wish, context_id: str) -> dict[str, str]:
    return {name: context_id if name == "context_id" else value for name, value in wish[0].items()}


@each_wish
async def test_an_engine_that_cannot_refuses_and_names_one_that_can(
    client: httpx.AsyncClient, asked: dict[str, str], wish: Wish
) -> None:
    answer = await submit(client, engine="plain", **asked)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["field"]) == (422, *wish[1:3])
    assert "engines that can: able" in error["message"]


@each_wish
async def test_with_warnings_the_job_is_done_without_it_and_the_result_says_so(
    client: httpx.AsyncClient, work: Work, asked: dict[str, str], wish: Wish
) -> None:
    engine = ScriptedEngine(name="plain", report=PLAIN)
    answer = await submit(client, engine="plain", on_unsupported="warn", **asked)
    result = await result_of(client, work, answer, engine)
    assert [warning["code"] for warning in result["warnings"]] == ["option_not_honoured"]
    assert f"engine 'plain' cannot honour '{wish[2]}'" in result["warnings"][0]["message"]
    assert heard_of(engine) == {}


@each_wish
@pytest.mark.parametrize("engine", ["able", "auto"])
async def test_an_engine_that_can_is_asked_for_it(
    client: httpx.AsyncClient, platform: Platform, asked: dict[str, str], wish: Wish, engine: str
) -> None:
    answer = await submit(client, engine=engine, **asked)
    assert answer.status_code == 202, answer.text
    able = ScriptedEngine(name="able", report=ABLE)
    registry = registry_of(ScriptedEngine(name="plain", report=PLAIN), able)
    await run_attempt(platform, registry, UUID(answer.json()["job_id"]), worker="worker-1")
    result = (await client.get(f"{JOBS}/result/{answer.json()['job_id']}")).json()
    assert (result["engine"], result["warnings"]) == ("able", [])
    assert heard_of(able) == wish[3]


def heard_of(engine: ScriptedEngine) -> dict[str, Any]:
    """What the engine was asked for beyond the recording itself."""
    (hearing,) = engine.heard
    told = hearing.model_dump(exclude={"audio_seconds", "options", "terms"}, exclude_none=True) | hearing.options
    return told | ({"terms": [term.text for term in hearing.terms]} if hearing.terms else {})


@each_wish
async def test_while_the_engine_is_away_the_job_waits_and_the_claim_looks_again(
    client: httpx.AsyncClient, platform: Platform, work: Work, asked: dict[str, str], wish: Wish
) -> None:
    jobs = [(await submit(client, engine="away", on_unsupported=how, **asked)).json() for how in ("fail", "warn")]
    assert ["it rests" in job["message"] for job in jobs] == [True, True]
    back = ScriptedEngine(name="away", report=PLAIN.model_copy(update={"engine": "away"}))
    for job in jobs:
        await work(job["job_id"], back)
    failed = await row(platform, UUID(jobs[0]["job_id"]))
    assert failed["state"] == "failed"
    assert failed["error_details"]["code"] == "unsupported_option"  # type: ignore[index]
    assert f"'{wish[2]}'" in str(failed["message"])
    warned = (await client.get(f"{JOBS}/result/{jobs[1]['job_id']}")).json()
    assert [warning["code"] for warning in warned["warnings"]] == ["option_not_honoured"]
    assert f"'{wish[2]}'" in warned["warnings"][0]["message"]
    assert heard_of(back) == {}


async def test_the_whisperx_routes_default_is_a_wish_that_no_job_is_refused_for(
    client: httpx.AsyncClient, platform: Platform, work: Work
) -> None:
    whisperx = PLAIN.model_copy(update={"engine": "whisperx"})
    await report(platform, whisperx)
    engine = ScriptedEngine(name="whisperx", report=whisperx)
    await result_of(client, work, await submit(client, "transcribe/whisperx"), engine)
    assert engine.heard[0].enable_diarization is None
    written = await submit(client, "transcribe/whisperx", enable_diarization="true")
    assert (written.status_code, written.json()["error"]["field"]) == (422, "enable_diarization")


async def test_the_whisperx_route_takes_a_context_and_all_that_whisperx_can(
    client: httpx.AsyncClient, platform: Platform, work: Work, context_id: str
) -> None:
    whisperx = ABLE.model_copy(update={"engine": "whisperx"})
    await report(platform, whisperx)
    engine = ScriptedEngine(name="whisperx", report=whisperx)
    fields = {"context_id": context_id, "num_speakers": "3", "hotwords": "apixaban", "initial_prompt": "Minutes:"}
    result = await result_of(client, work, await submit(client, "transcribe/whisperx", **fields), engine)
    assert result["vocabulary"]["context_id"] == context_id
    assert heard_of(engine) == {
        "num_speakers": 3,
        "hotwords": "apixaban",
        "initial_prompt": "Minutes:",
        "terms": ["metoprolol"],
    }


async def test_auto_refuses_what_no_engine_could_ever_honour(client: httpx.AsyncClient) -> None:
    for fields, code in (
        ({"model": "huge"}, "unknown_model"),
        ({"options": '{"colour": 1}'}, "unsupported_option"),
        ({"hotwords": "x" * 31}, "unsupported_option"),
    ):
        answer = await submit(client, engine="auto", **fields)
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, code)
        assert "no engine here can" in answer.json()["error"]["message"]


async def test_auto_refuses_what_only_several_engines_together_could(
    client: httpx.AsyncClient, platform: Platform
) -> None:
    await report(platform, PLAIN, ABLE.model_copy(update={"languages": ("es",)}))
    answer = await submit(client, engine="auto", language="en", num_speakers="2")
    error = answer.json()["error"]
    assert (answer.status_code, error["field"]) == (422, "num_speakers")
    assert "the engine that comes nearest, 'plain', cannot" in error["message"]
    assert "engines that can: able" in error["message"]


async def test_auto_does_not_wait_for_an_engine_that_has_never_said_what_it_knows(
    client: httpx.AsyncClient, platform: Platform
) -> None:
    await report(platform, PLAIN, AWAY)
    answer = await submit(client, engine="auto", language="fr")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "unsupported_language")


async def test_auto_waits_for_an_engine_that_could_and_is_away(
    client: httpx.AsyncClient, platform: Platform, work: Work
) -> None:
    away = ABLE.model_copy(update={"available": False, "reason": "it rests"})
    await report(platform, PLAIN, away)
    answer = await submit(client, engine="auto", num_speakers="2")
    assert answer.json()["message"] == "what is asked takes an engine that is not available now: able"
    await work(answer.json()["job_id"], ScriptedEngine(name="plain", report=PLAIN))
    assert (await row(platform, UUID(answer.json()["job_id"])))["state"] == "queued"


async def test_a_job_for_auto_that_none_can_do_any_more_fails_where_it_would_wait_for_ever(
    client: httpx.AsyncClient, platform: Platform, work: Work
) -> None:
    answer = await submit(client, engine="auto", num_speakers="2")
    await report(platform, PLAIN)
    await work(answer.json()["job_id"], ScriptedEngine(name="plain", report=PLAIN))
    failed = await row(platform, UUID(answer.json()["job_id"]))
    assert (failed["state"], failed["error_details"]["code"]) == ("failed", "unsupported_option")  # type: ignore[index]


async def test_auto_with_warnings_takes_the_nearest_engine(
    client: httpx.AsyncClient, platform: Platform, work: Work
) -> None:
    answer = await submit(client, engine="auto", language="en", options='{"colour": 1}', on_unsupported="warn")
    result = await result_of(client, work, answer, ScriptedEngine(name="plain", report=PLAIN))
    assert result["engine"] == "plain"
    assert ["'options.colour'" in warning["message"] for warning in result["warnings"]] == [True]


async def test_the_platforms_own_diarizer_meets_the_wish_and_is_no_engine_to_ask_for(
    client: httpx.AsyncClient, platform: Platform
) -> None:
    await report(platform, PLAIN, DIARIZER)
    assert (await submit(client, engine="plain", enable_diarization="true")).status_code == 202
    answer = await submit(client, engine="diarizer")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "unknown_engine")
    assert "diarizer" not in answer.json()["error"]["message"].partition("choose one of")[2]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"num_speakers": "0"}, "num_speakers"),
        ({"num_speakers": "65"}, "num_speakers"),
        ({"num_speakers": "2", "min_speakers": "3"}, "num_speakers"),
        ({"num_speakers": "4", "max_speakers": "3"}, "num_speakers"),
        ({"enable_diarization": "false", "min_speakers": "2"}, "min_speakers"),
        ({"hotwords": "x" * 4001}, "hotwords"),
        ({"initial_prompt": "a\x00b"}, "initial_prompt"),
        ({"model": "a\x00b"}, "model"),
        ({"engine": "e" * 65}, "engine"),
        ({"options": "hotwords=a"}, "options"),
        ({"options": "[1]"}, "options"),
        ({"options": "7"}, "options"),
        ({"options": "[" * 9000}, "options"),
        ({"options": '{"a": "%s"}' % ("x" * 16_384)}, "options"),
        ({"options": '{"a": [[[[1]]]]}'}, "options"),
        ({"options": '{"a": NaN}'}, "options"),
        ({"options": '{"a": 1e999}'}, "options"),
        ({"options": '{"a": %s}' % ("9" * 16)}, "options"),
        ({"options": '{"a": "b\\u0000"}'}, "options"),
        ({"options": '{"a": "\\ud800"}'}, "options"),
        ({"options": '{"a\\u0000": 1}'}, "options"),
        ({"options": '{"%s": 1}' % ("a" * 201)}, "options"),
        ({"options": '{"a": 1, "a": 2}'}, "options"),
        ({"hotwords": "a", "options": '{"hotwords": "b"}'}, "hotwords"),
    ],
)
async def test_what_cannot_be_read_is_refused_whatever_engine_is_asked_for(
    client: httpx.AsyncClient, fields: dict[str, str], field: str
) -> None:
    for more in ({}, {"on_unsupported": "warn"}):
        answer = await submit(client, **{"engine": "away", **more, **fields})
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["field"]) == (422, "invalid_request", field)


async def test_a_rerun_without_speakers_may_keep_its_parents_counts(platform: Platform) -> None:
    asked = JobOptions(engine="able", enable_diarization=False, num_speakers=2)
    with pytest.raises(Invalid):
        await submission.check(platform, ME, Submission(asked))
    rerun = asked.model_copy(update={"stages": ("align",)})
    assert (await submission.check(platform, ME, Submission(rerun))).waits_for is None


@pytest.mark.parametrize(
    ("own", "field", "words"),
    [
        ({"beams": 0}, "options.beams", "it wants minimum 1"),
        ({"hotwords": ["Jane"]}, "options.hotwords", "it wants type string (Words to listen for, parted by commas.)"),
        ({"hotwords": "Jane Doe, who is very ill indeed"}, "options.hotwords", "it wants maxLength 30"),
    ],
)
async def test_an_option_with_a_value_that_does_not_fit_is_named_without_being_told_on(
    client: httpx.AsyncClient, own: dict[str, Any], field: str, words: str
) -> None:
    answer = await submit(client, engine="able", options=json.dumps(own))
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["field"]) == (422, "unsupported_option", field)
    assert words in error["message"]
    assert "Jane" not in answer.text


async def test_the_document_shows_every_field_and_its_limits(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()

    def form(route: str) -> dict[str, Any]:
        body = document["paths"][f"{JOBS}/{route}"]["post"]["requestBody"]["content"]["multipart/form-data"]
        found: dict[str, Any] = body["schema"]["properties"]
        return found

    shared = {"model", "context_id", "enable_diarization", "num_speakers", "min_speakers", "max_speakers", "hotwords"}
    shared |= {"initial_prompt", "language", "channel_roles", "on_unsupported", "wait", "session_id", "file"}
    assert set(form("transcribe")) >= shared | {"engine", "options"}
    assert set(form("transcribe/whisperx")) >= shared
    assert form("transcribe/whisperx")["enable_diarization"]["default"] is True
    assert form("transcribe")["hotwords"]["anyOf"][0]["maxLength"] == 4000
    assert form("transcribe")["num_speakers"]["anyOf"][0]["maximum"] == 64
    assert "16,384 characters" in form("transcribe")["options"]["description"]
