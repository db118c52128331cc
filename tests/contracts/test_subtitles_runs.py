"""Seed 003 over HTTP: what a run may say, what comes of it, and what running again does."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest

from config.load import load_settings
from domain.transcript import Detected, Heard, Segment
from engines.contract import Hearing
from services.platform import Platform
from tests.api.conftest import JOBS, serving
from tests.contracts.conftest import SCRIPTED, SMALL
from tests.support.audio import tone
from tests.support.endpoints import run_sql
from tests.support.films import about, subtitles_of
from tests.support.jobs import row
from tests.support.scripted import ScriptedEngine
from tests.support.subtitles_client import SECONDS, STATUS, Work, jobs_there_are, refused, run, status, upload
from workers.studio import Studio


async def french(_: object, hearing: Hearing) -> AsyncIterator[Heard]:
    yield Detected(language="fr")
    yield Segment(start=0.1, end=hearing.audio_seconds - 0.1, text="Où est la bibliothèque ?")


FRENCH = ScriptedEngine(french, report=SCRIPTED)


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
