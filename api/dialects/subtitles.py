"""The subtitles dialect: a recording is uploaded once, and run for its text, its subtitles or a video that shows them.

Its jobs are the platform's: the native API reads, follows and ends them, and this one reads those of the native API.
"""

import asyncio
from pathlib import PurePath
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query, Response

from api import exports, ranges
from api.dependencies import AdminDep, CallerDep, PlatformDep
from api.dialects import subtitles_views as views
from api.dialects.subtitles_form import RunBody, UploadIntakeDep, read_run
from api.errors import Responses, documented
from api.exports import TextFormat
from api.intake import KeyDep
from api.routes.transcribe_jobs import NO_TRANSCRIPT
from domain import account_errors, errors, recording_errors
from services import reading, runs, statistics, videos
from services.runs import Course

router = APIRouter(tags=["subtitles"])

FILE_ONLY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary", "description": "The recording."}},
                }
            }
        },
    }
}

SERVED: Responses = {
    200: {"content": {kind: {"schema": {"type": "string"}} for kind in (*exports.MEDIA_TYPES.values(), "video/mp4")}},
    206: {"description": "the range of a video", "content": {"video/mp4": {"schema": {"type": "string"}}}},
}

ENDINGS: dict[str, TextFormat] = {"srt": "srt", "vtt": "vtt", "ass": "ass"}


@router.post(
    "/upload",
    responses=documented(
        errors.MalformedUpload, errors.MissingFile, errors.Invalid, errors.EmptyMedia, errors.TooLarge,
        errors.StorageUnavailable, account_errors.QuotaExceeded, errors.IdempotencyKeyReused,
    ),
    openapi_extra=FILE_ONLY,
)  # fmt: skip
async def upload(intake: UploadIntakeDep) -> views.Uploaded:
    """Send a recording or a film; it waits to be run for UPLOAD_EXPIRY_HOURS. 200: it is on disk."""
    return await intake.take_upload()


@router.post(
    "/jobs/{job_id}/run",
    responses=documented(
        errors.JobNotFound, errors.AudioDeleted, recording_errors.UploadUnfinished, recording_errors.TooManyVideos,
        errors.Invalid, errors.UnknownModel, errors.UnknownEngine, errors.UnsupportedLanguage,
        errors.StorageUnavailable, account_errors.QuotaExceeded, errors.IdempotencyKeyReused,
    ),
)  # fmt: skip
async def run(job_id: UUID, body: RunBody, platform: PlatformDep, caller: CallerDep, key: KeyDep) -> views.CourseView:
    """Choose what is to come of a recording. Run again for another output, it is not heard again; with another model
    it is, by a job of its own, and this id shows the last run.
    """
    named, wanted = await read_run(platform, body)
    course = await runs.run(platform, caller, job_id, wanted, body.output, named=named, key=key)
    return views.CourseView.of(job_id, course)


@router.get("/jobs/{job_id}/status", responses=documented(errors.JobNotFound, errors.DatabaseUnavailable))
async def status(job_id: UUID, platform: PlatformDep, caller: CallerDep) -> views.CourseView:
    """Where a job stands."""
    return views.CourseView.of(job_id, await runs.course(platform, caller, job_id))


@router.get(
    "/jobs/{job_id}/result",
    response_class=Response,
    responses=SERVED | documented(
        *NO_TRANSCRIPT, recording_errors.VideoNotReady, recording_errors.VideoFailed, recording_errors.VideoDeleted,
        errors.RangeNotSatisfiable,
    ),
)  # fmt: skip
async def result(
    job_id: UUID,
    platform: PlatformDep,
    caller: CallerDep,
    range: Annotated[str | None, Header()] = None,  # noqa: A002
) -> Response:
    """What the last run was for, as a file to be saved: text, subtitles, or a video, this one by range as well."""
    course = await runs.course(platform, caller, job_id)
    asked, heard_by = course.run, course.heard.job.id
    if asked is not None and asked.video_id is not None:
        await reading.transcribed(platform, caller, heard_by)  # raises where there will be none
        film = await videos.file(platform, caller, heard_by, asked.video_id)
        name, kind = _named(course, "mp4"), film.content_type
        return await ranges.serve(
            platform.store, film.key, size=film.size_bytes, content_type=kind, wanted=range, filename=name
        )
    found = await reading.result(platform, caller, heard_by)
    if asked is None or asked.output_type == "text":
        return await exports.exported(found, "txt", headers=_saved_as(course, "txt"))
    ending = ENDINGS[asked.format]
    return await exports.exported(found, ending, profile=asked.profile, headers=_saved_as(course, ending))


def _named(course: Course, ending: str) -> str:
    return f"{PurePath(course.heard.transcript.filename or 'result').stem}.{ending}"


def _saved_as(course: Course, ending: str) -> dict[str, str]:
    return {**exports.NO_STORE, "Content-Disposition": ranges.attachment(_named(course, ending))}


@router.get(
    "/jobs/{job_id}/preview",
    responses=documented(*NO_TRANSCRIPT),
)
async def preview(job_id: UUID, platform: PlatformDep, caller: CallerDep, response: Response) -> views.Preview:
    """The first words and cues, as JSON."""
    course = await runs.course(platform, caller, job_id)
    found = await reading.result(platform, caller, course.heard.job.id)
    response.headers.update(exports.NO_STORE)
    return await asyncio.to_thread(views.Preview.of, job_id, course, found)


@router.get("/admin/metrics", responses=documented(errors.DatabaseUnavailable))
async def metrics(
    platform: PlatformDep, _: AdminDep, days: Annotated[int, Query(ge=1, le=366)] = 30
) -> views.AdminMetrics:
    """Jobs by state, what they took against how long they are, errors and usage, of everybody."""
    return views.AdminMetrics.of(await statistics.gather(platform, days=days))
