"""Jobs and transcripts as their owner may see them."""

import base64
import binascii
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from db import job_events, jobs
from db.tables import Job, Transcript
from domain.access import Caller
from domain.errors import AudioDeleted, Invalid, JobHasNoResult, JobNotFound, ObjectNotFound, ResultNotReady
from domain.events import Event
from domain.intake_errors import AudioNotThere
from domain.lifecycle import ENDED, JobState
from domain.recording_errors import NotRun
from domain.transcript import Transcript as Heard
from services import speakers, transcripts
from services.platform import Platform
from storage import layout

LARGEST_PAGE = 200


@dataclass(frozen=True, slots=True)
class Status:
    """A job as it stands: the state from PostgreSQL, the fine grain of its progress from Redis where that is newer."""

    job: Job
    transcript: Transcript
    event: Event


@dataclass(frozen=True, slots=True)
class Page:
    items: Sequence[Status]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Result:
    job: Job
    transcript: Transcript
    heard: Heard
    """With the speakers as their owner has edited them."""
    names: dict[int, str]
    """Names that a person gave to speakers."""
    audio_url: str | None
    """Absolute, or a path of our own API; None once the recording has been deleted."""

    @property
    def labels(self) -> dict[int, str]:
        """What exports call the speakers: by name, else by role, else by number."""
        roles = {int(tag): role.capitalize() for tag, role in self.heard.speaker_roles.items()}
        return roles | self.names


@dataclass(frozen=True, slots=True)
class Audio:
    key: str
    size_bytes: int
    content_type: str


async def find(platform: Platform, caller: Caller, job_id: UUID) -> tuple[Job, Transcript]:
    """Raises JobNotFound."""
    async with platform.sessions.alone(owner=caller.owner) as session:
        found = await jobs.get(session, job_id, owner=caller.owner)
    if found is None:
        raise JobNotFound
    return found


async def status(platform: Platform, caller: Caller, job_id: UUID) -> Status:
    job, transcript = await find(platform, caller, job_id)
    event = standing(job, transcript)
    if job.state == JobState.PROCESSING:
        event = _with_latest(event, await platform.events.latest(job_id))
    return Status(job, transcript, event)


def standing(job: Job, transcript: Transcript) -> Event:
    """The row as an event: what a follower is shown first."""
    event = job_events.state_event(job, message=job.message)
    changed: dict[str, object] = {"type": "snapshot", "engine": transcript.engine or job.engine}
    if job.state == JobState.COMPLETED:
        changed["result"] = {"segments_count": transcript.segments_count, "duration": transcript.duration}
    return event.model_copy(update=changed)


def _with_latest(event: Event, latest: Event | None) -> Event:
    """Progress may be newer in Redis; it counts only if it is of the same attempt."""
    if latest is None or latest.status != event.status or latest.fence != event.fence:
        return event
    finer = {
        name: getattr(latest, name)
        for name in ("progress", "stage", "message", "audio_done", "audio_total", "eta_seconds")
    }
    return event.model_copy(update={name: value for name, value in finer.items() if value is not None})


async def page(
    platform: Platform,
    caller: Caller,
    *,
    limit: int,
    cursor: str | None,
    session_id: UUID | None,
    states: Sequence[JobState],
    engine: str | None,
) -> Page:
    before = None if cursor is None else _parse_cursor(cursor)
    async with platform.sessions.alone(owner=caller.owner) as session:
        found = await jobs.page(
            session,
            owner=caller.owner,
            limit=limit + 1,
            before=before,
            session_id=session_id,
            states=states,
            engine=engine,
        )
    shown = found[:limit]
    more = _cursor_of(shown[-1][0]) if len(found) > limit else None
    return Page([Status(job, transcript, standing(job, transcript)) for job, transcript in shown], more)


def _cursor_of(job: Job) -> str:
    return base64.urlsafe_b64encode(f"{job.created_at.isoformat()} {job.id}".encode()).decode()


