"""Videos as tasks of their own: asked for, made, failed, gone with their recording."""

from pathlib import Path
from uuid import uuid4

import pytest

from domain.access import Caller
from domain.errors import AudioDeleted, JobHasNoResult, JobNotFound, NoAudio, StorageUnavailable
from domain.lifecycle import JobState
from domain.recording_errors import TooManyVideos, VideoDeleted, VideoFailed, VideoNotFound, VideoNotReady
from domain.videos import VideoState
from services import attempts, ending, once, retention, videos
from services.platform import Platform
from storage import layout
from tests.support.endpoints import run_sql
from tests.support.films import about, subtitles_of
from tests.support.jobs import ME, body, in_state, make_job, waiting
from tests.support.videos import FILM, MADE, asked, complete, fetched, heard, now, objects, taken_up
from tests.support.videos import environ as environ
from tests.support.videos import none_left as none_left
from tests.support.videos import studio as studio
from workers.studio import Studio

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
