"""Queries on jobs. The caller owns the transaction; every change of state is one guarded UPDATE.

A move that finds its guard broken changes nothing and answers None: somebody else was first. All time is PostgreSQL's
`now()`: the clocks of workers decide nothing.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import bindparam, delete, exists, func, insert, literal, or_, select, tuple_, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from db import answers, outbox
from db.moves import (
    ENDED,
    HELD,
    LOST,
    OF_JOB,
    UNDER_FENCE,
    UNWANTED,
    after,
    change,
    changed,
    move,
    move_back,
    moved,
    table_of,
    tell,
)
from db.tables import Job, JobEvent, Segment, SpeakerEdits, Transcript
from db.video_tables import Run, Video
from domain.lifecycle import MAX_CRASHES, WORKER_CRASHED, JobState

Rows = Sequence[tuple[int, dict[str, Any]]]
"""Segments, each with its number: from 1 within the fence, in order."""

INSERT_TRANSCRIPT = insert(table_of(Transcript))
INSERT = select(Job).from_statement(insert(table_of(Job)).returning(Job))


async def insert_job(session: AsyncSession, transcript: Transcript, **values: Any) -> Job:
    """Record a new job and the first event of its life."""
    about = {name: getattr(transcript, name) for name in ("id", "owner", "session_id", "filename")}
    await session.execute(INSERT_TRANSCRIPT, about)
    given = {"transcript_id": transcript.id, "owner": transcript.owner, **values}
    job: Job = (await session.scalars(INSERT, given)).one()
    await tell(session, job)
    return job


GET = select(Job, Transcript).join(Transcript, Transcript.id == Job.transcript_id).where(OF_JOB)
HERE = (Job.state != JobState.PURGED, Job.erase_requested_at.is_(None))
GET_OWN = GET.where(Job.owner == bindparam("of_owner"), *HERE)


async def get(
    session: AsyncSession, job_id: UUID, *, owner: str | None, lock: bool = False
) -> tuple[Job, Transcript] | None:
    """A job with its transcript; to its owner, one that is erased or about to be is gone.

    `owner=None` is for the platform itself, never for a caller, and finds those too.
    """
    statement = GET if owner is None else GET_OWN
    if lock:
        statement = statement.with_for_update(of=Job)
    row = (await session.execute(statement, {"of_job": job_id, "of_owner": owner})).one_or_none()
    return None if row is None else (row[0], row[1])


async def page(
    session: AsyncSession,
    *,
    owner: str,
    limit: int,
    before: tuple[datetime, UUID] | None,
    session_id: UUID | None = None,
    states: Sequence[JobState] = (),
    engine: str | None = None,
) -> list[tuple[Job, Transcript]]:
    """Jobs of an owner, newest first, from behind `before`; purged ones are not listed."""
    statement = (
        select(Job, Transcript)
        .join(Transcript, Transcript.id == Job.transcript_id)
        .where(Job.owner == owner, *HERE)
        .order_by(Job.created_at.desc(), Job.id.desc())
        .limit(limit)
    )
    if before is not None:
        statement = statement.where(tuple_(Job.created_at, Job.id) < tuple_(literal(before[0]), literal(before[1])))
    if session_id is not None:
        statement = statement.where(Transcript.owner == owner, Transcript.session_id == session_id)
    if states:
        statement = statement.where(Job.state.in_(states))
    if engine is not None:
        statement = statement.where(or_(Job.engine == engine, Transcript.engine == engine))
    return [(job, transcript) for job, transcript in await session.execute(statement)]


# Moves


CLAIM = move(
    "claim",
    Job.run_at <= func.now(),
    ~UNWANTED,
    Job.crash_count < MAX_CRASHES,
    fence=Job.fence + 1,
    lease_until=after("lease"),
    deadline_at=after("floor"),
    started_at=func.coalesce(Job.started_at, func.now()),
    segments_n=0,
    audio_done=None,
    stage=None,
    message=None,
)


async def claim(session: AsyncSession, job_id: UUID, *, worker: str, lease: timedelta, floor: timedelta) -> Job | None:
    """Take a queued job that is due for `worker`, under a new fence."""
    return await moved(session, CLAIM, job_id, worker_id=worker, lease=lease, floor=floor)


class Queued(NamedTuple):
    """A queued job, as far as it matters before the claim."""

    job_id: UUID
    engine_params: dict[str, Any]
    crash_count: int
    is_to_be_fetched: bool


WAITING = select(Job.id, Job.engine_params, Job.crash_count, Job.source_key.is_(None)).where(
    OF_JOB, Job.state == JobState.QUEUED
)


async def waiting(connection: AsyncConnection, job_id: UUID) -> Queued | None:
    """What a claim would find, or None where the job is not queued."""
    row = (await connection.execute(WAITING, {"of_job": job_id})).one_or_none()
    return None if row is None else Queued._make(row)


IS_HELD = select(exists().where(OF_JOB, *HELD))


async def is_held(connection: AsyncConnection, job_id: UUID, fence: int) -> bool:
    """Is the job still worked on under this fence?"""
    return bool(await connection.scalar(IS_HELD, {"of_job": job_id, "held_fence": fence}))


async def held_by(session: AsyncSession, job_id: UUID, *, worker: str) -> Job | None:
    """The job, where `worker` has claimed it and still holds it."""
    held = (Job.id == job_id, Job.state == JobState.PROCESSING, Job.worker_id == worker)
    return (await session.scalars(select(Job).where(*held))).one_or_none()


COMPLETE = move("complete", UNDER_FENCE, ~UNWANTED, audio_done=Job.audio_seconds, stage=None, **ENDED)


async def complete(
    session: AsyncSession,
    job_id: UUID,
    fence: int,
    *,
    result_key: str,
    message: str | None,
    segments: Rows = (),
    **heard: Any,
) -> Job | None:
    """Keep the last segments with the end; `heard` is what the row of the transcript is to say, by its columns."""
    given = {"held_fence": fence, "result_key": result_key, "message": message, **_counted(segments)}
    job = await moved(session, COMPLETE, job_id, heard=heard, **given)
    if job is not None:
        await _keep(session, job, segments)
    return job


async def completed_with(session: AsyncSession, job_id: UUID, result_key: str) -> Job | None:
    """The job, where it was this very result that completed it."""
    return (await session.scalars(select(Job).where(Job.id == job_id, Job.result_key == result_key))).one_or_none()


FAIL = move("fail", UNDER_FENCE, ~UNWANTED, **ENDED)


async def fail(session: AsyncSession, job_id: UUID, fence: int, *, error: dict[str, Any]) -> Job | None:
    return await moved(session, FAIL, job_id, held_fence=fence, error_details=error, message=error["message"])


CANCEL_WORKING = move("cancel_working", UNDER_FENCE, UNWANTED, message="cancelled", **ENDED)


async def cancel_working(session: AsyncSession, job_id: UUID, fence: int) -> Job | None:
    return await moved(session, CANCEL_WORKING, job_id, held_fence=fence)


RETRY = move_back("retry", UNDER_FENCE, attempts=Job.attempts + 1, run_at=after("delay"), message=bindparam("reason"))


async def retry(
    session: AsyncSession, job_id: UUID, fence: int, *, delay: timedelta, error: dict[str, Any], message: str
) -> Job | None:
    """Back to the queue after a transient failure, charged to `attempts`."""
    return await moved(session, RETRY, job_id, held_fence=fence, delay=delay, error_details=error, reason=message)


RELEASE = move_back(
    "release",
    UNDER_FENCE,
    run_at=after("delay"),
    dispatch_no=Job.dispatch_no + 1,
    dispatched_at=func.now(),
    message=bindparam("reason"),
)


async def release(session: AsyncSession, job_id: UUID, fence: int, *, message: str, delay: timedelta) -> Job | None:
    """Back to the queue with nobody charged: the worker shuts down, or what the job needs has gone away."""
    return await moved(session, RELEASE, job_id, held_fence=fence, delay=delay, reason=message)


CHARGED = {"crash_count": Job.crash_count + 1}
RESCUE = move_back("rescue", LOST, run_at=func.now(), message="its worker was lost", **CHARGED)
FAIL_LOST = move("fail", LOST, error_details=WORKER_CRASHED, message=WORKER_CRASHED["message"], **CHARGED, **ENDED)


async def rescue_lost(session: AsyncSession, *, limit: int) -> list[Job]:
    """End the leases that have run out: back to the queue, or failed once the budget for crashes is spent."""
    lost = await session.scalars(
        select(Job)
        .where(Job.state == JobState.PROCESSING, LOST)
        .order_by(Job.lease_until)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ended = []
    for job in lost.all():
        spent = job.crash_count + 1 >= MAX_CRASHES and job.cancel_requested_at is None
        if (after_it := await moved(session, FAIL_LOST if spent else RESCUE, job.id)) is not None:
            ended.append(after_it)
    return ended


OF_OWNER = Job.owner == bindparam("of_owner")
CANCELLED = {"cancel_requested_at": func.now(), "message": "cancelled", **ENDED}
CANCEL_WAITING = tuple(move(name, OF_OWNER, **CANCELLED) for name in ("cancel_waiting", "cancel_pending"))


async def cancel_waiting(session: AsyncSession, job_id: UUID, *, owner: str) -> Job | None:
    """Cancel a job that no worker holds."""
    for statement in CANCEL_WAITING:
        if (job := await moved(session, statement, job_id, of_owner=owner)) is not None:
            return job
    return None


WISH_CANCELLED = change(
    OF_OWNER,
    Job.state == JobState.PROCESSING,
    cancel_requested_at=func.coalesce(Job.cancel_requested_at, func.now()),
)


async def wish_cancelled(session: AsyncSession, job_id: UUID, *, owner: str) -> Job | None:
    """Leave word for the worker that holds the job; a second wish changes nothing."""
    return await changed(session, WISH_CANCELLED, job_id, of_owner=owner)


GIVE_UP = move("give_up", **ENDED)


async def give_up(session: AsyncSession, job_id: UUID, *, error: dict[str, Any]) -> Job | None:
    """Fail a waiting job that no worker can ever take."""
    return await moved(session, GIVE_UP, job_id, error_details=error, message=error["message"])


PURGE = move(
    "purge",
    result_key=None,
    source_key=None,
    message=None,
    error_details=None,
    engine_params={},
    audio_deleted_at=func.coalesce(Job.audio_deleted_at, func.now()),
)
PURGE_OWN = PURGE.where(OF_OWNER)


async def purge(session: AsyncSession, job_id: UUID, *, owner: str | None) -> Job | None:
    """Turn an ended job into a tombstone: ids, times and hashes stay, nothing that a person said or named."""
    if owner is None:
        job = await moved(session, PURGE, job_id)
    else:
        job = await moved(session, PURGE_OWN, job_id, of_owner=owner)
    if job is not None:
        await session.execute(delete(Segment).where(Segment.job_id == job_id))
        await session.execute(delete(SpeakerEdits).where(SpeakerEdits.job_id == job_id))
        await session.execute(delete(JobEvent).where(JobEvent.job_id == job_id))
        await session.execute(delete(Run).where(Run.job_id == job_id))
        await session.execute(delete(Video).where(Video.job_id == job_id))
        await outbox.owe(session, job)
        await outbox.forget_job(session, job_id)
        await answers.forget_job(session, job_id)
        scrubbed = {"filename": None, "session_id": None, "language": None, "updated_at": func.now()}
        await session.execute(update(Transcript).where(Transcript.id == job.transcript_id).values(scrubbed))
    return job


# What a worker says while it holds a job


class Beat(NamedTuple):
    """What the row of a job says to the worker that holds it."""

    unwanted: bool
    overdue: bool


HEARTBEAT = change(*HELD, lease_until=after("lease"), returning=(UNWANTED, Job.deadline_at < func.now()))


async def heartbeat(connection: AsyncConnection, job_id: UUID, fence: int, *, lease: timedelta) -> Beat | None:
    """Renew the lease; None: the job is no longer ours."""
    given = {"of_job": job_id, "held_fence": fence, "lease": lease}
    row = (await connection.execute(HEARTBEAT, given)).one_or_none()
    return None if row is None else Beat._make(row)


NOTE_DECODED = change(*HELD, deadline_at=after("allowed"), returning=(Job.id,))


async def note_decoded(
    connection: AsyncConnection,
    job_id: UUID,
    fence: int,
    *,
    audio_seconds: float,
    content_type: str,
    allowed: timedelta,
) -> bool:
    """Keep what the decoder found, and give the attempt its deadline from the real length of the recording."""
    found = {"audio_seconds": audio_seconds, "content_type": content_type, "allowed": allowed}
    return await connection.scalar(NOTE_DECODED, {"of_job": job_id, "held_fence": fence, **found}) is not None


NOTE_PROGRESS = change(*HELD, updated_at=func.now())


async def note_progress(
    session: AsyncSession,
    job_id: UUID,
    fence: int,
    *,
    stage: str | None,
    audio_done: float | None,
    segments: Rows,
) -> Job | None:
    """Keep segments and how far the engine is."""
    given = {"held_fence": fence, "stage": stage, "audio_done": audio_done, **_counted(segments)}
    job = await changed(session, NOTE_PROGRESS, job_id, **given)
    if job is not None:
        await _keep(session, job, segments)
    return job


def _counted(segments: Rows) -> dict[str, int]:
    return {"segments_n": segments[-1][0]} if segments else {}


KEEP = postgresql.insert(table_of(Segment)).on_conflict_do_nothing(index_elements=["job_id", "fence", "n"])


async def _keep(session: AsyncSession, job: Job, segments: Rows) -> None:
    """Segments may be said again: by a writer that never heard of its commit."""
    about = {"job_id": job.id, "fence": job.fence, "owner": job.owner}
    if segments:
        await session.execute(KEEP, [{**about, "n": n, "segment": segment} for n, segment in segments])


POSTPONE = change(Job.state == JobState.QUEUED, Job.run_at <= func.now(), run_at=after("delay"), updated_at=func.now())


async def postpone(session: AsyncSession, job_id: UUID, *, message: str, delay: timedelta) -> Job | None:
    """Leave a queued job where it is and say why; it is looked at again after `delay`."""
    return await changed(session, POSTPONE, job_id, message=message, delay=delay)
