"""Recordings that wait: given first, and run when their owner says how. Until then their job is `pending`.

A job that waits counts for its owner's quota, can be cancelled and erased like any other, and expires.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncSession

from db import job_events, jobs, uploads
from db.tables import Job, Transcript
from domain.access import Caller
from domain.errors import JobNotFound
from domain.lanes import Lane
from domain.lifecycle import JobOptions, JobState
from domain.recording_errors import NotPending, UploadUnfinished
from services import ending, once, reading, submission, usage
from services.platform import Platform
from services.submission import Approved, Kept, Receipt, Submission
from storage import layout
from storage.contract import StoredObject

BATCH = 100

Also = Callable[[AsyncSession, Job], Awaitable[None]]

WAITS = "the recording waits to be run"
IS_TO_COME = "the recording is still to come"


async def receive(
    platform: Platform,
    caller: Caller,
    kept: Kept,
    *,
    filename: str | None,
    key: once.Key | None = None,
) -> Receipt:
    """Record a job for a recording that is stored, and leave it at that.

    With a key that was answered before, the answer of then, and `kept` is discarded. A crash in between leaves an
    unused object. Raises QuotaExceeded, IdempotencyKeyReused.
    """
    request = once.fingerprint(waits=kept.stored.sha256, filename=filename)
    if key is not None and (answer := await once.answer_before(platform, caller, key, request)):
        await submission.discard(platform, caller, kept)
        return Receipt.from_json(answer)
    try:
        return await expect(
            platform, caller, kept.job_id, filename=filename, stored=kept.stored, key=key, request=request
        )
    except once.AnsweredBefore:  # by a request that ran beside this one
        return await receive(platform, caller, kept, filename=filename, key=key)


async def expect(
    platform: Platform,
    caller: Caller,
    job_id: UUID,
    *,
    filename: str | None,
    wanted: Submission | None = None,
    stored: StoredObject | None = None,
    also: Also | None = None,
    key: once.Key | None = None,
    request: str = "",
) -> Receipt:
    """Record a job that waits for its recording, which is to lie under the job's own key.

    With `stored` it lies there already, and is pinned; `wanted` is what is said of it already; `also` is done in the
    same transaction. Raises QuotaExceeded, AnsweredBefore, and what `also` raises.
    """
    quota = await usage.quota_of(platform, caller)
    wanted = wanted or Submission(JobOptions(engine=platform.settings.engines.default_engine))
    transcript = Transcript(id=uuid4(), owner=caller.owner, session_id=wanted.session_id, filename=filename)
    async with platform.sessions.begin(owner=caller.owner) as session:
        await usage.check_quota(session, caller, quota)
        job = await jobs.insert_job(
            session,
            transcript,
            id=job_id,
            state=JobState.PENDING,
            engine=wanted.options.engine,
            engine_params=_as_row(wanted.options),
            message=IS_TO_COME if stored is None else WAITS,
            source_key=layout.source(caller.owner, job_id),
            source_bytes=None if stored is None else stored.size_bytes,
            source_sha256=None if stored is None else stored.sha256,
            profile_id=caller.profile_id,
            delete_after_seconds=wanted.delete_after_seconds,
            max_retries=platform.settings.workers.max_retries,
            lane=wanted.lane or Lane.NORMAL,
        )
        if also is not None:
            await also(session, job)
        receipt = Receipt(job.id, job.transcript_id, job.engine, job.state, job.message or "")
        if key is not None:
            await once.remember(session, caller, key, request, receipt.to_json())
    return receipt


def _as_row(options: JobOptions) -> dict[str, Any]:
    return options.model_dump(mode="json", exclude_none=True)


async def run(
    platform: Platform,
    caller: Caller,
    job_id: UUID,
    wanted: Submission,
    *,
    stored: StoredObject | None = None,
    key: once.Key | None = None,
) -> Receipt:
    """Queue a job that waits, then ring for a worker, in that order; who follows it already, follows on.

    `stored` is what has come since, and is pinned. The limits and options are looked at now. With a key that was
    answered before, the answer of then. A crash in between leaves a job that the sweeper rings for. Raises JobNotFound,
    NotPending, UploadUnfinished, what `submission.check` raises, QuotaExceeded and IdempotencyKeyReused.
    """
    request = request_of(job_id, wanted)
    job, _ = await reading.find(platform, caller, job_id)  # before the answer: who sees it run sees what was answered
    if key is not None and (answer := await once.answer_before(platform, caller, key, request)):
        return Receipt.from_json(answer)
    if job.state != JobState.PENDING:
        raise NotPending(job.state)
    if job.source_sha256 is None and stored is None:
        raise UploadUnfinished
    approved = await submission.check(platform, caller, wanted, besides=job_id)
    try:
        queued, receipt = await _finalise(platform, caller, job_id, approved, stored, key, request)
    except (once.AnsweredBefore, NotPending):  # by a request that ran beside this one
        return await run(platform, caller, job_id, wanted, stored=stored, key=key)
    await platform.queue.ring(queued.id, queued.dispatch_no)
    await platform.events.publish(job_events.state_event(queued, message=queued.message))
    return receipt


def request_of(job_id: UUID, wanted: Submission) -> str:
    """What makes two wishes to run a recording the same."""
    return once.fingerprint(run=job_id, **wanted.identity)


async def _finalise(
    platform: Platform,
    caller: Caller,
    job_id: UUID,
    approved: Approved,
    stored: StoredObject | None,
    key: once.Key | None,
    request: str,
) -> tuple[Job, Receipt]:
    quota = await usage.quota_of(platform, caller)
    async with platform.sessions.begin(owner=caller.owner) as session:
        await usage.check_quota(session, caller, quota, besides=job_id)
        if stored is not None:
            await uploads.pin(session, job_id, owner=caller.owner, size_bytes=stored.size_bytes, sha256=stored.sha256)
        job = await uploads.finalise(
            session, job_id, owner=caller.owner, session_id=approved.submission.session_id, **_wanted(approved)
        )
        if job is not None:
            receipt = Receipt.of(job, approved)
            if key is not None:
                await once.remember(session, caller, key, request, receipt.to_json())
            return job, receipt
        found = await jobs.get(session, job_id, owner=caller.owner)
    if found is None:
        raise JobNotFound
    raise NotPending(found[0].state)


def _wanted(approved: Approved) -> dict[str, Any]:
    """By the columns of a job's row."""
    options, submission = approved.options, approved.submission
    wanted = {"engine": options.engine, "engine_params": _as_row(options), "message": approved.waits_for}
    said = {"delete_after_seconds": submission.delete_after_seconds, "lane": submission.lane}
    return {**wanted, **{name: value for name, value in said.items() if value is not None}}


async def expire(platform: Platform) -> int:
    """End the jobs that nobody has run in time, and delete what there is of their recordings.

    A crash in between leaves objects that no row points to, for `retention.delete_orphans`.
    """
    kept = timedelta(hours=platform.settings.uploads.expiry_hours)
    async with platform.sessions.begin() as session:
        expired = await uploads.expire(session, older_than=kept, limit=BATCH)
    for job in expired:
        await platform.events.publish(job_events.state_event(job, message=job.message))
    for job in expired:
        await ending.drop_parts(platform, job.id, job.owner)
        await ending.delete_objects(platform, layout.job_prefix(job.owner, job.id))
    return len(expired)
