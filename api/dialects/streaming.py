"""The streaming dialect: a recording in, its words out as they are heard, as server-sent events with names.

`delta` is one word, `completed` and `error` are the end. The jobs are the platform's: words of any job can be followed
here, and these jobs anywhere else. The texts of all deltas, one behind the other, are the text of the transcript.
"""

import logging
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, replace
from typing import Literal, Self
from uuid import UUID

from fastapi import APIRouter, Request, Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from api import forms
from api.dependencies import FollowerDep, HubDep, PlatformDep, while_allowed
from api.errors import documented
from api.event_streams import STREAMED, LastIdDep, streamed
from api.intake import IntakeDep
from api.schemas import View
from domain import account_errors, errors
from domain.access import Caller
from domain.events import Cursor, Event
from domain.lifecycle import JobState
from domain.transcript import Segment
from services import following, reading
from services.platform import Platform

log = logging.getLogger(__name__)

router = APIRouter(tags=["streaming"])


class StreamingForm(forms.SubmitForm):
    """`file`, and optionally `language`."""


class Submitted(View):
    job_id: UUID
    status: Literal["queued"] = "queued"
    stream_url: str


class Delta(View):
    """A word as the engine heard it."""

    text: str
    start: float
    end: float


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


@dataclass(frozen=True, slots=True)
class Place:
    """How far a client has come, as the `id` of an event: a cursor of the native stream, and the word behind it.

    `words` of segment `n` of attempt `fence` have been told, the last of which ends at `end_ms`.
    """

    cursor: Cursor | None = None
    fence: int = 0
    n: int = 0
    words: int = 0
    end_ms: int = 0

    def __str__(self) -> str:
        return f"{self.cursor or Cursor()}-{self.fence}.{self.n}.{self.words}.{self.end_ms}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """None where it is no id of ours."""
        native, _, rest = text.partition("-")
        cursor, parts = Cursor.parse(native), rest.split(".")
        if cursor is None or len(parts) != 4 or not all(part.isascii() and part.isdigit() for part in parts):
            return None
        return cls(cursor, *(int(part[:15]) for part in parts))

    def has_told(self, event: Event, number: int, delta: Delta) -> bool:
        """Of a word, the `number`-th of its segment: was it told, now or by an attempt that broke off?"""
        if event.fence == self.fence:
            return event.n == self.n and number <= self.words
        return self.fence != 0 and (delta.start + delta.end) / 2 * 1000 <= self.end_ms


async def _told(
    platform: Platform, caller: Caller, events: AsyncGenerator[tuple[Event, Cursor | None]], place: Place
) -> AsyncGenerator[ServerSentEvent]:
    first = place.end_ms == 0 and place.words == 0
    async for event, cursor in events:
        if event.segment is not None:
            broken_off = place  # what an attempt before this one had told, for all words of the segment
            for number, delta in enumerate(deltas(event.segment), start=1):
                if broken_off.has_told(event, number, delta):
                    continue
                place = Place(place.cursor, event.fence or 0, event.n or 0, number, round(delta.end * 1000))
                text = delta.text if first or number > 1 else f" {delta.text}"
                first = False
                yield _event("delta", delta.model_copy(update={"text": text}), place)
        if cursor is not None:
            place = replace(place, cursor=cursor)
        if event.terminal:
            try:
                yield _event(*await _end(platform, caller, event), place)
            except errors.EscribaError as error:  # erased meanwhile, or a server is away: a reconnect is told which
                log.warning("the end of job %s could not be told: %s", event.job_id, error.code)
                return


async def _end(platform: Platform, caller: Caller, event: Event) -> tuple[str, View]:
    if event.status == JobState.COMPLETED:
        kept = await reading.keep_text(platform, caller, event.job_id)
        return "completed", Completed(job_id=event.job_id, transcript_key=kept.key, language=kept.language)
    said = event.error or {"code": str(event.status), "message": event.message or f"the job was {event.status}"}
    return "error", Failed(job_id=event.job_id, status=event.status, code=said["code"], message=said["message"])


def _event(name: str, data: View, place: Place) -> ServerSentEvent:
    return ServerSentEvent(data.model_dump_json(), event=name, id=str(place))


def deltas(segment: Segment) -> Iterator[Delta]:
    """A segment's text, cut behind each of its words; whole where there are none, or where they are not the text's."""
    text, at = segment.text.strip(), 0
    ends: list[int] = []
    for word in segment.words:
        found = text.find(word.text.strip(), at)
        if found < 0:
            ends = []
            break
        at = found + len(word.text.strip())
        ends.append(at)
    if not ends:
        if text:
            yield Delta(text=text, start=segment.start, end=segment.end)
        return
    ends[-1] = len(text)
    for word, begin, end in zip(segment.words, [0, *ends], ends, strict=False):
        yield Delta(text=text[begin:end], start=word.start, end=word.end)
