"""Seed 004 over HTTP: submit, read, cancel, look at the line; field by field as its clients know them."""

from collections.abc import Awaitable, Callable
from typing import Any, Literal
from uuid import UUID, uuid4

import httpx
import pytest

from api.model_wishes import settle
from config.load import load_settings
from domain.capabilities import EngineReport, ModelReport
from domain.errors import NoAudio
from domain.lifecycle import JobOptions, JobState
from services import attempts
from services.platform import Platform
from tests.api.conftest import JOBS, serving
from tests.contracts.conftest import SCRIPTED, SMALL
from tests.support.audio import tone
from tests.support.endpoints import run_sql
from tests.support.jobs import force, in_state, make_job
from tests.support.scripted import ScriptedEngine

SECOND = tone(1.0)
FILE = {"file": ("audio.wav", SECOND, "audio/wav")}

Work = Callable[..., Awaitable[None]]
Answer = dict[str, Any]

QUEUED = {"job_id", "status", "websocket_url", "estimated_processing_time", "queue_position"}
STATUS = {"job_id", "status", "progress", "message", "created_at", "started_at", "estimated_time_remaining"}
LATER = {"queue_position", "completed_at", "error", "code", "result"}


@pytest.fixture
async def nothing_queued(platform: Platform) -> None:
    """Neither the jobs of the tests before, nor what their engines took."""
    await force(platform, "UPDATE transcript_jobs SET state = 'cancelled' WHERE state IN ('queued', 'processing')")
    await run_sql(platform, "UPDATE transcripts SET engine_seconds = NULL")


async def submit(client: httpx.AsyncClient, recording: bytes = SECOND, /, **fields: str) -> Answer:
    response = await client.post("/transcribe-job", data=fields, files={"file": ("audio.wav", recording, "audio/wav")})
    assert response.status_code == 200, response.text
    answer: Answer = response.json()
    return answer


async def read(client: httpx.AsyncClient, job_id: object) -> Answer:
    response = await client.get(f"/job/{job_id}")
    assert response.status_code == 200, response.text
    answer: Answer = response.json()
    return answer


async def heard_by(platform: Platform, job_id: str, work: Work, *, engine: ScriptedEngine | None = None) -> Any:
    """What the engine was asked for."""
    engine = engine or ScriptedEngine(report=SCRIPTED)
    await work(job_id, engine)
    return engine.heard[0]


async def has_taken(platform: Platform, work: Work, job_id: str, *, seconds: float) -> None:
    """The job is done, and its engine was at it for so long."""
    await work(job_id)
    row = f"(SELECT transcript_id FROM transcript_jobs WHERE id = '{job_id}')"
    await run_sql(platform, f"UPDATE transcripts SET engine_seconds = {seconds} WHERE id = {row}")


# POST /transcribe-job


async def test_a_recording_is_queued_as_the_seeds_curl_sends_it(client: httpx.AsyncClient, url: str) -> None:
    fields = {"language": "auto", "model": "medium", "return_timestamps": "true"}
    response = await client.post("/transcribe-job", data=fields, files=FILE)
    answer = response.json()
    assert response.status_code == 200
    assert set(answer) == QUEUED
    assert answer["status"] == "queued"
    assert answer["websocket_url"] == f"{url.replace('http', 'ws')}/ws/transcription/{UUID(answer['job_id'])}"
    assert answer["queue_position"] >= 1


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        ({"Host": "localhost:9000"}, "ws://localhost:9000"),
        ({"Host": "localhost", "X-Forwarded-Proto": "https"}, "wss://localhost"),
        ({"Host": "localhost", "X-Forwarded-Proto": "http"}, "ws://localhost"),
    ],
)
async def test_the_websocket_url_is_at_the_address_that_was_asked(
    client: httpx.AsyncClient, headers: dict[str, str], address: str
) -> None:
    answer = (await client.post("/transcribe-job?from=here", files=FILE, headers=headers)).json()
    assert answer["websocket_url"] == f"{address}/ws/transcription/{answer['job_id']}"


@pytest.mark.parametrize(("said", "meant"), [("auto", None), ("AUTO", None), ("", None), ("es", "es")])
async def test_language_auto_leaves_it_to_the_engine(
    client: httpx.AsyncClient, platform: Platform, work: Work, said: str, meant: str | None
) -> None:
    job_id = (await submit(client, language=said))["job_id"]
    assert (await heard_by(platform, job_id, work)).language == meant


