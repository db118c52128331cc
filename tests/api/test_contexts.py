"""Vocabularies: kept, replaced under a new version, and never changed under a job that has them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from domain.access import Caller
from domain.capabilities import EngineReport
from domain.transcript import Heard, LeftOutTerm, Segment, TermsUsed
from engines.contract import Hearing
from services import contexts, engine_reports
from services.platform import Platform
from tests.api.conftest import JOBS
from tests.support.audio import tone
from tests.support.scripted import ScriptedEngine

FILE = {"file": ("visit.wav", tone(1.0), "audio/wav")}
DRUGS = {
    "name": "drugs",
    "terms": [{"text": "metoprolol", "boost": 20, "sounds_like": ["meta pro lol"]}, {"text": "AF"}],
}

Work = Callable[..., Awaitable[None]]


@pytest.fixture
async def boosting(platform: Platform) -> ScriptedEngine:
    """An engine that can use terms, and knows how to pronounce all but one."""

    async def script(_: Path, hearing: Hearing) -> AsyncIterator[Heard]:
        yield TermsUsed(used=("metoprolol",), left_out=(LeftOutTerm(text="AF", reason="no pronunciation"),))
        yield Segment(start=0, end=hearing.audio_seconds, text="Metoprolol, twice a day, after lunch.")

    report = EngineReport(engine="scripted", available=True, quality=99, detects_language=True, boosts_words=True)
    # Of workers that differ, the first by name is believed: this one comes before the one of all tests.
    await engine_reports.record(platform, worker="worker-0", reports=[report])
    return ScriptedEngine(script, report=report)


async def make(client: httpx.AsyncClient, body: dict[str, object] | None = None) -> str:
    answer = await client.post("/api/contexts", json=body or DRUGS)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["context_id"])


async def test_a_context_is_kept_and_read(client: httpx.AsyncClient) -> None:
    context_id = await make(client)
    found = (await client.get(f"/api/contexts/{context_id}")).json()
    assert (found["context_id"], found["name"], found["version"]) == (context_id, "drugs", 1)
    assert [term["text"] for term in found["terms"]] == ["metoprolol", "AF"]
    assert found["terms"][0]["sounds_like"] == ["meta pro lol"]
    listed = (await client.get("/api/contexts")).json()["contexts"]
    assert {"context_id": context_id, "name": "drugs", "version": 1, "terms_count": 2}.items() <= next(
        each for each in listed if each["context_id"] == context_id
    ).items()


async def test_replacing_makes_the_next_version(client: httpx.AsyncClient) -> None:
    context_id = await make(client)
    answer = await client.put(f"/api/contexts/{context_id}", json={"name": "heart", "terms": [{"text": "apixaban"}]})
    assert (answer.json()["version"], answer.json()["name"]) == (2, "heart")
    assert [term["text"] for term in answer.json()["terms"]] == ["apixaban"]


async def test_a_deleted_context_is_gone(client: httpx.AsyncClient) -> None:
    context_id = await make(client)
    assert (await client.delete(f"/api/contexts/{context_id}")).status_code == 204
    for answer in (
        await client.get(f"/api/contexts/{context_id}"),
        await client.put(f"/api/contexts/{context_id}", json=DRUGS),
        await client.delete(f"/api/contexts/{context_id}"),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "context_not_found")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "", "terms": []},
        {"name": "a", "terms": [{"text": ""}]},
        {"name": "a", "terms": [{"text": "b", "boost": 101}]},
        {"name": "a", "terms": [{"text": "b", "weight": 1}]},
        {"name": "a", "terms": [{"text": "b"}] * 1001},
    ],
)
async def test_a_malformed_context_is_refused(client: httpx.AsyncClient, body: dict[str, object]) -> None:
    answer = await client.post("/api/contexts", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_request")


async def test_a_job_with_a_context_that_is_not_there_is_refused(
    client: httpx.AsyncClient, boosting: ScriptedEngine
) -> None:
    fields = {"engine": "scripted", "context_id": str(uuid4())}
    answer = await client.post(f"{JOBS}/transcribe", data=fields, files=FILE)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "context_not_found")


async def test_an_engine_that_cannot_use_terms_refuses_them_or_warns(client: httpx.AsyncClient) -> None:
    fields = {"engine": "english", "context_id": await make(client)}
    answer = await client.post(f"{JOBS}/transcribe", data=fields, files=FILE)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "unsupported_option")
    waived = await client.post(f"{JOBS}/transcribe", data={**fields, "on_unsupported": "warn"}, files=FILE)
    assert waived.status_code == 202


async def test_the_result_says_what_became_of_the_vocabulary(
    client: httpx.AsyncClient, boosting: ScriptedEngine, work: Work
) -> None:
    context_id = await make(client)
    fields = {"engine": "scripted", "context_id": context_id}
    job_id = (await client.post(f"{JOBS}/transcribe", data=fields, files=FILE)).json()["job_id"]
    await client.put(f"/api/contexts/{context_id}", json={"name": "other", "terms": []})
    await work(job_id, boosting)
    assert [term.text for term in boosting.heard[0].terms] == ["metoprolol", "AF"]
    assert (await client.get(f"{JOBS}/result/{job_id}")).json()["vocabulary"] == {
        "context_id": context_id,
        "version": 1,
        "used": ["metoprolol"],
        "left_out": [{"text": "AF", "reason": "no pronunciation"}],
        "matched": ["metoprolol"],
    }


async def test_a_term_inside_another_word_does_not_match(
    client: httpx.AsyncClient, boosting: ScriptedEngine, work: Work
) -> None:
    context_id = await make(client, {"name": "short", "terms": [{"text": "AF"}]})  # as in "after"
    fields = {"engine": "scripted", "context_id": context_id}
    job_id = (await client.post(f"{JOBS}/transcribe", data=fields, files=FILE)).json()["job_id"]
    await work(job_id, boosting)
    assert (await client.get(f"{JOBS}/result/{job_id}")).json()["vocabulary"]["matched"] == []


async def test_nobody_sees_anothers_context(client: httpx.AsyncClient, platform: Platform) -> None:
    theirs = await contexts.create(platform, Caller("somebody else"), "theirs", [])
    assert (await client.get(f"/api/contexts/{theirs.id}")).status_code == 404
    assert str(theirs.id) not in (await client.get("/api/contexts")).text
