"""Videos are held by lease and fence: taken over from the dead, given back by who shuts down, never by a zombie."""

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from domain.errors import DatabaseUnavailable, StorageUnavailable
from domain.lifecycle import MAX_CRASHES
from domain.videos import VideoState
from services import ending, upkeep, videos
from services.platform import Platform
from services.upkeep import Pulse
from services.videos import Rendering
from storage import layout
from tests.conftest import ROOT
from tests.support.endpoints import run_sql
from tests.support.films import about, film
from tests.support.jobs import ME, body
from tests.support.videos import MADE, asked, fetched, heard, lose, now, objects, taken_up
from tests.support.videos import environ as environ
from tests.support.videos import none_left as none_left
from tests.support.videos import studio as studio
from tests.support.waiting import eventually
from workers.studio import Studio


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


@pytest.mark.parametrize("times_away", [0, 2])
async def test_a_worker_that_shuts_down_gives_its_video_back_uncharged(
    platform: Platform, studio: Studio, monkeypatch: pytest.MonkeyPatch, times_away: int
) -> None:
    away, release = iter(range(times_away)), videos.release

    async def when_the_database_is_back(platform: Platform, rendering: Rendering) -> bool:
        if next(away, None) is not None:
            raise DatabaseUnavailable
        return await release(platform, rendering)

    monkeypatch.setattr(videos, "release", when_the_database_is_back)
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
