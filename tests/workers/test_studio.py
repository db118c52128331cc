"""Videos as tasks of their own: asked for, made, taken over from the dead, gone with their recording."""

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from config.load import load_settings
from config.settings import Settings
from db.video_tables import Video
from domain.access import Caller
from domain.errors import AudioDeleted, JobHasNoResult, JobNotFound, NoAudio, StorageUnavailable
from domain.lifecycle import MAX_CRASHES, JobState
from domain.recording_errors import TooManyVideos, VideoDeleted, VideoFailed, VideoNotFound, VideoNotReady
from domain.transcript import Segment
from domain.videos import Rendered, VideoMode, VideoState
from services import attempts, ending, once, retention, upkeep, videos
from services.platform import Platform
from services.upkeep import Pulse
from services.videos import Rendering
from storage import layout
from tests.conftest import ROOT
from tests.support.endpoints import run_sql
from tests.support.films import about, film, subtitles_of
from tests.support.jobs import ME, NOBODY_HEARD, body, in_state, make_job, waiting
from tests.support.waiting import eventually
from workers.studio import Studio

SECONDS = 2.0
FILM = film(seconds=SECONDS)
HEARD = NOBODY_HEARD.model_copy(
    update={"duration": SECONDS, "segments": (Segment(start=0.2, end=1.8, text="Déjà vu"),), "language": "fr"}
)


@pytest.fixture(scope="module")
def environ(environ: dict[str, str]) -> dict[str, str]:
    return {**environ, "JOB_LEASE_SEC": "1"}


@pytest.fixture(scope="module")
def settings(environ: dict[str, str]) -> Settings:
    return load_settings(environ)


@pytest.fixture(autouse=True)
async def none_left(platform: Platform) -> None:
    """No video waits of the tests before."""
    await run_sql(platform, "DELETE FROM videos")


@pytest.fixture
def studio(platform: Platform) -> Studio:
    return Studio(platform, worker="worker")


async def heard(platform: Platform, content: bytes = FILM, *, owner: Caller = ME) -> UUID:
    """A completed job."""
    job_id = await make_job(platform, content=content, owner=owner)
    await complete(platform, job_id)
    return job_id


async def complete(platform: Platform, job_id: UUID) -> None:
    attempt = await attempts.claim(platform, job_id, worker="w")
    assert attempt is not None
    assert await attempts.complete(platform, attempt, HEARD)


async def asked(platform: Platform, job_id: UUID, mode: VideoMode = "track", *, profile: str = "default") -> UUID:
    return (await videos.ask(platform, ME, job_id, profile=profile, mode=mode)).id


async def now(platform: Platform, job_id: UUID, video_id: UUID) -> Video:
    return await videos.find(platform, ME, job_id, video_id)


async def fetched(platform: Platform, job_id: UUID, video_id: UUID) -> bytes:
    found = await videos.file(platform, ME, job_id, video_id)
    async with platform.store.open(found.key) as chunks:
        return b"".join([chunk async for chunk in chunks])


async def taken_up(platform: Platform, worker: str = "w") -> Rendering:
    rendering = await videos.take_up(platform, worker=worker)
    assert rendering is not None
    return rendering


async def lose(platform: Platform) -> None:
    """Whoever holds a video has been silent for too long, as the sweeper sees it."""
    await run_sql(platform, "UPDATE videos SET lease_until = now() - interval '1 s' WHERE state = 'processing'")
    await videos.rescue(platform, Pulse())


async def objects(platform: Platform, job_id: UUID) -> list[str]:
    return [found.key async for found in platform.store.list(layout.videos_prefix(ME.owner, job_id))]


MADE = Rendered(SECONDS, 320, 180)


# Asking, and making


async def test_a_video_is_made_of_the_recording_and_what_was_heard(
    platform: Platform, studio: Studio, tmp_path: Path
) -> None:
    job_id = await heard(platform)
    video_id = await asked(platform, job_id)
    with pytest.raises(VideoNotReady):
        await videos.file(platform, ME, job_id, video_id)
    await studio.work()
    video = await now(platform, job_id, video_id)
    assert (video.state, video.progress, video.fence) == (VideoState.COMPLETED, 1.0, 1)
    made = await fetched(platform, job_id, video_id)
    assert video.size_bytes == len(made)
    assert "Déjà vu" in subtitles_of(made, tmp_path)
    assert "(fra): Subtitle" in about(made, tmp_path)


async def test_a_video_may_be_asked_for_before_the_job_has_ended(platform: Platform, studio: Studio) -> None:
    job_id = await make_job(platform, content=FILM)
    video_id = await asked(platform, job_id)
    await studio.work()
    assert (await now(platform, job_id, video_id)).state == VideoState.QUEUED
    await complete(platform, job_id)
    await studio.work()
    assert (await now(platform, job_id, video_id)).state == VideoState.COMPLETED


