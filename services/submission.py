"""From an upload to a queued job."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncSession

from db import job_events, jobs, recording_urls
from db.tables import Job, Transcript
from domain.access import Caller, Scope
from domain.account_errors import MissingScope
from domain.capabilities import AUTO
from domain.errors import (
    AudioDeleted,
    DatabaseUnavailable,
    EmptyMedia,
    EngineUnavailable,
    EscribaError,
    Invalid,
    ObjectNotFound,
)
from domain.lanes import Lane
from domain.lifecycle import JobOptions, JobState
from messaging import audio_url
from services import contexts, ending, engine_reports, once, usage
from services.platform import Platform
from storage import layout
from storage.contract import StoredObject

LONGEST_KEPT_SECONDS = 10 * 366 * 24 * 3600

LANGUAGE = re.compile(r"[a-zA-Z]{2,3}(-[a-zA-Z0-9]{2,8})*")
"""The shape of a BCP 47 tag; whether an engine knows the language is for the engine to say."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What a caller says of a recording, once the words themselves have been read."""

    options: JobOptions
    session_id: UUID | None = None
    delete_after_seconds: int | None = None
    """Erase the job so long after its end."""
    wait: bool = True
    """Whether the job may wait for an engine that is not there now."""
    max_retries: int | None = None
    """Tries after a transient failure; as the settings have it where None."""
    lane: Lane | None = None
    """None: nothing was said."""

    @property
    def identity(self) -> dict[str, Any]:
        """What makes two of them the same."""
        said = {} if self.lane is None else {"lane": self.lane}
        return {
            "options": self.options.model_dump(mode="json"),
            "session_id": self.session_id,
            "delete_after": self.delete_after_seconds,
            **said,
        }


@dataclass(frozen=True, slots=True)
class Approved:
    """A submission that was held against what engines say of themselves."""

    submission: Submission
    options: JobOptions
    """With the words of its context."""
    waits_for: str | None
    """Why no worker can begin now, or None where one can."""


@dataclass(frozen=True, slots=True)
class Receipt:
    job_id: UUID
    transcript_id: UUID
    engine: str
    state: JobState
    message: str
    replayed: bool = False
    """Whether this answers a request that had been answered before."""

    @classmethod
    def of(cls, job: Job, approved: Approved) -> Self:
        return cls(job.id, job.transcript_id, job.engine, job.state, approved.waits_for or _welcome(job.engine))

    def to_json(self) -> dict[str, str]:
        return {
            "job_id": str(self.job_id),
            "transcript_id": str(self.transcript_id),
            "engine": self.engine,
            "state": self.state,
            "message": self.message,
        }

    @classmethod
    def from_json(cls, kept: dict[str, str]) -> Self:
        ids = UUID(kept["job_id"]), UUID(kept["transcript_id"])
        return cls(*ids, kept["engine"], JobState(kept["state"]), kept["message"], replayed=True)


Beside = Callable[[AsyncSession, Job], Awaitable[None]]
"""Records what else is to be there if the job is, in its transaction; what it raises undoes both."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A recording that has been stored for a job that does not exist yet."""

    job_id: UUID
    stored: StoredObject

    @property
    def identity(self) -> dict[str, str]:
        """What makes two of them the same."""
        return {"recording": self.stored.sha256}


@dataclass(frozen=True, slots=True)
class Linked:
    """A recording that a worker is to fetch for a job that does not exist yet."""

    url: str = field(repr=False)
    job_id: UUID = field(default_factory=uuid4)

    @property
    def identity(self) -> dict[str, str]:
        return {"audio_url": self.url}


Recording = Kept | Linked


async def check(platform: Platform, caller: Caller, submission: Submission, *, besides: UUID | None = None) -> Approved:
    """Refuse what could never run, before a byte of the recording need be read.

    `besides` is the job that this is asked for, where there is one already.
    Raises MissingScope, Invalid and its kin, QuotaExceeded, EngineUnavailable where the caller will not wait.
    """
    if submission.lane is not None and not may_take(caller, submission.lane):
        raise MissingScope(Scope.INTERACTIVE, instead="leave lane out, or say normal or bulk")
    language = submission.options.language
    if language is not None and not LANGUAGE.fullmatch(language):
        raise Invalid("a language is a BCP 47 tag such as en, en-US or pt-BR", field="language")
    _refuse_contradictions(submission.options)
    await usage.refuse_early(platform, caller, besides=besides)
    options = await contexts.freeze(platform, caller, submission.options)
    checked = engine_reports.check(await engine_reports.known(platform), options)
    if checked.waits_for and not submission.wait:
        raise EngineUnavailable(f"{checked.waits_for}; send wait=true to queue the job until it is")
    return Approved(submission, checked.options, checked.waits_for)


def may_take(caller: Caller, lane: Lane) -> bool:
    return lane != Lane.INTERACTIVE or Scope.INTERACTIVE in caller.scopes


def _refuse_contradictions(options: JobOptions) -> None:
    exactly, low, high = options.num_speakers, options.min_speakers, options.max_speakers
    if low is not None and high is not None and low > high:
        raise Invalid("min_speakers is greater than max_speakers", field="min_speakers")
    if exactly is not None and not (low or 1) <= exactly <= (high or exactly):
        raise Invalid(
            "num_speakers is not between min_speakers and max_speakers; leave these out", field="num_speakers"
        )
    counts = {"num_speakers": exactly, "min_speakers": low, "max_speakers": high}
    said = [name for name, count in counts.items() if count is not None]
    # A rerun without speakers has its parent's counts, which are no wish of its own.
    if said and options.enable_diarization is False and not options.stages:
        raise Invalid(f"with enable_diarization=false no speakers are told apart: leave {said[0]} out", field=said[0])


