"""One attempt at a job: claim, heartbeat, complete, fail, release. Nothing else moves a processing job.

Every call but `claim` carries the fence that the claim gave out; a call that answers None, or False, found that the
job is no longer this worker's: whatever it was about to say has been said by somebody else.
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Self
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from db import job_events, jobs, lanes, usage
from db.lanes import Room
from db.tables import Job
from domain.errors import DatabaseUnavailable, EscribaError
from domain.events import Event
from domain.lifecycle import QUARANTINE_AFTER, JobOptions, JobState, retry_delay, time_allowed
from domain.transcript import Segment
from domain.transcript import Transcript as Heard
from services import transcripts
from services.platform import Platform
from storage import layout

CLAIM_AGAIN_SECONDS = 0.5

POSTPONED = timedelta(seconds=5)
"""How soon a job whose engine is away is looked at again."""


Numbered = tuple[int, Segment]
"""A segment and its number: from 1 within the fence, in order."""


@dataclass(frozen=True, slots=True)
class Pinned:
    """The object that is a job's recording, and which bytes it has to have."""

    key: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a claim gives out: everything a worker needs, read once, so that a retry uses what the row froze."""

    job_id: UUID
    transcript_id: UUID
    owner: str
    fence: int
    attempts: int
    max_retries: int
    options: JobOptions
    recording: Pinned | None
    """None: it is to be fetched first."""
    waited: float
    """Seconds since the job could begin or, where it was begun before, since then; by PostgreSQL's clock."""

    def is_tried_again(self, *, retryable: bool) -> bool:
        """Whether another try follows a failure that the same call may survive later."""
        return retryable and self.attempts < self.max_retries


class Standing(StrEnum):
    OURS = "ours"
    CANCEL = "cancel"
    """Ours, and its owner wishes it cancelled."""
    OVERDUE = "overdue"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queued job, as it is seen before the claim."""

    job_id: UUID
    engine_params: dict[str, Any]
    suspect: bool
    """Whether it has cost so many workers their lives that it must be tried alone."""
    is_to_be_fetched: bool
    """Whether its recording has yet to come from where its owner says it is."""

    @property
    def options(self) -> JobOptions:
        """Raises pydantic's ValidationError where another version of the platform has made the job."""
        return JobOptions.model_validate(self.engine_params)

    @classmethod
    def of(cls, found: jobs.Queued) -> Self:
        return cls(
            found.job_id,
            found.engine_params,
            suspect=found.crash_count >= QUARANTINE_AFTER,
            is_to_be_fetched=found.is_to_be_fetched,
        )


async def next_due(platform: Platform, room: Room) -> Waiting | None:
    """The job that goes next, of those that there is room for: by lanes, and within a lane by turns of its owners.

    Another worker may choose the same one. Its claim then answers None, and whoever asks again is told of the next.
    """
    async with platform.sessions.directly() as connection:
        found = await lanes.next_due(connection, room)
    return None if found is None else Waiting.of(found)


async def look(platform: Platform, job_id: UUID) -> Waiting | None:
    """A queued job, or None where there is nothing to claim."""
    async with platform.sessions.directly() as connection:
        found = await jobs.waiting(connection, job_id)
    return None if found is None else Waiting.of(found)


async def claim(platform: Platform, job_id: UUID, *, worker: str) -> Attempt | None:
    """Take a queued job that is due, or return None: another was first, or it is not to be had.

    Where the database goes away at the commit, the claim may have come through: it is asked for again until that is
    known, so a worker must not claim a job twice at a time.
    """
    unsure = False
    while True:
        try:
            job = await _claim(platform, job_id, worker, unsure=unsure)
            break
        except DatabaseUnavailable:
            unsure = True
            await asyncio.sleep(CLAIM_AGAIN_SECONDS)
    if job is None:
        return None
    await platform.events.publish(job_events.state_event(job, message="started"))
    return Attempt(
        job_id=job.id,
        transcript_id=job.transcript_id,
        owner=job.owner,
        fence=job.fence,
        attempts=job.attempts,
        max_retries=job.max_retries,
        options=JobOptions.model_validate(job.engine_params),
        recording=_pinned(job),
        waited=(job.updated_at - (job.run_at if job.fence == 1 else job.started_at or job.run_at)).total_seconds(),
    )


def _pinned(job: Job) -> Pinned | None:
    if job.source_key is None or job.source_sha256 is None:
        return None
    return Pinned(job.source_key, job.source_sha256)


