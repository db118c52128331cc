"""Subtitles by rule, the report of what breaks them, and videos, over the native API."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from api import video_schemas
from domain.subtitles import to_ass, to_srt, to_vtt
from domain.transcript import Heard, Segment
from engines.contract import Hearing
from services.platform import Platform
from tests.api.conftest import JOBS
from tests.support.films import film, subtitles_of
from tests.support.scripted import ScriptedEngine
from workers.studio import Studio

SECONDS = 2.0
FILM = film(seconds=SECONDS)
LONG = "this is one sentence that has far more letters than anybody can read while it is on the screen"

Work = Callable[..., Awaitable[None]]


async def hasty(_: object, hearing: Hearing) -> AsyncIterator[Heard]:
    """Somebody who speaks faster than people read."""
    yield Segment(start=0.0, end=hearing.audio_seconds, text=LONG)


@pytest.fixture
async def job_id(client: httpx.AsyncClient, work: Work) -> str:
    """Of a film that has been heard."""
    files = {"file": ("film.mp4", FILM)}
    submitted = await client.post(f"{JOBS}/transcribe", files=files, data={"engine": "scripted"})
    found = str(submitted.json()["job_id"])
    await work(found, ScriptedEngine(hasty))
    return found


async def ask(client: httpx.AsyncClient, job_id: str, **body: str) -> dict[str, object]:
    response = await client.post(f"{JOBS}/{job_id}/videos", json=body)
    assert response.status_code == 202, response.text
    answer: dict[str, object] = response.json()
    return answer


@pytest.mark.parametrize("kind", ["srt", "vtt", "ass"])
@pytest.mark.parametrize("profile", ["default", "phone"])
async def test_subtitles_are_cut_by_the_profile(
    client: httpx.AsyncClient, job_id: str, kind: str, profile: str
) -> None:
    segments = [
        Segment.model_validate(each) for each in (await client.get(f"{JOBS}/result/{job_id}")).json()["segments"]
    ]
    answer = await client.get(f"{JOBS}/result/{job_id}", params={"format": kind, "profile": profile})
    write = {"srt": to_srt, "vtt": to_vtt, "ass": to_ass}[kind]
    assert answer.text == write(segments, video_schemas.PROFILES[profile])
    kinds = {"srt": "application/x-subrip", "vtt": "text/vtt", "ass": "text/x-ssa"}
    assert answer.headers["content-type"].startswith(kinds[kind])


@pytest.mark.parametrize("params", [{"profile": "phone"}, {"format": "txt", "profile": "phone"}], ids=["json", "txt"])
async def test_a_profile_where_it_would_change_nothing_is_refused(
    client: httpx.AsyncClient, job_id: str, params: dict[str, str]
) -> None:
    answer = await client.get(f"{JOBS}/result/{job_id}", params=params)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "profile")


async def test_a_profile_that_there_is_not_is_refused_everywhere(client: httpx.AsyncClient, job_id: str) -> None:
    unknown = {"profile": "cinema"}
    answers = [
        await client.get(f"{JOBS}/result/{job_id}", params={"format": "srt", **unknown}),
        await client.get(f"{JOBS}/result/{job_id}/subtitles/report", params=unknown),
        await client.post(f"{JOBS}/{job_id}/videos", json=unknown),
    ]
    for answer in answers:
        assert answer.status_code == 422
        assert "default, broadcast, phone" in answer.json()["error"]["message"]


async def test_the_report_says_of_every_cue_which_rules_it_breaks(client: httpx.AsyncClient, job_id: str) -> None:
    path = f"{JOBS}/result/{job_id}/subtitles/report"
    report = (await client.get(path)).json()
    assert set(report) == {"job_id", "profile", "format", "cues", "clean", "breaches", "reports"}
    assert (report["profile"], report["format"], report["cues"]) == ("default", "srt", len(report["reports"]))
    counted: dict[str, int] = {}
    for cue in report["reports"]:
        for breach in cue["breaches"]:
            counted[breach["rule"]] = counted.get(breach["rule"], 0) + 1
    assert report["breaches"] == counted
    assert counted["max_cps"] >= 1
    assert report["clean"] == sum(not cue["breaches"] for cue in report["reports"])
    phone = (await client.get(path, params={"profile": "phone", "format": "ass"})).json()
    assert (
        max(cue["widest_line"] for cue in phone["reports"]) <= 26 < max(cue["widest_line"] for cue in report["reports"])
    )


async def test_a_video_from_the_asking_to_the_last_byte(
    client: httpx.AsyncClient, platform: Platform, job_id: str, tmp_path: Path
) -> None:
    asked = await ask(client, job_id, mode="track")
    assert (asked["status"], asked["progress"], asked["file"], asked["profile"]) == ("queued", 0, None, "default")
    video = f"{JOBS}/{job_id}/videos/{asked['video_id']}"
    early = await client.get(f"{video}/file")
    assert (early.status_code, early.json()["error"]["code"]) == (409, "video_not_ready")
    await Studio(platform, worker="w").work()
    made = (await client.get(video)).json()
    assert (made["status"], made["progress"], made["file"], made["error"]) == ("completed", 100, f"{video}/file", None)
    assert (made["width"], made["height"]) == (320, 180)
    whole = await client.get(made["file"])
    assert (whole.status_code, whole.headers["content-type"]) == (200, "video/mp4")
    assert len(whole.content) == made["size_bytes"]
    assert "one sentence" in subtitles_of(whole.content, tmp_path)
    part = await client.get(made["file"], headers={"Range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, b"ftyp")


async def test_a_view_has_the_fields_of_its_example(client: httpx.AsyncClient, job_id: str) -> None:
    (example,) = video_schemas.VideoView.model_config["json_schema_extra"]["examples"]  # type: ignore[index, call-overload]
    assert set(await ask(client, job_id)) == set(example)


async def test_a_video_that_is_asked_for_twice_is_one(client: httpx.AsyncClient, job_id: str) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    answers = [await client.post(f"{JOBS}/{job_id}/videos", json={"mode": "track"}, headers=key) for _ in range(2)]
    assert answers[0].json()["video_id"] == answers[1].json()["video_id"]
    other = await client.post(f"{JOBS}/{job_id}/videos", json={"mode": "burned"}, headers=key)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")


async def test_a_look_that_there_is_not_is_refused(client: httpx.AsyncClient, job_id: str) -> None:
    for body in ({"mode": "hologram"}, {"colour": "red"}):
        answer = await client.post(f"{JOBS}/{job_id}/videos", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_request")


async def test_a_video_that_is_not_there_is_not_found(client: httpx.AsyncClient, job_id: str) -> None:
    for path in ("", "/file"):
        answer = await client.get(f"{JOBS}/{job_id}/videos/{uuid4()}{path}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "video_not_found")
