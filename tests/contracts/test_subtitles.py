"""Seed 003 over HTTP: upload, status, result, preview and what administrators see, field by field."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text

from api.dialects.subtitles_views import MOST_CHARACTERS, MOST_CUES, OF_VIDEO, STATES
from config.load import load_settings
from config.settings import Settings
from domain.lifecycle import JobState
from domain.transcript import Heard, Segment
from domain.videos import VideoState
from engines.contract import Hearing
from services import attempts, uploads
from services.platform import Platform
from tests.api.conftest import JOBS, serving
from tests.contracts.conftest import SCRIPTED
from tests.support.audio import tone
from tests.support.cells import Unused
from tests.support.jobs import aged, in_state, make_job, nobody_waits
from tests.support.scripted import ScriptedEngine, registry_of
from tests.support.subtitles_client import FILM, SECONDS, STATUS, Work, jobs_there_are, refused, run, status, upload
from workers.attendance import Attendance

# Upload


@pytest.mark.parametrize(("name", "content"), [("input.mp4", FILM), ("input.wav", tone(1.0))], ids=["mp4", "wav"])
async def test_a_recording_is_uploaded_and_waits(client: httpx.AsyncClient, name: str, content: bytes) -> None:
    response = await client.post("/upload", files={"file": (name, content)})
    answer = response.json()
    assert response.status_code == 200
    assert answer == {"job_id": answer["job_id"], "status": "uploaded", "size_bytes": len(content)}
    assert UUID(answer["job_id"])
    seen = await status(client, answer["job_id"])
    assert (seen["status"], seen["output_type"], seen["progress"]) == ("uploaded", None, 0)


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"data": {"x": "y"}, "files": {"other": ("a.wav", b"x")}}, "invalid_request"),
        ({"files": {"file": ("a.wav", b"")}}, "media_empty"),
        ({"data": {"output_type": "text"}, "files": {"file": ("a.wav", b"RIFF")}}, "invalid_request"),
        ({"content": b"RIFF"}, "malformed_upload"),
    ],
    ids=["another field", "empty", "more than a file", "no form"],
)
async def test_what_is_no_upload_is_refused_with_a_code(
    client: httpx.AsyncClient, form: dict[str, Any], code: str
) -> None:
    before = await jobs_there_are(client)
    response = await client.post("/upload", **form)
    assert response.status_code in (400, 422)
    assert response.json()["error"]["code"] == code
    assert await jobs_there_are(client) == before


async def test_an_upload_over_the_limit_is_refused(platform: Platform, environ: dict[str, str], url: str) -> None:
    async with (
        serving(load_settings({**environ, "MAX_FILE_SIZE": "1000"})) as other,
        httpx.AsyncClient(base_url=other, timeout=30) as client,
    ):
        response = await client.post("/upload", files={"file": ("a.wav", b"x" * 1001)})
    assert (response.status_code, response.json()["error"]["code"]) == (413, "file_too_large")


async def test_an_upload_that_is_sent_again_is_one_upload(client: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    answers = [await client.post("/upload", files={"file": ("a.mp4", FILM)}, headers=key) for _ in range(2)]
    assert answers[0].json() == answers[1].json()


# States, and what there is to read in each


def test_every_state_has_its_word() -> None:
    assert set(STATES) == set(JobState) - {JobState.PURGED}
    assert set(OF_VIDEO) == set(VideoState)


@pytest.mark.parametrize(
    ("state", "word", "code"),
    [
        (JobState.PENDING, "uploaded", "not_run"),
        (JobState.QUEUED, "queued", "result_not_ready"),
        (JobState.PROCESSING, "processing", "result_not_ready"),
        (JobState.FAILED, "failed", "job_has_no_result"),
        (JobState.CANCELLED, "cancelled", "job_has_no_result"),
        (JobState.EXPIRED, "expired", "job_has_no_result"),
    ],
)
async def test_every_state_is_said_and_has_a_code_in_place_of_a_result(
    client: httpx.AsyncClient, platform: Platform, state: JobState, word: str, code: str
) -> None:
    job_id = await in_state(platform, state)
    seen = await status(client, job_id)
    assert (set(seen), seen["status"]) == (STATUS, word)
    for path in ("result", "preview"):
        response = await client.get(f"/jobs/{job_id}/{path}")
        assert (response.status_code, response.json()["error"]["code"]) == (409, code)


async def test_what_nobody_runs_expires_and_says_so(client: httpx.AsyncClient, platform: Platform) -> None:
    job_id = await upload(client)
    await aged(platform, UUID(job_id), "25 hours")
    await uploads.expire(platform)
    seen = await status(client, job_id)
    assert (seen["status"], seen["code"]) == ("expired", "upload_expired")


async def test_any_job_of_the_platform_can_be_read_here_and_these_jobs_elsewhere(
    client: httpx.AsyncClient, platform: Platform, work: Work
) -> None:
    native = str(await make_job(platform, content=FILM))
    await work(native)
    seen = await status(client, native)
    assert (seen["status"], seen["output_type"]) == ("completed", None)
    assert (await client.get(f"/jobs/{native}/result")).text == "one\ntwo\nthree\n"
    assert (await run(client, native, "subtitle"))["status"] == "completed"
    ours = await upload(client)
    assert (await client.get(f"{JOBS}/status/{ours}")).json()["status"] == "pending"
    assert (await client.get(f"/job/{ours}")).json()["message"] == "Job creado, no procesado"
    await run(client, ours, "text")
    await work(ours)
    assert (await client.get(f"{JOBS}/result/{ours}")).json()["text"] == "one two three"


async def test_a_job_that_is_not_there_is_not_found(client: httpx.AsyncClient) -> None:
    for path in ("status", "result", "preview"):
        response = await client.get(f"/jobs/{uuid4()}/{path}")
        assert (response.status_code, response.json()["error"]["code"]) == (404, "job_not_found")
    assert await refused(client, str(uuid4()), output_type="text") == (404, "job_not_found")


async def test_an_upload_that_is_erased_leaves_nothing_of_its_runs(
    client: httpx.AsyncClient, platform: Platform
) -> None:
    job_id = await upload(client)
    await run(client, job_id, "video")
    await client.delete(f"{JOBS}/{job_id}")
    assert (await client.get(f"/jobs/{job_id}/status")).status_code == 404
    async with platform.sessions.begin() as session:
        for table in ("runs", "videos"):
            left = text(f"SELECT count(*) FROM {table} WHERE job_id = '{job_id}'")
            assert await session.scalar(left) == 0


async def test_a_preview_is_the_beginning(client: httpx.AsyncClient, work: Work) -> None:
    async def long(_: object, hearing: Hearing) -> AsyncIterator[Heard]:
        for n in range(100):
            part = hearing.audio_seconds / 100
            yield Segment(start=n * part, end=(n + 1) * part, text=f"sentence number {n}.")

    job_id = await upload(client)
    await run(client, job_id, "subtitle")
    await work(job_id, ScriptedEngine(long, report=SCRIPTED))
    preview = (await client.get(f"/jobs/{job_id}/preview")).json()
    assert set(preview) == {"job_id", "output_type", "language", "text", "cues", "more"}
    assert preview["text"].startswith("sentence number 0. sentence number 1.")
    assert (len(preview["text"]), len(preview["cues"]), preview["more"]) == (MOST_CHARACTERS, MOST_CUES, True)
    assert set(preview["cues"][0]) == {"start", "end", "text"}


# Ten at once, and who runs the platform


@pytest.fixture
def ten_at_once(settings: Settings) -> Settings:
    workers = settings.workers.model_copy(update={"max_concurrent_jobs": 5})
    return settings.model_copy(update={"workers": workers})


async def test_ten_users_are_heard_at_the_same_time(
    client: httpx.AsyncClient, platform: Platform, ten_at_once: Settings
) -> None:
    """Two workers with MAX_CONCURRENT_JOBS=5: nobody's engine says a word before all ten are being heard."""
    together = asyncio.Barrier(10)
    await nobody_waits(platform)  # of other tests: it would go first

    async def at_once(_: object, hearing: Hearing) -> AsyncIterator[Heard]:
        await together.wait()
        yield Segment(start=0, end=hearing.audio_seconds, text="together")

    job_ids = await asyncio.gather(*(upload(client, tone(1.0), f"{n}.wav") for n in range(10)))
    await asyncio.gather(*(run(client, job_id, "text") for job_id in job_ids))
    here = platform.__class__(ten_at_once, platform.sessions, platform.store, platform.queue, platform.events)
    engine = ScriptedEngine(at_once, report=SCRIPTED)
    workers = [Attendance(here, registry_of(engine), Unused(), worker=name) for name in ("left", "right")]
    async with asyncio.timeout(120):
        await asyncio.gather(*(workers[n % 2].attend(UUID(job_id)) for n, job_id in enumerate(job_ids)))
    assert {(await client.get(f"/jobs/{job_id}/result")).text for job_id in job_ids} == {"together\n"}


