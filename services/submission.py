"""From an upload to a queued job."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID, uuid4

from db import job_events, jobs
from db.tables import Transcript
from domain.access import Caller
from domain.capabilities import AUTO
from domain.errors import EmptyMedia, EngineUnavailable, Invalid
from domain.lifecycle import JobOptions, JobState
from services import contexts, engine_reports
from services.platform import Platform
from storage import layout
from storage.contract import StoredObject

LANGUAGE = re.compile(r"[a-zA-Z]{2,3}(-[a-zA-Z0-9]{2,8})*")
"""The shape of a BCP 47 tag; whether an engine knows the language is for the engine to say."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What a caller says of a recording, once the words themselves have been read."""

    options: JobOptions
    session_id: UUID | None = None
    wait: bool = True
    """Whether the job may wait for an engine that is not there now."""


@dataclass(frozen=True, slots=True)
class Receipt:
    job_id: UUID
    transcript_id: UUID
    engine: str
    state: JobState
    message: str


@dataclass(frozen=True, slots=True)
class Kept:
    """A recording that has been stored for a job that does not exist yet."""

    job_id: UUID
    stored: StoredObject


async def check(platform: Platform, caller: Caller, submission: Submission) -> engine_reports.Checked:
    """Refuse what could never run, before a byte of the recording need be read.

    Raises Invalid and its kin, EngineUnavailable where the caller will not wait.
    """
    language = submission.options.language
    if language is not None and not LANGUAGE.fullmatch(language):
        raise Invalid("a language is a BCP 47 tag such as en, en-US or pt-BR", field="language")
    low, high = submission.options.min_speakers, submission.options.max_speakers
    if low is not None and high is not None and low > high:
        raise Invalid("min_speakers is greater than max_speakers", field="min_speakers")
    options = await contexts.freeze(platform, caller, submission.options)
    checked = engine_reports.check(await engine_reports.known(platform), options)
    if checked.waits_for and not submission.wait:
        raise EngineUnavailable(f"{checked.waits_for}; leave out wait=false to queue the job until it is")
    return checked


async def keep(platform: Platform, caller: Caller, media: AsyncIterator[bytes]) -> Kept:
    """Store a recording under a new job's own key. Raises EmptyMedia, and whatever `media` raises."""
    job_id = uuid4()
    key = layout.source(caller.owner, job_id)
    stored = await platform.store.put(key, media)
    if stored.size_bytes == 0:
        await platform.store.delete(key)
        raise EmptyMedia("the file is empty; record or export it again")
    return Kept(job_id, stored)


async def discard(platform: Platform, kept: Kept) -> None:
    """Forget a recording that no job will use."""
    await platform.store.delete(kept.stored.key)


async def submit(
    platform: Platform, caller: Caller, submission: Submission, kept: Kept, *, filename: str | None
) -> Receipt:
    """Record the job, then ring for a worker, in that order.

    A crash between two steps leaves nothing worse than an unused object, which `services.retention` deletes after a
    day, or a job that nobody was told of, which the sweeper rings for again.
    """
    checked = await check(platform, caller, submission)
    transcript = Transcript(id=uuid4(), owner=caller.owner, session_id=submission.session_id, filename=filename)
    async with platform.sessions.begin() as session:
        recorded = await jobs.insert_job(
            session,
            transcript,
            id=kept.job_id,
            engine=checked.options.engine,
            engine_params=checked.options.model_dump(mode="json", exclude_none=True),
            max_retries=platform.settings.workers.max_retries,
            message=checked.waits_for,
            source_key=kept.stored.key,
            source_bytes=kept.stored.size_bytes,
            source_sha256=kept.stored.sha256,
        )
    await platform.queue.ring(recorded.id, recorded.dispatch_no)
    await platform.events.publish(job_events.state_event(recorded, message=recorded.message))
    return Receipt(
        recorded.id, transcript.id, recorded.engine, recorded.state, checked.waits_for or _welcome(recorded.engine)
    )


def _welcome(engine: str) -> str:
    name = "Transcription" if engine == AUTO else f"{engine.upper()} transcription"
    return f"{name} job enqueued successfully"