def _parse_cursor(cursor: str) -> tuple[datetime, UUID]:
    try:
        moment, job_id = base64.urlsafe_b64decode(cursor.encode()).decode().split(" ")
        created_at = datetime.fromisoformat(moment)
        if created_at.tzinfo is None:
            raise ValueError
        return created_at.astimezone(UTC), UUID(job_id)
    except (binascii.Error, ValueError, OverflowError) as error:
        raise Invalid("this cursor is not one of ours; take next_cursor of the page before", field="cursor") from error


async def transcribed(platform: Platform, caller: Caller, job_id: UUID) -> tuple[Job, Transcript]:
    """A job that has a transcript. Raises JobNotFound, ResultNotReady, JobHasNoResult."""
    job, transcript = await find(platform, caller, job_id)
    if job.state == JobState.PENDING:
        raise NotRun
    if job.state not in ENDED:
        raise ResultNotReady(job.state)
    if job.state != JobState.COMPLETED or job.result_key is None:
        raise JobHasNoResult(job.state, (job.error_details or {}).get("message"))
    return job, transcript


async def result(platform: Platform, caller: Caller, job_id: UUID) -> Result:
    """Raises JobNotFound, ResultNotReady, JobHasNoResult."""
    job, transcript = await transcribed(platform, caller, job_id)
    assert job.result_key is not None
    edits = await speakers.edits_of(platform, caller, job_id)
    heard = edits.apply(await transcripts.load(platform.store, job.result_key))
    return Result(job, transcript, heard, edits.names, await _audio_url(platform, job, transcript))


async def unread_result(platform: Platform, caller: Caller, job_id: UUID) -> tuple[Result, AsyncGenerator[bytes]]:
    """The result without its segments, and the end of its JSON: `,"segments":[…],"text":"…"}`, to be closed.

    Raises JobNotFound, ResultNotReady, JobHasNoResult.
    """
    job, transcript = await transcribed(platform, caller, job_id)
    assert job.result_key is not None
    edits, audio_url = await speakers.edits_of(platform, caller, job_id), await _audio_url(platform, job, transcript)
    if edits.merged:  # which every word says
        unread = transcripts.unread(edits.apply(await transcripts.load(platform.store, job.result_key)))
    else:
        unread = await transcripts.open_unread(platform.store, job.result_key)
    return Result(job, transcript, edits.apply(unread.about), edits.names, audio_url), unread.rest


@dataclass(frozen=True, slots=True)
class KeptText:
    key: str
    language: str | None


async def keep_text(platform: Platform, caller: Caller, job_id: UUID) -> KeptText:
    """See that the plain text of a result is an object beside it, for who fetches it from the store.

    Raises JobNotFound, ResultNotReady, JobHasNoResult.
    """
    job, transcript = await transcribed(platform, caller, job_id)
    assert job.result_key is not None
    key = layout.text_beside(job.result_key)
    try:
        await platform.store.size(key)
    except ObjectNotFound:
        heard = await transcripts.load(platform.store, job.result_key)
        await platform.store.put(key, _whole(heard.text.encode()))
        try:
            await transcribed(platform, caller, job_id)
        except JobNotFound:  # erased meanwhile
            await platform.store.delete(key)
            raise
    return KeptText(key, transcript.language)


async def _whole(body: bytes) -> AsyncIterator[bytes]:
    yield body


async def _audio_url(platform: Platform, job: Job, transcript: Transcript) -> str | None:
    if job.source_key is None:
        return None
    return await platform.store.link(
        job.source_key,
        seconds=platform.settings.storage.link_ttl_seconds,
        content_type=_served_as(job),
        filename=transcript.filename or f"{job.id}",
    )


def _served_as(job: Job) -> str:
    """The type that the decoder found, never the one that an uploader claimed."""
    return job.content_type or "application/octet-stream"


async def audio(platform: Platform, caller: Caller, job_id: UUID) -> Audio:
    """Raises JobNotFound, AudioNotThere, AudioDeleted."""
    job, _ = await find(platform, caller, job_id)
    if job.source_key is None or job.source_bytes is None:
        raise AudioDeleted if job.audio_deleted_at is not None else AudioNotThere
    return Audio(job.source_key, await platform.store.size(job.source_key), _served_as(job))


def read(
    platform: Platform, audio: Audio, *, start: int, length: int
) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
    return platform.store.open(audio.key, start=start, length=length)