async def test_administrators_see_what_everybody_s_jobs_are_and_took(
    client: httpx.AsyncClient, platform: Platform, work: Work
) -> None:
    before = (await client.get("/admin/metrics")).json()
    waits, job_id = await upload(client), await upload(client)
    await run(client, job_id, "text")
    await work(job_id)
    await in_state(platform, JobState.FAILED)
    found = (await client.get("/admin/metrics")).json()
    assert waits
    grown = {state: count - before["jobs"].get(state, 0) for state, count in found["jobs"].items()}
    assert {state: count for state, count in grown.items() if count} == {"pending": 1, "completed": 1, "failed": 1}
    (line,) = [line for line in found["durations"] if line["engine"] == "scripted"]
    assert set(line) == {"engine", "jobs", "audio_seconds", "duration_seconds", "ratio"}
    assert line["ratio"] == pytest.approx(line["duration_seconds"] / line["audio_seconds"], rel=0.05)
    assert found["errors"]["media_no_audio"] == before["errors"].get("media_no_audio", 0) + 1
    (used,) = [line for line in found["usage"] if line["engine"] == "scripted"]
    assert used["jobs"] >= 1
    assert found["owners"] >= 1
    assert found["at_once"] == found["workers"] * platform.settings.workers.max_concurrent_jobs


async def test_where_nobody_is_asked_who_they_are_nobody_is_an_administrator(environ: dict[str, str], url: str) -> None:
    async with (
        serving(load_settings({**environ, "INSECURE_NO_AUTH": "1"})) as other,
        httpx.AsyncClient(base_url=other, timeout=30) as client,
    ):
        response = await client.get("/admin/metrics")
    assert (response.status_code, response.json()["error"]["code"]) == (403, "missing_scope")


async def test_the_work_of_a_job_in_hand_shows(client: httpx.AsyncClient, platform: Platform) -> None:
    job_id = await upload(client)
    await run(client, job_id, "text")
    attempt = await attempts.claim(platform, UUID(job_id), worker="w")
    assert attempt is not None
    await attempts.note_decoded(platform, attempt, seconds=SECONDS, content_type="video/mp4")
    await attempts.note_progress(platform, attempt, stage="transcribe", audio_done=SECONDS / 2, segments=())
    await platform.events.forget(UUID(job_id))  # the claim's, which says nothing of how far it is
    seen = await status(client, job_id)
    assert (seen["status"], seen["progress"], seen["audio_seconds"]) == ("processing", 50.0, SECONDS)