async def _claim(platform: Platform, job_id: UUID, worker: str, *, unsure: bool) -> Job | None:
    floor = timedelta(seconds=platform.settings.workers.deadline_floor_seconds)
    async with platform.sessions.begin() as session:
        job = await jobs.claim(session, job_id, worker=worker, lease=lease(platform), floor=floor)
        if job is None and unsure:
            job = await jobs.held_by(session, job_id, worker=worker)
    return job


def lease(platform: Platform) -> timedelta:
    return timedelta(seconds=platform.settings.workers.lease_seconds)


async def postpone(platform: Platform, job_id: UUID, *, reason: str) -> None:
    """Leave a job in the queue with a message for whoever asks why it waits."""
    async with platform.sessions.begin() as session:
        job = await jobs.postpone(session, job_id, message=reason, delay=POSTPONED)
    if job is not None:
        await platform.events.publish(
            job_events.state_event(job, message=reason).model_copy(update={"type": "progress", "seq": None})
        )


async def give_up(platform: Platform, job_id: UUID, *, code: str, reason: str) -> bool:
    """Fail a waiting job that no engine will ever be able to hear as it was asked for."""
    async with platform.sessions.begin() as session:
        job = await jobs.give_up(session, job_id, error={"code": code, "message": reason})
    return await _announce(platform, job)


async def heartbeat(platform: Platform, attempt: Attempt) -> Standing:
    async with platform.sessions.directly() as connection:
        beat = await jobs.heartbeat(connection, attempt.job_id, attempt.fence, lease=lease(platform))
    if beat is None:
        return Standing.LOST
    if beat.unwanted:
        return Standing.CANCEL
    return Standing.OVERDUE if beat.overdue else Standing.OURS


async def is_ours(platform: Platform, attempt: Attempt) -> bool:
    """Has nobody else taken the job, or ended it?"""
    async with platform.sessions.directly() as connection:
        return await jobs.is_held(connection, attempt.job_id, attempt.fence)


async def is_completed(platform: Platform, attempt: Attempt) -> bool:
    """Is the job complete, and by this attempt? Then it is no longer held, and yet not lost."""
    key = layout.result(attempt.owner, attempt.job_id, attempt.fence)
    async with platform.sessions.begin() as session:
        return await jobs.completed_with(session, attempt.job_id, key) is not None


async def note_decoded(platform: Platform, attempt: Attempt, *, seconds: float, content_type: str) -> bool:
    limits = platform.settings.workers
    allowed = time_allowed(
        seconds,
        floor=timedelta(seconds=limits.deadline_floor_seconds),
        per_audio_second=limits.deadline_per_audio_second,
    )
    job_id, fence = attempt.job_id, attempt.fence
    async with platform.sessions.directly() as connection:
        return await jobs.note_decoded(
            connection, job_id, fence, audio_seconds=seconds, content_type=content_type, allowed=allowed
        )


async def note_progress(
    platform: Platform,
    attempt: Attempt,
    *,
    stage: str | None,
    audio_done: float | None,
    segments: Sequence[Numbered],
) -> bool:
    """Keep segments and progress, then announce the segments."""
    async with platform.sessions.begin() as session:
        job = await jobs.note_progress(
            session, attempt.job_id, attempt.fence, stage=stage, audio_done=audio_done, segments=_rows(segments)
        )
    if job is None:
        return False
    for n, segment in segments:
        await platform.events.publish(segment_event(job, n, segment))
    return True


def _rows(segments: Sequence[Numbered]) -> jobs.Rows:
    return [(n, segment.model_dump(mode="json")) for n, segment in segments]


def segment_event(job: Job, n: int, segment: Segment) -> Event:
    """Whoever looks at nothing but the status must not take the last segments, kept with the end, for the end."""
    about = job_events.state_event(job)
    still = {"status": JobState.PROCESSING, "progress": min(99, about.progress)}
    return about.model_copy(update={"type": "segment", "seq": None, "n": n, "segment": segment, "error": None, **still})