async def test_no_model_means_the_default_model(client: httpx.AsyncClient, platform: Platform, work: Work) -> None:
    job_id = (await submit(client))["job_id"]
    assert (await heard_by(platform, job_id, work)).model == "medium"
    assert (await read(client, job_id))["result"]["warnings"] == []


@pytest.mark.parametrize(
    "unmet", [{"DEFAULT_MODEL": "gigantic"}, {"DEFAULT_TRANSCRIPTION_ENGINE": "little"}], ids=["nobody's", "another's"]
)
async def test_a_default_model_that_is_not_offered_is_a_warning(
    platform: Platform, environ: dict[str, str], url: str, work: Work, unmet: dict[str, str]
) -> None:
    engine = ScriptedEngine(name="little", report=SMALL) if "ENGINE" in next(iter(unmet)) else None
    async with (
        serving(load_settings({**environ, **unmet})) as other,
        httpx.AsyncClient(base_url=other, timeout=30) as client,
    ):
        job_id = (await submit(client))["job_id"]
        assert (await heard_by(platform, job_id, work, engine=engine)).model is None
        result = (await read(client, job_id))["result"]
        native = (await client.get(f"{JOBS}/result/{job_id}")).json()
    assert [warning["code"] for warning in result["warnings"]] == ["default_model_not_offered"]
    assert native["warnings"] == result["warnings"]


async def test_a_model_that_is_written_is_met_by_an_engine_that_has_it(
    client: httpx.AsyncClient, platform: Platform, work: Work
) -> None:
    job_id = (await submit(client, model="small"))["job_id"]
    little = ScriptedEngine(name="little", report=SMALL)
    assert (await heard_by(platform, job_id, work, engine=little)).model == "small"


def offering(name: str, state: Literal["absent", "ready"], *, quality: int, available: bool = True) -> EngineReport:
    models = (ModelReport(name="medium", state=state),)
    return EngineReport(engine=name, available=available, quality=quality, models=models)


@pytest.mark.parametrize(
    ("reports", "default", "offline", "engine"),
    [
        ([offering("good", "absent", quality=9), offering("poor", "ready", quality=1)], "auto", False, "poor"),
        ([offering("good", "absent", quality=9), offering("poor", "absent", quality=1)], "auto", False, "good"),
        ([offering("good", "ready", quality=9), offering("poor", "absent", quality=1)], "poor", False, "poor"),
        ([offering("good", "absent", quality=9), offering("poor", "absent", quality=1)], "auto", True, None),
        ([offering("good", "ready", quality=9, available=False)], "auto", False, None),
    ],
    ids=["it is there", "it can be fetched", "the operator's", "nothing is fetched", "nobody is there"],
)
async def test_a_model_takes_the_engine_that_has_it(
    reports: list[EngineReport], default: str, offline: bool, engine: str | None
) -> None:
    known = {report.engine: report for report in reports}
    for said, wish in (("medium", None), (None, "medium")):
        options = settle(
            JobOptions(engine=default, model=said), known, wish=wish, setting="DEFAULT_MODEL", offline=offline
        )
        assert options.engine == (engine or default)
        assert options.model == ("medium" if engine or said else None)
        assert bool(options.warnings) == (engine is None and said is None)


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"model": "gigantic"}, "unknown_model", "model"),
        ({"language": "not a language"}, "invalid_request", "language"),
        ({"return_timestamps": "perhaps"}, "invalid_request", "return_timestamps"),
        ({"colour": "blue"}, "invalid_request", "colour"),
    ],
)
async def test_what_cannot_be_honoured_is_refused_with_a_code(
    client: httpx.AsyncClient, fields: dict[str, str], code: str, field: str
) -> None:
    response = await client.post("/transcribe-job", data=fields, files=FILE)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["field"]) == (422, code, field)


async def test_a_form_without_a_file_is_refused_with_a_code(client: httpx.AsyncClient) -> None:
    response = await client.post("/transcribe-job", files={"model": (None, "medium")})
    assert (response.status_code, response.json()["error"]["code"]) == (422, "missing_file")