async def keep(platform: Platform, caller: Caller, media: AsyncIterator[bytes]) -> Kept:
    """Store a recording under a new job's own key. Raises EmptyMedia, and whatever `media` raises."""
    job_id = uuid4()
    key = layout.source(caller.owner, job_id)
    stored = await platform.store.put(key, media)
    if stored.size_bytes == 0:
        await platform.store.delete(key)
        raise EmptyMedia("the file is empty; record or export it again")
    return Kept(job_id, stored)


async def keep_copy(platform: Platform, caller: Caller, source_key: str) -> Kept:
    """Store the recording of another job for a new one, so that either can be erased without the other.

    Raises AudioDeleted.
    """
    try:
        async with platform.store.open(source_key) as media:
            return await keep(platform, caller, media)
    except ObjectNotFound:
        raise AudioDeleted from None


def link(platform: Platform, url: str) -> Linked:
    """A recording that is to be fetched. Nobody is asked yet: whoever answers for the URL hears from a worker.

    Raises AudioUrlRefused.
    """
    audio_url.parse(url, platform.settings.audio_urls)
    return Linked(url)


async def discard(platform: Platform, caller: Caller, kept: Recording) -> None:
    """Forget what was stored for a job that will not be."""
    if isinstance(kept, Kept):
        await ending.delete_objects(platform, layout.job_prefix(caller.owner, kept.job_id))


@asynccontextmanager
async def discarding(platform: Platform, caller: Caller, kept: Kept) -> AsyncIterator[None]:
    """Within this, an error discards what was stored; but not where the database is away, as the row may be there."""
    try:
        yield
    except EscribaError as error:
        if not isinstance(error, DatabaseUnavailable):
            await discard(platform, caller, kept)
        raise


async def submit(
    platform: Platform,
    caller: Caller,
    submission: Submission,
    kept: Recording,
    *,
    filename: str | None,
    parent: UUID | None = None,
    key: once.Key | None = None,
    approved: Approved | None = None,
    request: str | None = None,
    beside: Beside | None = None,
) -> Receipt:
    """Record the job, then ring for a worker, in that order.

    With a key that was answered before, the answer of then: no job is made, and `kept` is discarded. What was
    `approved` before the upload is not looked at again, unless more has been said since. A crash between
    two steps leaves nothing worse than an unused object, which `services.retention` deletes after a day, or a job that
    nobody was told of, which the sweeper rings for again. `request` is what makes two requests the same, where that is
    not what is submitted. Raises what `check` raises, IdempotencyKeyReused, QuotaExceeded, and what `beside` raises.
    """
    request = request or _fingerprint(submission, kept, filename)
    if key is not None and (receipt := await _answered_before(platform, caller, key, request, kept)):
        return receipt
    if approved is None or approved.submission != submission:
        approved = await check(platform, caller, submission)
    quota = await usage.quota_of(platform, caller)
    transcript = Transcript(id=uuid4(), owner=caller.owner, session_id=submission.session_id, filename=filename)
    try:
        async with platform.sessions.begin(owner=caller.owner) as session:
            await usage.check_quota(session, caller, quota)
            recorded = await record(
                session,
                transcript,
                approved,
                kept,
                beside,
                parent_job_id=parent,
                profile_id=caller.profile_id,
                delete_after_seconds=submission.delete_after_seconds,
                max_retries=_max_retries(platform, submission),
                lane=submission.lane or Lane.NORMAL,
            )
            receipt = Receipt.of(recorded, approved)
            if key is not None:
                await once.remember(session, caller, key, request, receipt.to_json())
    except once.AnsweredBefore:  # by a request that ran beside this one
        assert key is not None
        answer = await _answered_before(platform, caller, key, request, kept)
        assert answer is not None, "an answer is remembered for days"
        return answer
    await platform.queue.ring(recorded.id, recorded.dispatch_no)
    await platform.events.publish(job_events.state_event(recorded, message=recorded.message))
    return receipt


def _max_retries(platform: Platform, submission: Submission) -> int:
    return platform.settings.workers.max_retries if submission.max_retries is None else submission.max_retries


def _fingerprint(submission: Submission, kept: Recording, filename: str | None) -> str:
    return once.fingerprint(filename=filename, **submission.identity, **kept.identity)


async def _answered_before(
    platform: Platform, caller: Caller, key: once.Key, request: str, kept: Recording
) -> Receipt | None:
    answer = await once.answer_before(platform, caller, key, request)
    if answer is None:
        return None
    await discard(platform, caller, kept)
    return Receipt.from_json(answer)


async def record(
    session: AsyncSession,
    transcript: Transcript,
    approved: Approved,
    kept: Recording,
    beside: Beside | None = None,
    **values: Any,
) -> Job:
    """Insert the rows of a job; `values` are further columns of it."""
    if isinstance(kept, Kept):
        stored = kept.stored
        values |= {"source_key": stored.key, "source_bytes": stored.size_bytes, "source_sha256": stored.sha256}
    job = await jobs.insert_job(
        session,
        transcript,
        id=kept.job_id,
        engine=approved.options.engine,
        engine_params=approved.options.model_dump(mode="json", exclude_none=True),
        message=approved.waits_for,
        **values,
    )
    if isinstance(kept, Linked):
        await recording_urls.keep(session, job, kept.url)
    if beside is not None:
        await beside(session, job)
    return job


def _welcome(engine: str) -> str:
    name = "Transcription" if engine == AUTO else f"{engine.upper()} transcription"
    return f"{name} job enqueued successfully"
