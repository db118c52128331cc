"""Videos with subtitles: asked for by their owner, made by workers, gone with their recording.

A video is a task of its own beside its job: it may be asked for before the job has ended, and is made once it has. A
worker holds it by lease and fence as it holds a job; every call that carries a fence and answers False found it taken.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID, uuid4

from db import sweeps, videos
from db.tables import Job
from db.video_tables import Video
from domain.access import Caller
from domain.cues import Cue, to_cues
from domain.errors import AudioDeleted, EscribaError, JobHasNoResult, Unavailable
from domain.lifecycle import MAX_RETRIES, TERMINAL, JobState, retry_delay
from domain.profiles import PROFILES, Profile
from domain.recording_errors import TooManyVideos, VideoDeleted, VideoFailed, VideoNotFound, VideoNotReady
from domain.videos import Rendered, VideoMode, VideoState
from services import attempts, once, reading
from services.platform import Platform
from services.reading import Audio
from services.upkeep import Pulse
from storage import layout

MOST_OF_A_JOB = 20

CONTENT_TYPE = "video/mp4"


# What owners do


async def ask(
    platform: Platform, caller: Caller, job_id: UUID, *, profile: str, mode: VideoMode, key: once.Key | None = None
) -> Video:
    """Have a video made; one of the same kind that is not yet made is what is answered.

    Raises JobNotFound, AudioDeleted, JobHasNoResult where the job can never have a transcript, TooManyVideos and
    IdempotencyKeyReused.
    """
    request = once.fingerprint(video_of=job_id, profile=profile, mode=mode)
    if key is not None and (answer := await once.answer_before(platform, caller, key, request)):
        return await find(platform, caller, job_id, UUID(answer["video_id"]))
    job, _ = await reading.find(platform, caller, job_id)
    refuse_hopeless(job)
    kind = {"owner": caller.owner, "profile": profile, "mode": mode}
    try:
        async with platform.sessions.begin(owner=caller.owner) as session:
            video = await videos.under_way(session, job_id, **kind)
            if video is None:
                if await videos.count(session, job_id, owner=caller.owner) >= MOST_OF_A_JOB:
                    raise TooManyVideos(MOST_OF_A_JOB)
                video = await videos.insert_video(session, id=uuid4(), job_id=job_id, **kind)
            if key is not None:
                await once.remember(session, caller, key, request, {"video_id": str(video.id)})
    except once.AnsweredBefore:  # by a request that ran beside this one
        return await ask(platform, caller, job_id, profile=profile, mode=mode, key=key)
    return video


def refuse_hopeless(job: Job) -> None:
    """Raises AudioDeleted, JobHasNoResult."""
    if job.state in (*TERMINAL, JobState.EXPIRED) and job.state != JobState.COMPLETED:
        raise JobHasNoResult(job.state, (job.error_details or {}).get("message"))
    if job.source_key is None:
        raise AudioDeleted


async def find(platform: Platform, caller: Caller, job_id: UUID, video_id: UUID) -> Video:
    """Raises JobNotFound, VideoNotFound."""
    await reading.find(platform, caller, job_id)
    async with platform.sessions.alone(owner=caller.owner) as session:
        video = await videos.get(session, video_id, job_id=job_id, owner=caller.owner)
    if video is None:
        raise VideoNotFound
    return video


async def file(platform: Platform, caller: Caller, job_id: UUID, video_id: UUID) -> Audio:
    """Raises JobNotFound, VideoNotFound, VideoNotReady, VideoFailed, VideoDeleted."""
    video = await find(platform, caller, job_id, video_id)
    if video.state == VideoState.FAILED:
        raise VideoFailed((video.error_details or {}).get("message"))
    if video.state != VideoState.COMPLETED:
        raise VideoNotReady(video.state)
    if video.object_key is None:
        raise VideoDeleted
    return Audio(video.object_key, await platform.store.size(video.object_key), CONTENT_TYPE)


# What a worker does


@dataclass(frozen=True, slots=True)
class Rendering:
    """What taking a video up gives out."""

    video_id: UUID
    job_id: UUID
    owner: str
    fence: int
    attempts: int
    profile: Profile
    mode: VideoMode


@dataclass(frozen=True, slots=True)
class Material:
    """What a video is made of."""

    source_key: str
    cues: list[Cue]
    seconds: float
    language: str | None


async def take_up(platform: Platform, *, worker: str) -> Rendering | None:
    """A video that is due, or None where there is none."""
    async with platform.sessions.alone() as session:
        video = await videos.take_up(session, worker=worker, lease=attempts.lease(platform))
    if video is None:
        return None
    mode: VideoMode = "track" if video.mode == "track" else "burned"
    about = (video.id, video.job_id, video.owner, video.fence, video.attempts)
    return Rendering(*about, PROFILES[video.profile], mode)


async def material(platform: Platform, rendering: Rendering) -> Material:
    """Raises JobNotFound, JobHasNoResult, AudioDeleted, StorageUnavailable."""
    owner = Caller(rendering.owner)
    found = await reading.result(platform, owner, rendering.job_id)
    refuse_hopeless(found.job)
    assert found.job.source_key is not None
    cues = to_cues(found.heard.segments, rendering.profile, found.labels)
    return Material(found.job.source_key, cues, found.heard.duration, found.heard.language)


async def heartbeat(platform: Platform, rendering: Rendering, *, progress: float) -> bool:
    lease = attempts.lease(platform)
    async with platform.sessions.directly() as connection:
        return await videos.heartbeat(connection, rendering.video_id, rendering.fence, lease=lease, progress=progress)


async def complete(platform: Platform, rendering: Rendering, rendered: Rendered, made: AsyncIterator[bytes]) -> bool:
    """Keep the video under this fence's own key, and let the row name it.

    Asked again after an answer that was lost, this finds its own work done. Raises StorageUnavailable.
    """
    key = layout.video(rendering.owner, rendering.job_id, rendering.video_id, rendering.fence)
    try:
        stored = await platform.store.put(key, made)
    except asyncio.CancelledError:
        await asyncio.shield(platform.store.delete(key))  # it may have been through
        raise
    async with platform.sessions.begin() as session:
        ours = await videos.complete(
            session,
            rendering.video_id,
            rendering.fence,
            object_key=key,
            size_bytes=stored.size_bytes,
            seconds=rendered.seconds,
            width=rendered.width,
            height=rendered.height,
            notices=[notice.model_dump() for notice in rendered.notices],
        )
        ours = ours or await videos.is_completed_with(session, rendering.video_id, key)
    if not ours:
        await platform.store.delete(key)
    return ours


async def fail(platform: Platform, rendering: Rendering, error: EscribaError) -> bool:
    """Back to those that wait where something was away and tries are left, else failed."""
    details = {"code": error.code, "message": str(error)}
    async with platform.sessions.begin() as session:
        if isinstance(error, Unavailable) and rendering.attempts < MAX_RETRIES:
            delay = retry_delay(rendering.attempts, random.uniform(0.5, 1.5))  # noqa: S311  # spreads load, keeps no secret
            return await videos.retry(session, rendering.video_id, rendering.fence, delay=delay, error=details)
        return await videos.fail(session, rendering.video_id, rendering.fence, error=details)


async def release(platform: Platform, rendering: Rendering) -> bool:
    """Give it back, charged to nobody: the worker shuts down."""
    async with platform.sessions.begin() as session:
        return await videos.release(session, rendering.video_id, rendering.fence)


# What the sweeper does


async def rescue(platform: Platform, pulse: Pulse) -> int:
    """Give the videos of lost workers to others; after a pause, every worker its whole lease again."""
    if not pulse.paused():
        async with platform.sessions.directly() as connection:
            if not await videos.any_lost(connection):
                return 0
    async with platform.sessions.begin() as session:
        await sweeps.pin_now(session)  # as of jobs: a pause that begins later ages no lease
        if pulse.paused():
            await videos.extend_all_leases(session, attempts.lease(platform))
            return 0
        return await videos.rescue_lost(session)
