"""The streaming dialect: a recording in, its words out as they are heard, as server-sent events with names.

`delta` is one word, `completed` and `error` are the end. The jobs are the platform's: words of any job can be followed
here, and these jobs anywhere else. The texts of all deltas, one behind the other, are the text of the transcript.
"""

import logging
from collections.abc import AsyncGenerator
from typing import Literal
from uuid import UUID

from fastapi import APIRouter, Request, Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from api import forms
from api.dependencies import FollowerDep, HubDep, PlatformDep, while_allowed
from api.dialects.words import Delta, Place, as_heard, why_ended
from api.errors import documented
from api.event_streams import STREAMED, LastIdDep, streamed
from api.intake import IntakeDep
from api.schemas import View
from domain import account_errors, errors
from domain.access import Caller
from domain.events import Event
from domain.lifecycle import JobState
from services import following, reading
from services.following import Told
from services.platform import Platform

log = logging.getLogger(__name__)

router = APIRouter(tags=["streaming"])


class StreamingForm(forms.SubmitForm):
    """`file`, and optionally `language`."""


class Submitted(View):
    job_id: UUID
    status: Literal["queued"] = "queued"
    stream_url: str


class Completed(View):
    job_id: UUID
    transcript_key: str
    language: str | None


class Failed(View):
    job_id: UUID
    status: JobState
    code: str
    message: str


@router.post(
    "/transcribe",
    status_code=202,
    responses=documented(
        errors.MalformedUpload, errors.MissingFile, errors.Invalid, errors.UnsupportedLanguage, errors.EmptyMedia,
        errors.TooLarge, errors.EngineUnavailable, errors.StorageUnavailable, account_errors.QuotaExceeded,
    ),
    openapi_extra=forms.openapi_body(StreamingForm),
)  # fmt: skip
async def submit(intake: IntakeDep) -> Submitted:
    """Send a recording; then follow `stream_url`. 202: it is on disk."""
    accepted = await intake.take(StreamingForm)
    return Submitted(job_id=accepted.job_id, stream_url=f"/transcribe/{accepted.job_id}")


@router.get(
    "/transcribe/{job_id}",
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
    """The words of a job as they are heard, to its end.

    A reconnect with `Last-Event-ID` goes on behind the last word, also when another worker has begun anew meanwhile;
    where nothing is left to tell it is answered 204.
    """
    place = Place.parse(last_id) or Place()
    events = await following.open_stream(platform, hub, caller, job_id, place.cursor)
    if events is None:
        return Response(status_code=204)
    return streamed(_told(platform, caller, while_allowed(request, caller, events), place))


async def _told(
    platform: Platform, caller: Caller, events: AsyncGenerator[Told], place: Place
) -> AsyncGenerator[ServerSentEvent]:
    async for said, reached in as_heard(events, place):
        if isinstance(said, Delta):
            yield _event("delta", said, reached)
            continue
        try:
            yield _event(*await _end(platform, caller, said), reached)
        except errors.EscribaError as error:  # erased meanwhile, or a server is away: a reconnect is told which
            log.warning("the end of job %s could not be told: %s", said.job_id, error.code)
            return


async def _end(platform: Platform, caller: Caller, event: Event) -> tuple[str, View]:
    if event.status == JobState.COMPLETED:
        kept = await reading.keep_text(platform, caller, event.job_id)
        return "completed", Completed(job_id=event.job_id, transcript_key=kept.key, language=kept.language)
    code, message = why_ended(event)
    return "error", Failed(job_id=event.job_id, status=event.status, code=code, message=message)


def _event(name: str, data: View, place: Place) -> ServerSentEvent:
    return ServerSentEvent(data.model_dump_json(), event=name, id=str(place))
