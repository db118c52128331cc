"""The native API: submit, watch, read, end."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from sse_starlette import EventSourceResponse

from api import exports, ranges, url_intake
from api.dependencies import BoardDep, CallerDep, FollowerDep, HubDep, PlatformDep, ReaderDep, while_allowed
from api.errors import Responses, documented
from api.event_streams import STREAMED, Encoder, LastIdDep, streamed
from api.intake import KeyDep, accepted
from api.schemas import (
    Cancelled,
    EnginesView,
    ErasureReceipt,
    JobAccepted,
    JobPage,
    JobResult,
    JobStatus,
    StreamTicketView,
)
from api.url_intake import UrlIntakeDep
from domain import account_errors, errors, recording_errors
from domain.events import Cursor
from domain.intake_errors import AudioNotThere, AudioUrlRefused
from domain.lifecycle import JobState
from domain.profiles import PROFILES
from domain.speakers import SpeakerChanges
from domain.text import Plain
from services import ending, following, reading, rerunning, speakers, tickets
from services.following import Told
from services.rerunning import Rerun

router = APIRouter(prefix="/api/transcribe/jobs", tags=["jobs"])

SUBMIT_ERRORS = documented(
    errors.MalformedUpload, errors.MissingFile, errors.UnknownEngine, errors.UnsupportedLanguage,
    errors.UnknownModel, errors.UnsupportedOption, errors.EmptyMedia, errors.TooLarge, errors.EngineUnavailable,
    errors.StorageUnavailable, errors.IdempotencyKeyReused, errors.ContextNotFound, account_errors.QuotaExceeded,
    AudioUrlRefused,
)  # fmt: skip

NO_TRANSCRIPT = (
    errors.JobNotFound, recording_errors.NotRun, errors.ResultNotReady, errors.JobHasNoResult,
    errors.StorageUnavailable,
)  # fmt: skip
"""Why a transcript may not be had."""

UNCHANGED: Responses = {304: {"description": "as `If-None-Match` has it"}}

encoder = Encoder()

ProfileDep = Annotated[
    str | None,
    Query(max_length=64, description=f"Rules of the subtitles: {', '.join(PROFILES)}; `default` where left out."),
]
IN_EVERY_FORMAT: Responses = {
    200: {"content": {media_type: {"schema": {"type": "string"}} for media_type in exports.MEDIA_TYPES.values()}}
}


@router.post(
    "/transcribe",
    status_code=202,
    responses=SUBMIT_ERRORS,
    openapi_extra=url_intake.openapi_body(url_intake.AnyEngineUrlForm),
)
async def transcribe(intake: UrlIntakeDep) -> JobAccepted:
    """Queue a recording for the engine named, or the default one. 202: the recording and the job are on disk."""
    return await intake.take(url_intake.AnyEngineUrlForm)


@router.post(
    "/transcribe/asr",
    status_code=202,
    responses=SUBMIT_ERRORS,
    openapi_extra=url_intake.openapi_body(url_intake.AsrUrlForm),
)
async def transcribe_asr(intake: UrlIntakeDep) -> JobAccepted:
    """Queue a recording for NVIDIA Riva."""
    return await intake.take(url_intake.AsrUrlForm)


@router.post(
    "/transcribe/whisperx",
    status_code=202,
    responses=SUBMIT_ERRORS,
    openapi_extra=url_intake.openapi_body(url_intake.WhisperXUrlForm),
)
async def transcribe_whisperx(intake: UrlIntakeDep) -> JobAccepted:
    """Queue a recording for WhisperX."""
    return await intake.take(url_intake.WhisperXUrlForm)


@router.get("/engines", response_model=EnginesView, responses=UNCHANGED)
async def engines(_: CallerDep, board: BoardDep, if_none_match: Annotated[str | None, Header()] = None) -> Response:
    """Which engines there are, what each can do, and whether it can do it now, at most a few seconds old.

    Cheap to poll: send back the ETag as `If-None-Match`, and the answer is 304 while nothing has changed.
    """
    answer = await board.answer()
    headers = {"ETag": answer.etag, "Cache-Control": "no-cache"}
    if answer.is_known_to(if_none_match):
        return Response(status_code=304, headers=headers)
    return Response(answer.body, media_type="application/json", headers=headers)


@router.get("", responses=documented(errors.Invalid, errors.DatabaseUnavailable))
async def list_jobs(
    platform: PlatformDep,
    caller: CallerDep,
    limit: Annotated[int, Query(ge=1, le=reading.LARGEST_PAGE)] = 50,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
    session_id: UUID | None = None,
    state: Annotated[list[JobState] | None, Query(description="Repeat for several.")] = None,
    engine: Plain | None = None,
) -> JobPage:
    """Your jobs, newest first."""
    page = await reading.page(
        platform, caller, limit=limit, cursor=cursor, session_id=session_id, states=state or (), engine=engine
    )
    return JobPage.of(page)


@router.get(
    "/status/{job_id}",
    responses=documented(errors.JobNotFound, errors.DatabaseUnavailable),
    response_model_exclude_none=True,
)
async def status(job_id: UUID, platform: PlatformDep, caller: CallerDep) -> JobStatus:
    """Where a job stands."""
    return JobStatus.of(await reading.status(platform, caller, job_id))


@router.post(
    "/stream/{job_id}/ticket",
    status_code=201,
    responses=documented(errors.JobNotFound, errors.DatabaseUnavailable),
)
async def stream_ticket(job_id: UUID, platform: PlatformDep, caller: ReaderDep) -> StreamTicketView:
    """A ticket that opens this stream once, within 30 seconds: for a browser, whose EventSource sends no header."""
    return StreamTicketView.of(job_id, await tickets.issue(platform, caller, job_id))


@router.get(
    "/stream/{job_id}",
    response_class=EventSourceResponse,
    responses=documented(errors.JobNotFound, errors.BadTicket) | STREAMED,
)
async def stream(
    request: Request,
    job_id: UUID,
    platform: PlatformDep,
    hub: HubDep,
    caller: FollowerDep,
    last_id: LastIdDep,
) -> Response:
    """Follow a job by server-sent events, to its end: a snapshot first, then every change, segment and progress report.

    Every event is an unnamed `message` whose data carry `status` and `progress`. The stream closes behind the end; a
    reconnect with `Last-Event-ID` goes on where it broke off, and answers 204 where nothing is left to tell.
    """
    events = await following.open_stream(platform, hub, caller, job_id, Cursor.parse(last_id))
    if events is None:
        return Response(status_code=204)
    return streamed(_frames(while_allowed(request, caller, events)))


async def _frames(events: AsyncGenerator[Told]) -> AsyncGenerator[bytes]:
    async with aclosing(events):
        async for event, cursor in events:
            yield encoder.encode(event, cursor)


@router.get(
    "/result/{job_id}",
    response_model=JobResult,
    responses=documented(*NO_TRANSCRIPT) | IN_EVERY_FORMAT,
)
async def result(
    request: Request,
    job_id: UUID,
    platform: PlatformDep,
    caller: CallerDep,
    format: Annotated[  # noqa: A002
        Literal["json"] | exports.TextFormat, Query(description="json, or the text or subtitles alone.")
    ] = "json",
    profile: ProfileDep = None,
) -> Response:
    """The whole transcript."""
    if format != "json":
        return await exports.exported(await reading.result(platform, caller, job_id), format, profile=profile)
    exports.refuse_profile(profile)
    found, rest = await reading.unread_result(platform, caller, job_id)
    view = JobResult.of(found, audio_url=_absolute(request, found.audio_url))
    return StreamingResponse(_with_rest(view, rest), media_type="application/json", headers=exports.NO_STORE)


async def _with_rest(view: JobResult, rest: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """The answer, of which segments and text go out as they are stored."""
    async with aclosing(rest):
        yield view.model_dump_json(exclude={"segments", "text"}).encode().removesuffix(b"}")
        async for piece in rest:
            yield piece


def _absolute(request: Request, link: str | None) -> str | None:
    return None if link is None else str(request.base_url.replace(path="")) + link if link.startswith("/") else link


@router.patch(
    "/result/{job_id}/speakers",
    responses=documented(errors.JobNotFound, errors.JobHasNoResult, errors.Invalid, errors.StorageUnavailable),
)
async def edit_speakers(
    request: Request, job_id: UUID, body: SpeakerChanges, platform: PlatformDep, caller: CallerDep
) -> JobResult:
    """Name speakers, merge two that are one, say who is who. Every export follows; what was heard is kept as it is."""
    await speakers.edit(platform, caller, job_id, body)
    found = await reading.result(platform, caller, job_id)
    return JobResult.of(found, audio_url=_absolute(request, found.audio_url))


@router.get(
    "/{job_id}/audio",
    response_class=Response,
    responses=ranges.SERVED
    | documented(
        errors.JobNotFound, AudioNotThere, errors.AudioDeleted, errors.RangeNotSatisfiable, errors.StorageUnavailable
    ),
)
async def audio(
    job_id: UUID,
    platform: PlatformDep,
    caller: CallerDep,
    range: Annotated[str | None, Header()] = None,  # noqa: A002
) -> Response:
    """The recording itself, in whole or by range, so that a player can seek."""
    found = await reading.audio(platform, caller, job_id)
    return await ranges.serve(
        platform.store, found.key, size=found.size_bytes, content_type=found.content_type, wanted=range
    )


@router.post("/{job_id}/cancel", responses=documented(errors.JobNotFound, errors.AlreadyFinished))
async def cancel(job_id: UUID, platform: PlatformDep, caller: CallerDep) -> Cancelled:
    """Cancel a job; asking twice changes nothing. The job and its recording stay until they expire or are deleted."""
    return Cancelled.of(await ending.cancel(platform, caller, job_id))


@router.post(
    "/{job_id}/rerun",
    status_code=202,
    responses=documented(
        errors.JobNotFound, errors.ResultNotReady, errors.JobHasNoResult, errors.AudioDeleted, errors.Invalid,
        errors.UnsupportedOption, errors.IdempotencyKeyReused, errors.StorageUnavailable, account_errors.QuotaExceeded,
    ),
)  # fmt: skip
async def rerun(
    job_id: UUID,
    body: Rerun,
    response: Response,
    platform: PlatformDep,
    caller: CallerDep,
    key: KeyDep,
) -> JobAccepted:
    """Do the last stages of a job anew, without transcribing again: a new job, with a transcript of its own."""
    return accepted(await rerunning.rerun(platform, caller, job_id, body, key=key), response)


@router.get("/{job_id}/receipt", responses=documented(errors.JobNotFound, errors.DatabaseUnavailable))
async def receipt(job_id: UUID, platform: PlatformDep, caller: CallerDep) -> ErasureReceipt:
    """What of an erased job is gone, and since when, whether it was deleted or its time was up."""
    return ErasureReceipt.of(await ending.receipt(platform, caller, job_id))


@router.delete("/{job_id}", responses=documented(errors.JobNotFound, errors.DatabaseUnavailable))
async def delete(job_id: UUID, platform: PlatformDep, caller: CallerDep) -> ErasureReceipt:
    """Erase a job from any state: recording, transcript and everything said or named in it."""
    return ErasureReceipt.of(await ending.erase(platform, caller, job_id))