@pytest.mark.parametrize(("said", "count"), [("true", 3), (None, 3), ("false", 0)])
async def test_return_timestamps_decides_whether_there_are_segments(
    client: httpx.AsyncClient, work: Work, said: str | None, count: int
) -> None:
    fields = {} if said is None else {"return_timestamps": said}
    job_id = (await submit(client, **fields))["job_id"]
    await work(job_id)
    result = (await read(client, job_id))["result"]
    assert (result["text"], len(result["segments"])) == ("one two three", count)
    assert all(segment["end"] > segment["start"] for segment in result["segments"])
    assert len((await client.get(f"{JOBS}/result/{job_id}")).json()["segments"]) == 3


async def test_without_a_basis_there_is_no_estimate(client: httpx.AsyncClient, nothing_queued: None) -> None:
    answer = await submit(client)
    assert answer["estimated_processing_time"] is None
    assert (await read(client, answer["job_id"]))["estimated_time_remaining"] is None


async def test_estimates_go_by_what_the_engines_last_jobs_took(
    client: httpx.AsyncClient, platform: Platform, work: Work, nothing_queued: None
) -> None:
    await has_taken(platform, work, (await submit(client, tone(2.0)))["job_id"], seconds=5.0)
    first, second = await submit(client, tone(4.0)), await submit(client, tone(2.0))
    assert first["estimated_processing_time"] == pytest.approx(10.0)
    assert second["estimated_processing_time"] == pytest.approx(5.0)
    # Nobody has decoded the first yet, so it counts as long as the last job was: 2 s of audio, or 5 s of work.
    assert (await read(client, second["job_id"]))["estimated_time_remaining"] == pytest.approx(5.0 + 5.0)


async def test_what_is_no_wav_has_no_estimate_before_it_is_decoded(
    client: httpx.AsyncClient, platform: Platform, work: Work, nothing_queued: None
) -> None:
    await has_taken(platform, work, (await submit(client))["job_id"], seconds=5.0)
    assert (await submit(client, b"ID3" + bytes(500)))["estimated_processing_time"] is None


async def test_the_position_falls_to_nought_as_jobs_are_taken(
    client: httpx.AsyncClient, work: Work, nothing_queued: None
) -> None:
    first, second = await submit(client), await submit(client)
    assert (first["queue_position"], second["queue_position"]) == (1, 2)
    await work(first["job_id"])
    assert (await read(client, first["job_id"]))["queue_position"] == 0
    assert (await read(client, second["job_id"]))["queue_position"] == 1


# GET and DELETE /job/{id}


async def test_a_job_reads_as_documented_in_each_state(client: httpx.AsyncClient, platform: Platform) -> None:
    for state in (JobState.PENDING, JobState.QUEUED, JobState.PROCESSING, JobState.FAILED, JobState.CANCELLED):
        job = await read(client, await in_state(platform, state))
        assert set(job) == STATUS | LATER
        assert (job["status"], job["result"]) == (state, None)
        assert 0.0 <= job["progress"] < 100.0
        assert job["message"]
        assert job["created_at"].endswith("Z")
        assert (job["started_at"] is None) == (state in (JobState.PENDING, JobState.QUEUED))
    completed = await read(client, await in_state(platform, JobState.COMPLETED))
    assert (completed["progress"], completed["message"]) == (100.0, "Transcripción completada")


async def test_a_completed_job_has_its_result(client: httpx.AsyncClient, work: Work) -> None:
    job_id = (await submit(client, language="es"))["job_id"]
    await work(job_id)
    job = await read(client, job_id)
    assert {"text", "language", "segments", "processing_time"} <= set(job["result"])
    assert (job["result"]["text"], job["result"]["language"]) == ("one two three", "es")
    assert job["result"]["processing_time"] > 0
    assert job["completed_at"] > job["started_at"]


async def test_a_failed_job_says_why(client: httpx.AsyncClient, platform: Platform) -> None:
    attempt = await attempts.claim(platform, await make_job(platform), worker="w")
    assert attempt is not None
    await attempts.fail(platform, attempt, NoAudio("there is no sound in it"), retryable=False)
    job = await read(client, attempt.job_id)
    assert (job["status"], job["error"], job["code"]) == ("failed", "there is no sound in it", "media_no_audio")


async def test_progress_has_decimals_and_says_how_far_it_is(client: httpx.AsyncClient, platform: Platform) -> None:
    job_id = await in_state(platform, JobState.PROCESSING)
    await run_sql(platform, f"UPDATE transcript_jobs SET audio_seconds = 60, audio_done = 27.3 WHERE id = '{job_id}'")
    job = await read(client, job_id)
    assert (job["progress"], job["message"]) == (45.5, "Procesando 27/60 s de audio")


