"""Subtitles by rule, and videos that show them."""

import asyncio
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query, Response

from api import exports, ranges
from api.dependencies import CallerDep, PlatformDep
from api.errors import documented
from api.intake import KeyDep
from api.routes.transcribe_jobs import NO_TRANSCRIPT, ProfileDep
from api.video_schemas import SubtitleReport, VideoBody, VideoView
from domain import errors, recording_errors
from domain.cues import to_cues
from domain.profiles import profile_named
from domain.subtitle_rules import validate
from domain.subtitles import Format, shown_in
from services import reading, videos

router = APIRouter(prefix="/api/transcribe/jobs", tags=["subtitles"])


@router.get(
    "/result/{job_id}/subtitles/report",
    responses=documented(*NO_TRANSCRIPT, errors.Invalid),
)
async def report(
    job_id: UUID,
    platform: PlatformDep,
    caller: CallerDep,
    response: Response,
    profile: ProfileDep = None,
    format: Annotated[Format, Query(description="The format whose cues are looked at.")] = "srt",  # noqa: A002
) -> SubtitleReport:
    """How the cues of a transcript keep the rules of a profile, cue by cue."""
    name = profile or "default"
    rules = profile_named(name)
    found = await reading.result(platform, caller, job_id)
    response.headers.update(exports.NO_STORE)

    def made() -> SubtitleReport:
        cues = to_cues(found.heard.segments, shown_in(format, rules), found.labels)
        return SubtitleReport.of(job_id, name, format, validate(cues, rules))

    return await asyncio.to_thread(made)


@router.post(
    "/{job_id}/videos",
    status_code=202,
    responses=documented(
        errors.JobNotFound, errors.AudioDeleted, errors.JobHasNoResult, recording_errors.TooManyVideos, errors.Invalid,
        errors.DatabaseUnavailable,
    ),
)  # fmt: skip
async def ask(job_id: UUID, body: VideoBody, platform: PlatformDep, caller: CallerDep, key: KeyDep) -> VideoView:
    """Have a video with subtitles made of a job's recording, as soon as the job has ended; it goes with the recording.

    Sound without pictures gets a plain background. While one of the same kind is being made, that is the answer.
    """
    return VideoView.of(await videos.ask(platform, caller, job_id, profile=body.profile, mode=body.mode, key=key))


@router.get(
    "/{job_id}/videos/{video_id}",
    responses=documented(errors.JobNotFound, recording_errors.VideoNotFound, errors.DatabaseUnavailable),
)
async def status(job_id: UUID, video_id: UUID, platform: PlatformDep, caller: CallerDep) -> VideoView:
    """How far a video is."""
    return VideoView.of(await videos.find(platform, caller, job_id, video_id))


@router.get(
    "/{job_id}/videos/{video_id}/file",
    response_class=Response,
    responses=ranges.SERVED | documented(
        errors.JobNotFound, recording_errors.VideoNotFound, recording_errors.VideoNotReady,
        recording_errors.VideoFailed, recording_errors.VideoDeleted, errors.RangeNotSatisfiable,
        errors.StorageUnavailable,
    ),
)  # fmt: skip
async def file(
    job_id: UUID,
    video_id: UUID,
    platform: PlatformDep,
    caller: CallerDep,
    range: Annotated[str | None, Header()] = None,  # noqa: A002
) -> Response:
    """The video, in whole or by range, so that a player can seek; it can be played while it is loaded."""
    found = await videos.file(platform, caller, job_id, video_id)
    return await ranges.serve(
        platform.store, found.key, size=found.size_bytes, content_type=found.content_type, wanted=range
    )
