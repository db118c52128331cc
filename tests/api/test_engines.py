"""GET /engines: the fields as first published, everything that a dashboard asks for, and answers that cost little."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from api.engine_board import FRESH_SECONDS, EngineBoard
from api.schemas import MEMORY_STEP
from config.settings import Settings
from domain.capabilities import EngineReport, LoadedModel, ModelReport
from domain.errors import DatabaseUnavailable
from domain.transcript import Transcript
from services import attempts, engine_reports
from services.platform import Platform
from tests.api.conftest import JOBS, serving, vouching
from tests.conftest import ROOT
from tests.support.jobs import force, make_job
from tests.support.waiting import eventually

SEED = {
    "asr": {
        "engine": "asr",
        "available": True,
        "uri": "parakeet-nim:50051",
        "model": "parakeet-0-6b-ctc-en-us",
        "language": "en-US",
    },
    "whisperx": {
        "engine": "whisperx",
        "available": True,
        "url": "http://whisperx:9000",
        "available_models": ["tiny", "base", "small", "medium", "large-v2", "large-v3"],
        "health": {"status": "ok"},
    },
}
"""As the native API was first published."""

UNLOADS_AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


def asr(*, available: bool = True, load: int = 0, **more: Any) -> EngineReport:
    detail = {name: SEED["asr"][name] for name in ("uri", "model", "language")}
    report = EngineReport(engine="asr", available=available, default_language="en-US", detail=detail, **more)
    return report.model_copy(update={"load": load, "load_of": "worker"})


def whisperx(*, resident_bytes: int = 3 << 30) -> EngineReport:
    names = ["tiny", "base", "small", "medium", "large-v2", "large-v3"]
    return EngineReport(
        engine="whisperx",
        available=True,
        models=tuple(ModelReport(name=name, state="ready" if name == "base" else "absent") for name in names),
        default_model="base",
        memory=(LoadedModel(model="base", resident_bytes=resident_bytes, unloads_at=UNLOADS_AT, pid=77),),
        detail={"url": "http://whisperx:9000", "health": {"status": "ok"}},
    )


DIARIZER = EngineReport(engine="diarizer", available=True, stages=("diarize",), diarizes=True)


@pytest.fixture(scope="module")
async def engines_url(settings: Settings, platform: Platform) -> AsyncIterator[str]:
    async with serving(settings) as url:
        yield url


@pytest.fixture(scope="module")
async def client(engines_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=engines_url, timeout=30) as client:
        yield client


@pytest.fixture(autouse=True)
async def life(platform: Platform) -> AsyncIterator[AsyncExitStack]:
    """That of a worker that reports both engines of the native contract; nothing of another test is left."""
    await force(platform, "DELETE FROM engine_reports")
    await engine_reports.record(platform, worker="worker-1", reports=[asr(), whisperx(), DIARIZER])
    async with AsyncExitStack() as life:
        await life.enter_async_context(vouching(platform))
        yield life


async def answer(client: httpx.AsyncClient, path: str = "/engines") -> dict[str, Any]:
    found: dict[str, Any] = (await client.get(path)).json()
    return found


async def shown(client: httpx.AsyncClient, engine: str, **fields: Any) -> None:
    """Wait until the engine is shown so."""

    async def is_so() -> bool:
        found = (await answer(client))["engines"][engine]
        return all(found[name] == value for name, value in fields.items())

    await eventually(is_so)


@pytest.mark.parametrize("path", [f"{JOBS}/engines", "/engines"])
async def test_the_fields_are_as_they_were_first_published(client: httpx.AsyncClient, path: str) -> None:
    await shown(client, "asr", available=True)
    found = await answer(client, path)
    assert set(found["engines"]) == {"asr", "whisperx"}
    for name, fields in SEED.items():
        assert {field: found["engines"][name][field] for field in fields} == fields
    assert found["default_engine"] == "auto"


async def test_what_tells_speakers_apart_for_others_is_no_engine_to_ask_for(client: httpx.AsyncClient) -> None:
    async def is_shown() -> bool:
        found = await answer(client)
        return found["diarizer"] is not None and found["diarizer"]["available"] and "diarizer" not in found["engines"]

    await eventually(is_shown)


async def test_without_a_diarizer_of_our_own_its_place_is_null(client: httpx.AsyncClient, platform: Platform) -> None:
    await engine_reports.record(platform, worker="worker-1", reports=[asr()])

    async def is_null() -> bool:
        return (await answer(client))["diarizer"] is None

    await eventually(is_null)


async def test_a_model_in_memory_is_told_from_one_on_disk(client: httpx.AsyncClient) -> None:
    await shown(client, "whisperx", available=True)
    found = (await answer(client))["engines"]["whisperx"]
    models = {model["name"]: model for model in found["models"]}
    assert (models["base"]["state"], models["base"]["loaded"], models["base"]["resident_bytes"]) == (
        "ready", True, 3 << 30,
    )  # fmt: skip
    assert (models["tiny"]["state"], models["tiny"]["loaded"], models["tiny"]["resident_bytes"]) == (
        "absent", False, None,
    )  # fmt: skip
    assert found["memory"] == [
        {"model": "base", "busy": False, "resident_bytes": 3 << 30, "unloads_at": "2026-11-20T12:00:00Z"}
    ]


async def test_of_an_engine_that_does_not_tell_its_memory_nothing_is_claimed(client: httpx.AsyncClient) -> None:
    await shown(client, "asr", available=True, memory=None)


async def test_the_calls_of_all_workers_are_added_up_and_a_servers_own_count_is_not(
    client: httpx.AsyncClient, platform: Platform
) -> None:
    busy = whisperx().model_copy(update={"load": 5})
    await engine_reports.record(platform, worker="worker-1", reports=[asr(load=2), busy])
    await engine_reports.record(platform, worker="worker-2", reports=[asr(load=1), busy])
    await shown(client, "asr", load=3)
    await shown(client, "whisperx", load=5)
    assert (await answer(client))["workers"] == 2


async def test_waiting_jobs_are_counted_by_the_engine_that_was_asked_for(
    client: httpx.AsyncClient, platform: Platform
) -> None:
    before = await answer(client)
    await make_job(platform, engine="asr")
    await make_job(platform, engine="auto")
    await shown(client, "asr", queued=before["engines"]["asr"]["queued"] + 1)
    assert (await answer(client))["queued_for_auto"] == before["queued_for_auto"] + 1


async def test_how_fast_an_engine_is_shows_once_a_job_has_ended(client: httpx.AsyncClient, platform: Platform) -> None:
    await shown(client, "whisperx", real_time_factor=None)
    attempt = await attempts.claim(platform, await make_job(platform), worker="worker-1")
    assert attempt is not None
    heard = Transcript(language="en", duration=8.0, engine="whisperx", engine_reason="a test asked for it")
    await attempts.complete(platform, attempt, heard, engine_seconds=2.0)
    await shown(client, "whisperx", real_time_factor=0.25)
    await shown(client, "asr", real_time_factor=None)


async def test_without_a_worker_no_engine_is_available_and_the_reason_says_so(
    client: httpx.AsyncClient, platform: Platform, life: AsyncExitStack
) -> None:
    await engine_reports.record(platform, worker="worker-1", reports=[asr(load=2), whisperx()])
    await shown(client, "asr", load=2)
    await life.aclose()
    await engine_reports.withdraw(platform, worker="worker-1")
    await shown(client, "whisperx", available=False, reason=engine_reports.NO_WORKER, memory=None)
    found = await answer(client)
    assert found["workers"] == 0
    assert found["engines"]["asr"]["load"] == 0, "what nobody sees is not claimed"
    assert found["engines"]["whisperx"]["available_models"] == SEED["whisperx"]["available_models"]


async def test_an_answer_that_has_not_changed_is_not_sent_again(client: httpx.AsyncClient, platform: Platform) -> None:
    await shown(client, "asr", available=True)
    tag = (await client.get("/engines")).headers["etag"]
    for known in (tag, f"W/{tag}", f'"another", {tag}', "*"):
        again = await client.get("/engines", headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert (await client.get("/engines", headers={"If-None-Match": '"another"'})).status_code == 200
    await engine_reports.record(platform, worker="worker-1", reports=[asr(available=False, reason="unreachable")])

    async def is_sent() -> bool:
        return (await client.get("/engines", headers={"If-None-Match": tag})).status_code == 200

    await eventually(is_sent)


async def test_a_process_that_breathes_is_no_change_and_one_that_grows_is(
    client: httpx.AsyncClient, platform: Platform
) -> None:
    size = 100 * MEMORY_STEP - 1000
    tags = []
    for resident_bytes, rounded in ((size, 100), (size - 4096, 100), (size + 2 * MEMORY_STEP, 102)):
        await engine_reports.record(platform, worker="worker-1", reports=[whisperx(resident_bytes=resident_bytes)])
        await asyncio.sleep(FRESH_SECONDS)  # until the answer before is forgotten, which nothing tells
        response = await client.get("/engines")
        assert response.json()["engines"]["whisperx"]["memory"][0]["resident_bytes"] == rounded * MEMORY_STEP
        tags.append(response.headers["etag"])
    assert tags[0] == tags[1] != tags[2]


async def test_many_who_ask_at_once_cost_one_look_at_the_database(
    client: httpx.AsyncClient, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    overview = engine_reports.overview

    async def counted(asked: Platform) -> engine_reports.Overview:
        nonlocal looks
        looks += 1
        return await overview(asked)

    monkeypatch.setattr("services.engine_reports.overview", counted)
    monkeypatch.setattr("api.engine_board.FRESH_SECONDS", 3600.0)
    answers = await asyncio.gather(*(client.get("/engines") for _ in range(50)))
    assert {response.status_code for response in answers} == {200}
    assert looks <= 1


async def test_a_client_that_leaves_takes_the_answer_from_nobody(platform: Platform) -> None:
    board = EngineBoard(platform)
    leaving, staying = asyncio.create_task(board.answer()), asyncio.create_task(board.answer())
    await asyncio.sleep(0)  # both have asked
    leaving.cancel()
    assert (await staying).body


async def test_whoever_comes_after_a_failure_gets_an_answer(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_: Platform) -> engine_reports.Overview:
        raise DatabaseUnavailable

    with monkeypatch.context() as without_database:
        without_database.setattr("services.engine_reports.overview", away)
        without_database.setattr("api.answers.Shared._is_old", lambda _, making: making.done())
        response = await client.get("/engines")
        assert (response.status_code, response.json()["error"]["code"]) == (503, "database_unavailable")
    assert (await client.get("/engines")).status_code == 200


def test_a_process_that_answers_has_loaded_no_engine(environ: dict[str, str]) -> None:
    program = """
import asyncio, json, sys
import httpx
from api.app import create_app
from config.load import load_settings

async def main():
    app = create_app(load_settings())
    async with app.router.lifespan_context(app):
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1")
        answer = await client.get("/engines")
    heavy = {"torch", "grpc", "riva", "faster_whisper", "ctranslate2", "pocketsphinx", "onnxruntime", "whisperx"}
    ours = {"engines", "media", "workers"}
    loaded = {name.split(".")[0] for name in sys.modules}
    print(json.dumps([answer.status_code, sorted(answer.json()["engines"]), sorted(loaded & (heavy | ours))]))

asyncio.run(main())
"""
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env={**os.environ, **environ}, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
    status, engines, loaded = json.loads(found.stdout.splitlines()[-1])
    assert (status, engines, loaded) == (200, ["asr", "whisperx"], [])