async def test_a_job_that_waits_is_cancelled_at_once_and_twice_is_as_once(client: httpx.AsyncClient) -> None:
    job_id = (await submit(client))["job_id"]
    for _ in range(2):
        response = await client.delete(f"/job/{job_id}")
        assert (response.status_code, response.json()["status"]) == (200, "cancelled")
    assert (await read(client, job_id))["status"] == "cancelled"


async def test_a_job_that_runs_is_told_to_end(client: httpx.AsyncClient, platform: Platform) -> None:
    job_id = await in_state(platform, JobState.PROCESSING)
    response = await client.delete(f"/job/{job_id}")
    assert (response.status_code, response.json()["status"]) == (200, "processing")
    wishes = await run_sql(platform, f"SELECT cancel_requested_at FROM transcript_jobs WHERE id = '{job_id}'")
    assert wishes[0][0] is not None


@pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.FAILED])
async def test_a_job_that_has_ended_is_not_cancelled(
    client: httpx.AsyncClient, platform: Platform, state: JobState
) -> None:
    response = await client.delete(f"/job/{await in_state(platform, state)}")
    assert (response.status_code, response.json()["error"]["code"]) == (409, f"already_{state}")


async def test_an_unknown_job_is_not_found(client: httpx.AsyncClient, platform: Platform) -> None:
    anothers = await make_job(platform)
    await force(platform, f"UPDATE transcript_jobs SET owner = 'somebody else' WHERE id = '{anothers}'")
    for job_id in (uuid4(), anothers):
        for response in (await client.get(f"/job/{job_id}"), await client.delete(f"/job/{job_id}")):
            assert (response.status_code, response.json()["error"]["code"]) == (404, "job_not_found")


async def test_jobs_of_both_apis_are_the_same_jobs(client: httpx.AsyncClient, work: Work) -> None:
    native = await client.post(f"{JOBS}/transcribe", data={"engine": "scripted"}, files=FILE)
    ours, theirs = (await submit(client))["job_id"], native.json()["job_id"]
    for job_id in (ours, theirs):
        await work(job_id)
    assert (await client.get(f"{JOBS}/result/{ours}")).json()["text"] == "one two three"
    assert (await read(client, theirs))["result"]["text"] == "one two three"


# GET /queue/info


async def test_the_queue_reads_as_documented(client: httpx.AsyncClient, platform: Platform, work: Work) -> None:
    before = (await client.get("/queue/info")).json()
    assert set(before) == {"queue", "websockets"}
    assert set(before["queue"]) == {"queue_size", "active_jobs", "total_jobs", "max_concurrent_jobs", "is_running"}
    assert set(before["websockets"]) == {"total_connections", "jobs_with_connections", "active_jobs"}
    await submit(client)
    await in_state(platform, JobState.PROCESSING)
    await in_state(platform, JobState.COMPLETED)
    await in_state(platform, JobState.PURGED)
    after = (await client.get("/queue/info")).json()["queue"]
    grown = {name: after[name] - before["queue"][name] for name in ("queue_size", "active_jobs", "total_jobs")}
    assert grown == {"queue_size": 1, "active_jobs": 1, "total_jobs": 3}
    assert (after["max_concurrent_jobs"], after["is_running"]) == (3, True)  # one worker, MAX_CONCURRENT_JOBS=3


# Around them


def test_the_settings_have_the_seeds_names_and_defaults(environ: dict[str, str]) -> None:
    defaults = load_settings(environ)
    said = {
        "DEFAULT_MODEL": "small",
        "MAX_CONCURRENT_JOBS": "1",
        "WEBSOCKET_PING_INTERVAL": "10",
        "WEBSOCKET_TIMEOUT": "60",
    }
    for found, expected in (
        (defaults, ("medium", 3, 30.0, 300.0)),
        (load_settings({**environ, **said}), ("small", 1, 10.0, 60.0)),
    ):
        sockets, workers = found.sockets, found.workers
        read = sockets.default_model, workers.max_concurrent_jobs
        assert (*read, sockets.ping_interval_seconds, sockets.timeout_seconds) == expected


async def test_health_answers_at_the_seeds_address(client: httpx.AsyncClient) -> None:
    assert (await client.get("/health")).status_code == 200