async def complete(
    platform: Platform,
    attempt: Attempt,
    heard: Heard,
    *,
    unkept: Sequence[Numbered] = (),
    engine_seconds: float | None = None,
) -> bool:
    """Save the transcript under this attempt's own key, and let the row name the winner.

    `unkept` are the segments that no `note_progress` has kept; `engine_seconds` is what the engine took for all of it,
    None where it took up what was there. Asked again after an answer that was lost, this finds its own work done.
    Cancelled, it leaves no object that no row names.
    """
    key = layout.result(attempt.owner, attempt.job_id, attempt.fence)
    try:
        await platform.store.put(key, transcripts.compressed(heard))
    except asyncio.CancelledError:
        await asyncio.shield(platform.store.delete(key))  # it may have been through
        raise
    naming = asyncio.create_task(_name_result(platform, attempt, heard, key, unkept, engine_seconds))
    try:
        return await asyncio.shield(naming)
    except asyncio.CancelledError:
        await asyncio.gather(naming, return_exceptions=True)  # a commit that is cut off is one that nobody knows of
        raise


async def _name_result(
    platform: Platform,
    attempt: Attempt,
    heard: Heard,
    key: str,
    unkept: Sequence[Numbered],
    engine_seconds: float | None,
) -> bool:
    async with platform.sessions.begin() as session:
        job = await jobs.complete(
            session,
            attempt.job_id,
            attempt.fence,
            result_key=key,
            message=None,
            segments=_rows(unkept),
            language=heard.language,
            duration=heard.duration,
            engine=heard.engine,
            engine_reason=heard.engine_reason,
            engine_seconds=engine_seconds,
            model=heard.model,
            segments_count=len(heard.segments),
        )
        job = job or await jobs.completed_with(session, attempt.job_id, key)
        if job is not None:
            await usage.record(
                session,
                job.id,
                owner=job.owner,
                profile_id=job.profile_id,
                engine=heard.engine,
                audio_seconds=0.0 if attempt.options.stages else heard.duration,  # a rerun does not hear it again
            )
    if job is None:
        await platform.store.delete(key)
        return False
    for n, segment in unkept:
        await platform.events.publish(segment_event(job, n, segment))
    await platform.events.publish(completed_event(job, heard))
    return True


def completed_event(job: Job, heard: Heard) -> Event:
    summary = {"segments_count": len(heard.segments), "duration": heard.duration}
    return job_events.state_event(job).model_copy(update={"result": summary})


async def fail(platform: Platform, attempt: Attempt, error: EscribaError, *, retryable: bool) -> bool:
    """End the attempt: back to the queue where the same call may succeed later and tries are left, else failed."""
    details: dict[str, Any] = {"code": error.code, "message": str(error)}
    async with platform.sessions.begin() as session:
        if attempt.is_tried_again(retryable=retryable):
            delay = retry_delay(attempt.attempts, random.uniform(0.5, 1.5))  # noqa: S311  # spreads load, keeps no secret
            message = f"waiting to try again ({attempt.attempts + 1} of {attempt.max_retries}): {error}"
            job = await jobs.retry(session, attempt.job_id, attempt.fence, delay=delay, error=details, message=message)
        else:
            job = await jobs.fail(session, attempt.job_id, attempt.fence, error=details)
            job = job or await jobs.cancel_working(session, attempt.job_id, attempt.fence)
        await _count_cancelled(session, job, attempt)
    return await _announce(platform, job)


async def release(platform: Platform, attempt: Attempt, *, reason: str, delay: timedelta = timedelta(0)) -> bool:
    """Give the job back, charged to nobody."""
    async with platform.sessions.begin() as session:
        job = await jobs.release(session, attempt.job_id, attempt.fence, message=reason, delay=delay)
        await _count_cancelled(session, job, attempt)
    if job is not None and job.state == JobState.QUEUED and not delay:
        await platform.queue.ring(job.id, job.dispatch_no)
    return await _announce(platform, job)


async def cancel(platform: Platform, attempt: Attempt) -> bool:
    async with platform.sessions.begin() as session:
        job = await jobs.cancel_working(session, attempt.job_id, attempt.fence)
        await _count_cancelled(session, job, attempt)
    return await _announce(platform, job)


async def _count_cancelled(session: AsyncSession, job: Job | None, attempt: Attempt) -> None:
    """What was heard was told as it came, and is used, though the end was never waited for."""
    if job is None or job.state != JobState.CANCELLED or not job.audio_done or attempt.options.stages:
        return
    await usage.record(
        session,
        job.id,
        owner=job.owner,
        profile_id=job.profile_id,
        engine=job.engine,
        audio_seconds=job.audio_done,
    )


async def _announce(platform: Platform, job: Job | None) -> bool:
    if job is None:
        return False
    await platform.events.publish(job_events.state_event(job, message=job.message))
    return True