async def test_one_that_is_not_yet_made_is_not_made_twice(platform: Platform) -> None:
    job_id = await heard(platform)
    first = await asked(platform, job_id)
    assert await asked(platform, job_id) == first
    assert await asked(platform, job_id, "burned") != first
    assert await asked(platform, job_id, profile="phone") != first


async def test_a_request_that_is_sent_again_gets_the_first_answer(platform: Platform, studio: Studio) -> None:
    job_id, key = await heard(platform), once.Key.parse(str(uuid4()))
    first = await videos.ask(platform, ME, job_id, profile="default", mode="track", key=key)
    await studio.work()
    again = await videos.ask(platform, ME, job_id, profile="default", mode="track", key=key)
    assert again.id == first.id


async def test_a_job_has_only_so_many_videos(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(videos, "MOST_OF_A_JOB", 2)
    job_id = await heard(platform)
    for profile in ("default", "phone"):
        await asked(platform, job_id, profile=profile)
    with pytest.raises(TooManyVideos):
        await asked(platform, job_id, profile="broadcast")


async def test_what_can_have_no_video_is_refused(platform: Platform) -> None:
    for state in (JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED):
        with pytest.raises(JobHasNoResult):
            await asked(platform, await in_state(platform, state))
    job_id = await heard(platform)
    await run_sql(platform, f"UPDATE transcript_jobs SET source_key = NULL WHERE id = '{job_id}'")
    with pytest.raises(AudioDeleted):
        await asked(platform, job_id)


async def test_nobody_sees_or_asks_for_another_s(platform: Platform) -> None:
    job_id = await heard(platform)
    video_id, mallory = await asked(platform, job_id), Caller("mallory")
    for job in (job_id, await heard(platform, owner=mallory)):
        with pytest.raises(JobNotFound if job == job_id else VideoNotFound):
            await videos.find(platform, mallory, job, video_id)
    with pytest.raises(JobNotFound):
        await videos.ask(platform, mallory, job_id, profile="default", mode="track")


async def test_cues_are_cut_by_the_profile_that_was_asked_for(platform: Platform) -> None:
    job_id = await heard(platform)
    await asked(platform, job_id, profile="phone")
    rendering = await taken_up(platform)
    material = await videos.material(platform, rendering)
    assert [cue.lines for cue in material.cues] == [("Déjà vu",)]
    assert rendering.profile.max_chars_per_line == 26


# Failing


async def test_what_is_no_recording_fails_with_a_reason_and_is_not_tried_again(
    platform: Platform, studio: Studio
) -> None:
    job_id = await heard(platform, b"this is text")
    video_id = await asked(platform, job_id)
    await studio.work()
    video = await now(platform, job_id, video_id)
    assert video.state == VideoState.FAILED
    assert (video.error_details or {})["code"] == "media_unsupported"
    with pytest.raises(VideoFailed):
        await videos.file(platform, ME, job_id, video_id)
    assert await objects(platform, job_id) == []


async def test_a_video_of_a_job_that_fails_fails_too(platform: Platform, studio: Studio) -> None:
    job_id = await make_job(platform, content=FILM)
    video_id = await asked(platform, job_id)
    attempt = await attempts.claim(platform, job_id, worker="w")
    assert attempt is not None
    await attempts.fail(platform, attempt, NoAudio("there is no sound in it"), retryable=False)
    await studio.work()
    video = await now(platform, job_id, video_id)
    assert (video.state, (video.error_details or {})["code"]) == (VideoState.FAILED, "job_has_no_result")


async def test_what_was_away_is_tried_again_a_little_later(platform: Platform) -> None:
    job_id = await heard(platform)
    video_id = await asked(platform, job_id)
    for tried in range(1, 4):
        rendering = await taken_up(platform)
        assert await videos.fail(platform, rendering, StorageUnavailable())
        video = await now(platform, job_id, video_id)
        assert (video.state, video.attempts) == (VideoState.QUEUED, tried)
        assert await videos.take_up(platform, worker="w") is None
        await run_sql(platform, "UPDATE videos SET run_at = now()")
    assert await videos.fail(platform, await taken_up(platform), StorageUnavailable())
    assert (await now(platform, job_id, video_id)).state == VideoState.FAILED


async def test_a_bug_fails_the_video_and_the_studio_goes_on(
    platform: Platform, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await heard(platform)
    video_id = await asked(platform, job_id)

    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as fault:
        fault.setattr(studio, "_draw", broken)
        await studio.work()
    video = await now(platform, job_id, video_id)
    assert (video.state, (video.error_details or {})["code"]) == (VideoState.FAILED, "internal")
    other = await asked(platform, job_id)
    await studio.work()
    assert (await now(platform, job_id, other)).state == VideoState.COMPLETED


# Leases and fences


async def test_of_many_workers_one_takes_a_video_up(platform: Platform) -> None:
    await asked(platform, await heard(platform))
    taken = await asyncio.gather(*(videos.take_up(platform, worker=f"w{n}") for n in range(8)))
    assert len([rendering for rendering in taken if rendering]) == 1


async def test_the_video_of_a_lost_worker_is_another_s_and_the_crash_counted(platform: Platform) -> None:
    job_id = await heard(platform)
    video_id = await asked(platform, job_id)
    await taken_up(platform)
    await videos.rescue(platform, Pulse())
    assert (await now(platform, job_id, video_id)).state == VideoState.PROCESSING, (
        "it keeps its lease, it keeps its work"
    )
    await lose(platform)
    video = await now(platform, job_id, video_id)
    assert (video.state, video.crash_count, video.attempts) == (VideoState.QUEUED, 1, 0)
    assert (await taken_up(platform)).fence == 2


async def test_a_worker_that_lost_its_video_changes_nothing_and_leaves_nothing(platform: Platform) -> None:
    job_id = await heard(platform)
    video_id = await asked(platform, job_id)
    zombie = await taken_up(platform, "zombie")
    await lose(platform)
    winner = await taken_up(platform, "winner")
    assert not await videos.heartbeat(platform, zombie, progress=0.9)
    assert not await videos.complete(platform, zombie, MADE, body(b"late"))
    assert not await videos.fail(platform, zombie, StorageUnavailable())
    assert await videos.complete(platform, winner, MADE, body(b"in time"))
    assert not await videos.complete(platform, zombie, MADE, body(b"later"))
    assert await fetched(platform, job_id, video_id) == b"in time"
    assert len(await objects(platform, job_id)) == 1


async def test_a_worker_that_never_heard_of_its_commit_finds_its_work_done(platform: Platform) -> None:
    job_id = await heard(platform)
    video_id = await asked(platform, job_id)
    rendering = await taken_up(platform)
    for _ in range(2):
        assert await videos.complete(platform, rendering, MADE, body(b"video"))
    assert await fetched(platform, job_id, video_id) == b"video"


async def test_a_video_that_kills_its_workers_fails_at_the_third(platform: Platform) -> None:
    job_id = await heard(platform)
    video_id = await asked(platform, job_id)
    for _ in range(MAX_CRASHES):
        await taken_up(platform)
        await lose(platform)
    video = await now(platform, job_id, video_id)
    assert (video.state, (video.error_details or {})["code"]) == (VideoState.FAILED, "worker_crashed")


async def test_after_a_pause_every_lease_is_renewed(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = await heard(platform)
    video_id = await asked(platform, job_id)
    rendering, pulse = await taken_up(platform), Pulse()
    pulse.beat()
    await run_sql(platform, "UPDATE videos SET lease_until = now() - interval '1 s'")
    with monkeypatch.context() as pause:
        pause.setattr(upkeep, "PAUSE_SECONDS", -1.0)
        await videos.rescue(platform, pulse)
    pulse.beat()
    await videos.rescue(platform, pulse)
    assert (await now(platform, job_id, video_id)).crash_count == 0
    assert await videos.heartbeat(platform, rendering, progress=0.5)
    assert (await now(platform, job_id, video_id)).progress == 0.5


async def test_a_worker_that_shuts_down_gives_its_video_back_uncharged(
    platform: Platform, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await heard(platform)
    video_id, begun = await asked(platform, job_id), asyncio.Event()

    async def endless(*_: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(studio, "_draw", endless)
    working = asyncio.create_task(studio.work())
    await begun.wait()
    await studio.drain(0)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    video = await now(platform, job_id, video_id)
    assert (video.state, video.attempts, video.crash_count) == (VideoState.QUEUED, 0, 0)
    await studio.work()
    assert (await now(platform, job_id, video_id)).state == VideoState.QUEUED, "it takes nothing up any more"


async def test_a_video_that_is_taken_up_as_the_worker_shuts_down_is_not_left_behind(
    platform: Platform, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await heard(platform)
    video_id, taken, go = await asked(platform, job_id), asyncio.Event(), asyncio.Event()

    as_usual = videos.take_up

    async def take_up(*_: object, **__: object) -> Rendering | None:
        rendering = await as_usual(platform, worker="worker")
        taken.set()
        await go.wait()
        return rendering

    with monkeypatch.context() as slow:
        slow.setattr(videos, "take_up", take_up)
        working = asyncio.create_task(studio.work())
        await taken.wait()
        draining = asyncio.create_task(studio.drain(60))
        await asyncio.sleep(0)
        go.set()
        await draining
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    assert (await now(platform, job_id, video_id)).state == VideoState.COMPLETED


async def test_a_rendering_ends_when_its_video_is_no_longer_its_worker_s(
    platform: Platform, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await heard(platform)
    await asked(platform, job_id)

    async def endless(*_: object) -> None:
        await ending.erase(platform, ME, job_id)
        await asyncio.Event().wait()

    monkeypatch.setattr(studio, "_draw", endless)
    async with asyncio.timeout(30):
        await studio.work()


@pytest.fixture(scope="module")
def long_film() -> bytes:
    return film(seconds=120, size="1280x720", rate=30)


async def test_a_worker_that_is_killed_in_the_middle_loses_nothing(
    platform: Platform, studio: Studio, environ: dict[str, str], long_film: bytes, tmp_path: Path
) -> None:
    """SIGKILL while ffmpeg draws; the next one makes it whole, under a fence of its own."""
    job_id = await heard(platform, long_film)
    video_id = await asked(platform, job_id, "track")
    await run_sql(platform, "UPDATE videos SET mode = 'burned'")  # the second time, a track will do
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    command = [sys.executable, "-m", "tests.support.studio_process"]
    victim = await asyncio.create_subprocess_exec(*command, env={**kept, **environ}, cwd=ROOT)

    async def half_way() -> bool:
        return 0 < (await now(platform, job_id, video_id)).progress < 1

    try:
        await eventually(half_way, within=120)
    finally:
        with suppress(ProcessLookupError):
            victim.kill()
        await victim.wait()
    assert (await now(platform, job_id, video_id)).state == VideoState.PROCESSING
    await lose(platform)
    await run_sql(platform, "UPDATE videos SET mode = 'track'")
    await studio.work()
    video = await now(platform, job_id, video_id)
    assert (video.state, video.fence, video.crash_count) == (VideoState.COMPLETED, 2, 1)
    assert video.object_key == layout.video(ME.owner, job_id, video_id, 2)
    assert await objects(platform, job_id) == [video.object_key]
    assert "Duration: 00:02:0" in about(await fetched(platform, job_id, video_id), tmp_path)


# Going


async def test_a_video_goes_with_its_recording_and_says_so(platform: Platform, studio: Studio) -> None:
    job_id = await heard(platform)
    video_id = await asked(platform, job_id)
    await studio.work()
    late = await asked(platform, job_id, profile="phone")
    await run_sql(platform, f"UPDATE transcript_jobs SET completed_at = now() - interval '2 d' WHERE id = '{job_id}'")
    await retention.delete_expired_audio(platform)
    assert await objects(platform, job_id) == []
    with pytest.raises(VideoDeleted):
        await videos.file(platform, ME, job_id, video_id)
    await studio.work()
    assert ((await now(platform, job_id, late)).error_details or {})["code"] == "audio_deleted"


async def test_a_video_of_a_recording_that_goes_while_it_is_made_is_not_kept(platform: Platform) -> None:
    job_id = await heard(platform)
    await asked(platform, job_id)
    rendering = await taken_up(platform)
    await run_sql(platform, f"UPDATE transcript_jobs SET source_key = NULL WHERE id = '{job_id}'")
    assert not await videos.complete(platform, rendering, MADE, body(b"video"))
    assert await objects(platform, job_id) == []


async def test_erasing_a_job_erases_its_videos_made_or_being_made(platform: Platform, studio: Studio) -> None:
    job_id = await heard(platform)
    await asked(platform, job_id)
    await studio.work()
    await asked(platform, job_id, profile="phone")
    rendering = await taken_up(platform)
    receipt = await ending.erase(platform, ME, job_id)
    assert receipt.objects_deleted == 3  # the recording, the transcript and a video
    assert not await videos.heartbeat(platform, rendering, progress=0.5)
    assert not await videos.complete(platform, rendering, MADE, body(b"video"))
    assert await objects(platform, job_id) == []


async def test_a_video_that_waits_for_a_recording_that_expires_is_gone_with_it(platform: Platform) -> None:
    job_id = await waiting(platform, content=FILM)
    await asked(platform, job_id)
    await ending.erase(platform, ME, job_id)
    assert await videos.take_up(platform, worker="w") is None


async def test_no_video_that_a_row_names_is_an_orphan(platform: Platform, studio: Studio) -> None:
    job_id = await heard(platform)
    video_id = await asked(platform, job_id)
    await studio.work()
    loser = layout.video(ME.owner, job_id, video_id, 7)
    await platform.store.put(loser, body(b"a zombie's"))
    times = platform.settings.retention.model_copy(update={"orphan_hours": 1e-9})
    settings = platform.settings.model_copy(update={"retention": times})
    await retention.delete_orphans(
        platform.__class__(settings, platform.sessions, platform.store, platform.queue, platform.events)
    )
    assert await objects(platform, job_id) == [layout.video(ME.owner, job_id, video_id, 1)]
