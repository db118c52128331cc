"""Seed 003 over HTTP: upload, run, status, result, preview and what administrators see, field by field."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text

from api.dialects.subtitles_views import MOST_CHARACTERS, MOST_CUES, OF_VIDEO, STATES
from config.load import load_settings
from config.settings import Settings
from domain.lifecycle import JobState
from domain.transcript import Detected, Heard, Segment
from domain.videos import VideoState
from engines.contract import Hearing
from services import attempts, uploads
from services.platform import Platform
from tests.api.conftest import JOBS, serving
from tests.contracts.conftest import SCRIPTED, SMALL
from tests.support.audio import tone
from tests.support.cells import Unused
from tests.support.endpoints import run_sql
from tests.support.films import about, film, subtitles_of
from tests.support.jobs import aged, in_state, make_job, row
from tests.support.scripted import ScriptedEngine, registry_of
from workers.attendance import Attendance
from workers.studio import Studio

SECONDS = 2.0
FILM = film(seconds=SECONDS)

Work = Callable[..., Awaitable[None]]
Answer = dict[str, Any]

STATUS = {
    "job_id", "status", "progress", "output_type", "model", "engine", "message", "duration_seconds", "audio_seconds",
    "error", "code", "transcribed_by", "created_at", "started_at", "completed_at",
}  # fmt: skip


async def upload(client: httpx.AsyncClient, content: bytes = FILM, name: str = "input.mp4") -> str:
    response = await client.post("/upload", files={"file": (name, content, "video/mp4")})
    assert response.status_code == 200, response.text
    return str(response.json()["job_id"])


async def run(client: httpx.AsyncClient, job_id: str, output_type: str, **said: str) -> Answer:
    response = await client.post(f"/jobs/{job_id}/run", json={"output_type": output_type, **said})
    assert response.status_code == 200, response.text
    answer: Answer = response.json()
    return answer


async def status(client: httpx.AsyncClient, job_id: object) -> Answer:
    response = await client.get(f"/jobs/{job_id}/status")
    assert response.status_code == 200, response.text
    answer: Answer = response.json()
    return answer


async def refused(client: httpx.AsyncClient, job_id: str, **body: object) -> tuple[int, str]:
    response = await client.post(f"/jobs/{job_id}/run", json=body)
    return response.status_code, response.json()["error"]["code"]


async def jobs_there_are(client: httpx.AsyncClient) -> int:
    return len((await client.get(JOBS, params={"limit": 200})).json()["jobs"])


async def french(_: object, hearing: Hearing) -> AsyncIterator[Heard]:
    yield Detected(language="fr")
    yield Segment(start=0.1, end=hearing.audio_seconds - 0.1, text="Où est la bibliothèque ?")


FRENCH = ScriptedEngine(french, report=SCRIPTED)


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


# Run, for each of the outputs


async def test_a_run_for_text(client: httpx.AsyncClient, work: Work) -> None:
    job_id = await upload(client)
    answer = await run(client, job_id, "text")
    assert set(answer) == STATUS
    assert (answer["job_id"], answer["status"], answer["output_type"]) == (job_id, "queued", "text")
    await work(job_id)
    seen = await status(client, job_id)
    assert (seen["status"], seen["progress"], seen["error"], seen["code"]) == ("completed", 100.0, None, None)
    assert (seen["engine"], seen["audio_seconds"]) == ("scripted", pytest.approx(SECONDS, abs=0.2))
    assert seen["duration_seconds"] > 0
    result = await client.get(f"/jobs/{job_id}/result")
    assert result.headers["content-type"].startswith("text/plain")
    assert result.headers["content-disposition"] == "attachment; filename*=UTF-8''input.txt"
    assert result.text == "one\ntwo\nthree\n"


@pytest.mark.parametrize(
    ("said", "kind", "begins"),
    [
        ({}, "application/x-subrip", "1\n00:00:0"),
        ({"format": "srt"}, "application/x-subrip", "1\n00:00:0"),
        ({"format": "vtt"}, "text/vtt", "WEBVTT\n\n00:00:0"),
        ({"format": "ass", "profile": "broadcast"}, "text/x-ssa", "[Script Info]"),
    ],
    ids=["srt by default", "srt", "vtt", "ass"],
)
async def test_a_run_for_subtitles(
    client: httpx.AsyncClient, work: Work, said: dict[str, str], kind: str, begins: str
) -> None:
    job_id = await upload(client)
    assert (await run(client, job_id, "subtitle", **said))["output_type"] == "subtitle"
    await work(job_id)
    result = await client.get(f"/jobs/{job_id}/result")
    assert result.headers["content-type"].startswith(kind)
    assert result.headers["content-disposition"].startswith("attachment; filename*=UTF-8''input.")
    assert result.text.startswith(begins)
    assert "three" in result.text


async def test_a_run_for_a_video(client: httpx.AsyncClient, platform: Platform, work: Work, tmp_path: Path) -> None:
    job_id = await upload(client)
    await run(client, job_id, "video", mode="track")
    await work(job_id, FRENCH)
    half = await status(client, job_id)
    assert (half["status"], half["progress"], half["duration_seconds"]) == ("processing", 50.0, None)
    early = await client.get(f"/jobs/{job_id}/result")
    assert (early.status_code, early.json()["error"]["code"]) == (409, "video_not_ready")
    await Studio(platform, worker="w").work()
    seen = await status(client, job_id)
    assert (seen["status"], seen["progress"], seen["output_type"]) == ("completed", 100.0, "video")
    native = (await client.get(f"{JOBS}/status/{job_id}")).json()
    assert seen["completed_at"] > native["completed_at"]
    result = await client.get(f"/jobs/{job_id}/result")
    assert result.headers["content-type"] == "video/mp4"
    assert result.headers["content-disposition"] == "attachment; filename*=UTF-8''input.mp4"
    assert "Où est la bibliothèque ?" in subtitles_of(result.content, tmp_path)
    part = await client.get(f"/jobs/{job_id}/result", headers={"Range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, b"ftyp")


async def test_a_recording_without_pictures_gets_a_video_all_the_same(
    client: httpx.AsyncClient, platform: Platform, work: Work, tmp_path: Path
) -> None:
    job_id = await upload(client, tone(1.0), "lecture.wav")
    await run(client, job_id, "video", mode="track")
    await work(job_id)
    await Studio(platform, worker="w").work()
    assert "1280x720" in about((await client.get(f"/jobs/{job_id}/result")).content, tmp_path)


async def test_a_video_that_cannot_be_made_says_why(client: httpx.AsyncClient, platform: Platform, work: Work) -> None:
    job_id = await upload(client)
    await run(client, job_id, "video")
    await work(job_id)
    error = """'{"code": "media_unreadable", "message": "the recording is damaged"}'"""
    await run_sql(platform, f"UPDATE videos SET state = 'failed', error_details = {error} WHERE job_id = '{job_id}'")
    seen = await status(client, job_id)
    assert (seen["status"], seen["code"], seen["error"]) == ("failed", "media_unreadable", "the recording is damaged")
    result = await client.get(f"/jobs/{job_id}/result")
    assert (result.status_code, result.json()["error"]["code"]) == (409, "video_failed")


# What a run may say


async def test_a_run_has_to_say_what_is_to_come_out(client: httpx.AsyncClient) -> None:
    job_id = await upload(client)
    assert await refused(client, job_id) == (422, "invalid_request")
    assert await refused(client, job_id, output_type="poem") == (422, "invalid_request")
    assert (await status(client, job_id))["status"] == "uploaded"


@pytest.mark.parametrize(
    "said",
    [
        {"output_type": "text", "format": "srt"},
        {"output_type": "text", "profile": "default"},
        {"output_type": "subtitle", "mode": "track"},
        {"output_type": "video", "format": "srt"},
        {"output_type": "subtitle", "profile": "no such"},
        {"output_type": "subtitle", "speed": "fast"},
    ],
    ids=str,
)
async def test_what_would_change_nothing_is_refused(client: httpx.AsyncClient, said: dict[str, str]) -> None:
    assert await refused(client, await upload(client), **said) == (422, "invalid_request")


@pytest.mark.parametrize(
    ("said", "engine", "model"),
    [
        ({"model_name": "medium"}, "scripted", "medium"),
        ({"model_name": "small"}, "little", "small"),
        ({"model_name": "scripted"}, "scripted", None),
        ({"model_name": "little-small"}, "little", "small"),
        ({"engine": "scripted", "model_name": "base"}, "scripted", "base"),
        ({"engine": "little"}, "little", None),
        ({}, "auto", None),
    ],
    ids=str,
)
async def test_a_model_is_found_by_its_name_its_engine_s_or_both(
    client: httpx.AsyncClient, platform: Platform, said: dict[str, str], engine: str, model: str | None
) -> None:
    job_id = await upload(client)
    await run(client, job_id, "text", **said)
    options = (await row(platform, UUID(job_id)))["engine_params"]
    assert (options["engine"], options.get("model")) == (engine, model)  # type: ignore[index, attr-defined]


async def test_a_model_that_nobody_offers_is_refused_and_the_recording_waits_on(client: httpx.AsyncClient) -> None:
    job_id = await upload(client)
    assert await refused(client, job_id, output_type="text", model_name="gigantic") == (422, "unknown_model")
    assert await refused(client, job_id, output_type="text", engine="nobody") == (422, "unknown_engine")
    assert (await status(client, job_id))["status"] == "uploaded"


@pytest.mark.parametrize(
    ("setting", "engine", "model", "warned"),
    [
        ("medium", "scripted", "medium", False),
        ("little", "little", None, False),
        ("little-small", "little", "small", False),
        ("gigantic", "auto", None, True),
    ],
)
async def test_transcription_model_is_wished_for_where_none_is_named(
    platform: Platform, environ: dict[str, str], url: str, setting: str, engine: str, model: str | None, warned: bool
) -> None:
    async with (
        serving(load_settings({**environ, "TRANSCRIPTION_MODEL": setting})) as other,
        httpx.AsyncClient(base_url=other, timeout=30) as client,
    ):
        job_id, named = await upload(client), await upload(client)
        await run(client, job_id, "text")
        await run(client, named, "text", model_name="base")
    options = (await row(platform, UUID(job_id)))["engine_params"]
    assert (options["engine"], options.get("model")) == (engine, model)  # type: ignore[index, attr-defined]
    codes = [notice["code"] for notice in options.get("warnings", [])]  # type: ignore[attr-defined]
    assert codes == (["default_model_not_offered"] if warned else [])
    assert (await row(platform, UUID(named)))["engine_params"]["model"] == "base"  # type: ignore[index]


@pytest.mark.parametrize(("said", "meant"), [("auto", None), ("fr", "fr")])
async def test_a_language_may_be_said(
    client: httpx.AsyncClient, platform: Platform, said: str, meant: str | None
) -> None:
    job_id = await upload(client)
    await run(client, job_id, "text", language=said)
    assert (await row(platform, UUID(job_id)))["engine_params"].get("language") == meant  # type: ignore[attr-defined]


# Running again


async def test_another_output_of_the_same_model_is_not_heard_again(client: httpx.AsyncClient, work: Work) -> None:
    job_id = await upload(client)
    await run(client, job_id, "text", model_name="base")
    await work(job_id)
    before = await jobs_there_are(client)
    again = await run(client, job_id, "subtitle", model_name="base", format="vtt")
    assert (again["status"], again["output_type"], again["transcribed_by"]) == ("completed", "subtitle", job_id)
    assert (await client.get(f"/jobs/{job_id}/result")).text.startswith("WEBVTT")
    unsaid = await run(client, job_id, "text")
    assert (unsaid["status"], unsaid["transcribed_by"]) == ("completed", job_id)
    assert await jobs_there_are(client) == before


async def test_another_model_hears_a_copy_and_the_id_shows_the_last_run(
    client: httpx.AsyncClient, platform: Platform, work: Work
) -> None:
    job_id = await upload(client)
    await run(client, job_id, "text", model_name="base")
    await work(job_id)
    again = await run(client, job_id, "text", model_name="small")
    other = again["transcribed_by"]
    assert (again["job_id"], again["status"]) == (job_id, "queued")
    assert other != job_id
    early = await client.get(f"/jobs/{job_id}/result")
    assert early.json()["error"]["code"] == "result_not_ready"
    native = (await client.get(f"{JOBS}/status/{other}")).json()
    assert (native["parent_job_id"], native["filename"]) == (job_id, "input.mp4")
    await work(other, ScriptedEngine(french, name="little", report=SMALL))
    assert (await client.get(f"/jobs/{job_id}/result")).text == "Où est la bibliothèque ?\n"
    back = await run(client, job_id, "text", model_name="base")
    assert (back["status"], back["transcribed_by"]) == ("completed", job_id)
    assert (await run(client, job_id, "text", model_name="small"))["transcribed_by"] == other
    await client.delete(f"{JOBS}/{other}")
    assert (await status(client, job_id))["transcribed_by"] == job_id


async def test_a_run_that_is_sent_again_is_answered_as_the_first_though_its_job_has_failed_since(
    client: httpx.AsyncClient, platform: Platform
) -> None:
    job_id, key = await upload(client), {"Idempotency-Key": str(uuid4())}
    answers = []
    for _ in range(2):
        answers.append(await client.post(f"/jobs/{job_id}/run", json={"output_type": "text"}, headers=key))
        await run_sql(
            platform,
            "UPDATE transcript_jobs SET state = 'failed', completed_at = now() "
            f"WHERE id = '{job_id}' AND state = 'queued'",
        )
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[1].json()["transcribed_by"] == answers[0].json()["transcribed_by"]


async def test_a_run_that_failed_can_be_run_again(client: httpx.AsyncClient, platform: Platform) -> None:
    job_id = await upload(client, b"this is text", "a.txt")
    await run(client, job_id, "text")
    await run_sql(
        platform,
        "UPDATE transcript_jobs SET state = 'failed', completed_at = now(), "
        f"""error_details = '{{"code": "media_unsupported", "message": "no recording"}}' WHERE id = '{job_id}'""",
    )
    failed = await status(client, job_id)
    assert (failed["status"], failed["code"], failed["error"]) == ("failed", "media_unsupported", "no recording")
    again = await run(client, job_id, "text")
    assert again["status"] == "queued"
    assert again["transcribed_by"] != job_id


async def test_a_run_that_is_sent_twice_at_once_hears_once(client: httpx.AsyncClient) -> None:
    job_id = await upload(client)
    before = await jobs_there_are(client)
    bodies = [client.post(f"/jobs/{job_id}/run", json={"output_type": "text"}) for _ in range(4)]
    assert {response.status_code for response in await asyncio.gather(*bodies)} == {200}
    assert await jobs_there_are(client) == before


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
