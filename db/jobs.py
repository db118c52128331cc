"""Queries on jobs. The caller owns the transaction; every change of state is one guarded UPDATE.

A move that finds its guard broken changes nothing and answers None: somebody else was first. All time is PostgreSQL's
`now()`: the clocks of workers decide nothing.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, case, delete, func, insert, literal, or_, select, tuple_, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncSession

from db import outbox
from db.job_events import state_event
from db.tables import Job, JobEvent, Segment, SpeakerEdits, Transcript
from domain.lifecycle import MAX_CRASHES, MOVES, TERMINAL, WORKER_CRASHED, JobState

SOURCES = {name: sorted({move.source for move in MOVES if move.name == name}) for name in {move.name for move in MOVES}}
TARGETS = {move.name: move.target for move in MOVES}

UNWANTED = Job.cancel_requested_at.is_not(None)
LOST = Job.lease_until < func.now()

Rows = Sequence[tuple[int, dict[str, Any]]]
"""Segments, each with its number: from 1 within the fence, in order."""

NOTHING: Mapping[str, Any] = MappingProxyType({})


async def insert_job(session: AsyncSession, transcript: Transcript, **values: Any) -> Job:
    """Record a new job and the first event of its life."""
    session.add(transcript)
    await session.flush()
    statement = insert(Job).values(transcript_id=transcript.id, owner=transcript.owner, **values).returning(Job)
    job = (await session.scalars(statement)).one()
    await _record(session, job, message=job.message)
    return job


async def get(
    session: AsyncSession, job_id: UUID, *, owner: str | None, lock: bool = False
) -> tuple[Job, Transcript] | None:
    """A job with its transcript; to its owner, one that is erased or about to be is gone.

    `owner=None` is for the platform itself, never for a caller, and finds those too.
    """
    statement = select(Job, Transcript).join(Transcript, Transcript.id == Job.transcript_id).where(Job.id == job_id)
    if owner is not None:
        here = (Job.state != JobState.PURGED, Job.erase_requested_at.is_(None))
        statement = statement.where(Job.owner == owner, *here)
    if lock:
        statement = statement.with_for_update(of=Job)
    row = (await session.execute(statement)).one_or_none()
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
        .where(Job.owner == owner, Job.state != JobState.PURGED, Job.erase_requested_at.is_(None))
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


async def claim(session: AsyncSession, job_id: UUID, *, worker: str, lease: timedelta, floor: timedelta) -> Job | None:
    """Take a queued job that is due for `worker`, under a new fence."""
    return await _move(
        session,
        "claim",
        job_id,
        Job.run_at <= func.now(),
        ~UNWANTED,
        Job.crash_count < MAX_CRASHES,
        fence=Job.fence + 1,
        worker_id=worker,
        lease_until=func.now() + lease,
        deadline_at=func.now() + floor,
        started_at=func.coalesce(Job.started_at, func.now()),
        segments_n=0,
        audio_done=None,
        stage=None,
        message=None,
    )


async def held_by(session: AsyncSession, job_id: UUID, *, worker: str) -> Job | None:
    """The job, where `worker` has claimed it and still holds it."""
    held = (Job.id == job_id, Job.state == JobState.PROCESSING, Job.worker_id == worker)
    return (await session.scalars(select(Job).where(*held))).one_or_none()


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
    job = await _move(
        session,
        "complete",
        job_id,
        Job.fence == fence,
        ~UNWANTED,
        heard=heard,
        result_key=result_key,
        audio_done=Job.audio_seconds,
        message=message,
        stage=None,
        **_counted(segments),
        **_ended(),
    )
    if job is not None:
        await _keep(session, job, segments)
    return job


async def completed_with(session: AsyncSession, job_id: UUID, result_key: str) -> Job | None:
    """The job, where it was this very result that completed it."""
    return (await session.scalars(select(Job).where(Job.id == job_id, Job.result_key == result_key))).one_or_none()


async def fail(session: AsyncSession, job_id: UUID, fence: int, *, error: dict[str, Any]) -> Job | None:
    return await _move(
        session,
        "fail",
        job_id,
        Job.fence == fence,
        ~UNWANTED,
        error_details=error,
        message=error["message"],
        **_ended(),
    )


async def cancel_working(session: AsyncSession, job_id: UUID, fence: int) -> Job | None:
    return await _move(session, "cancel_working", job_id, Job.fence == fence, UNWANTED, message="cancelled", **_ended())


async def retry(
    session: AsyncSession, job_id: UUID, fence: int, *, delay: timedelta, error: dict[str, Any], message: str
) -> Job | None:
    """Back to the queue after a transient failure, charged to `attempts`."""
    return await _return(
        session,
        "retry",
        job_id,
        Job.fence == fence,
        attempts=Job.attempts + 1,
        run_at=func.now() + delay,
        error_details=error,
        message=message,
    )


async def release(session: AsyncSession, job_id: UUID, fence: int, *, message: str, delay: timedelta) -> Job | None:
    """Back to the queue with nobody charged: the worker shuts down, or what the job needs has gone away."""
    return await _return(
        session,
        "release",
        job_id,
        Job.fence == fence,
        run_at=func.now() + delay,
        dispatch_no=Job.dispatch_no + 1,
        dispatched_at=func.now(),
        message=message,
    )


async def rescue_lost(session: AsyncSession, *, limit: int) -> list[Job]:
    """End the leases that have run out: back to the queue, or failed once the budget for crashes is spent."""
    lost = await session.scalars(
        select(Job)
        .where(Job.state == JobState.PROCESSING, LOST)
        .order_by(Job.lease_until)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    moved = []
    for job in lost.all():
        spent = job.crash_count + 1 >= MAX_CRASHES and job.cancel_requested_at is None
        if spent:
            changed = await _move(
                session,
                "fail",
                job.id,
                LOST,
                crash_count=Job.crash_count + 1,
                error_details=WORKER_CRASHED,
                message=WORKER_CRASHED["message"],
                **_ended(),
            )
        else:
            changed = await _return(
                session,
                "rescue",
                job.id,
                LOST,
                crash_count=Job.crash_count + 1,
                run_at=func.now(),
                message="its worker was lost",
            )
        if changed is not None:
            moved.append(changed)
    return moved


async def cancel_waiting(session: AsyncSession, job_id: UUID, *, owner: str) -> Job | None:
    """Cancel a job that no worker holds."""
    for name in ("cancel_waiting", "cancel_pending"):
        job = await _move(
            session, name, job_id, Job.owner == owner, cancel_requested_at=func.now(), message="cancelled", **_ended()
        )
        if job is not None:
            return job
    return None


async def wish_cancelled(session: AsyncSession, job_id: UUID, *, owner: str) -> Job | None:
    """Leave word for the worker that holds the job; a second wish changes nothing."""
    statement = (
        update(Job)
        .where(Job.id == job_id, Job.owner == owner, Job.state == JobState.PROCESSING)
        .values(cancel_requested_at=func.coalesce(Job.cancel_requested_at, func.now()))
        .returning(Job)
    )
    return await _one(session, statement)


async def give_up(session: AsyncSession, job_id: UUID, *, error: dict[str, Any]) -> Job | None:
    """Fail a waiting job that no worker can ever take."""
    return await _move(session, "give_up", job_id, error_details=error, message=error["message"], **_ended())


async def purge(session: AsyncSession, job_id: UUID, *, owner: str | None) -> Job | None:
    """Turn an ended job into a tombstone: ids, times and hashes stay, nothing that a person said or named."""
    guards = [] if owner is None else [Job.owner == owner]
    job = await _move(
        session,
        "purge",
        job_id,
        *guards,
        result_key=None,
        source_key=None,
        message=None,
        error_details=None,
        engine_params={},
        audio_deleted_at=func.coalesce(Job.audio_deleted_at, func.now()),
    )
    if job is not None:
        await session.execute(delete(Segment).where(Segment.job_id == job_id))
        await session.execute(delete(SpeakerEdits).where(SpeakerEdits.job_id == job_id))
        await session.execute(delete(JobEvent).where(JobEvent.job_id == job_id))
        await outbox.owe(session, job)
        await outbox.forget_job(session, job_id)
        scrubbed = {"filename": None, "session_id": None, "language": None, "updated_at": func.now()}
        await session.execute(update(Transcript).where(Transcript.id == job.transcript_id).values(scrubbed))
    return job


# What a worker says while it holds a job


async def heartbeat(session: AsyncSession, job_id: UUID, fence: int, *, lease: timedelta) -> Job | None:
    """Renew the lease. The row says whether a cancel is wished for; None: the job is no longer ours."""
    statement = (
        update(Job)
        .where(Job.id == job_id, Job.fence == fence, Job.state == JobState.PROCESSING)
        .values(lease_until=func.now() + lease)
        .returning(Job)
    )
    return await _one(session, statement)


async def is_overdue(session: AsyncSession, job_id: UUID) -> bool:
    return bool(await session.scalar(select(Job.deadline_at < func.now()).where(Job.id == job_id)))


async def note_decoded(
    session: AsyncSession, job_id: UUID, fence: int, *, audio_seconds: float, content_type: str, allowed: timedelta
) -> Job | None:
    """Keep what the decoder found, and give the attempt its deadline from the real length of the recording."""
    statement = (
        update(Job)
        .where(Job.id == job_id, Job.fence == fence, Job.state == JobState.PROCESSING)
        .values(audio_seconds=audio_seconds, content_type=content_type, deadline_at=func.now() + allowed)
        .returning(Job)
    )
    return await _one(session, statement)


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
    statement = (
        update(Job)
        .where(Job.id == job_id, Job.fence == fence, Job.state == JobState.PROCESSING)
        .values(stage=stage, audio_done=audio_done, updated_at=func.now(), **_counted(segments))
        .returning(Job)
    )
    job = await _one(session, statement)
    if job is not None:
        await _keep(session, job, segments)
    return job


def _counted(segments: Rows) -> dict[str, int]:
    return {"segments_n": segments[-1][0]} if segments else {}


async def _keep(session: AsyncSession, job: Job, segments: Rows) -> None:
    """Segments may be said again: by a writer that never heard of its commit."""
    about = {"job_id": job.id, "fence": job.fence, "owner": job.owner}
    if segments:
        once = postgresql.insert(Segment).on_conflict_do_nothing(index_elements=["job_id", "fence", "n"])
        await session.execute(once, [{**about, "n": n, "segment": segment} for n, segment in segments])


async def postpone(session: AsyncSession, job_id: UUID, *, message: str, delay: timedelta) -> Job | None:
    """Leave a queued job where it is and say why; it is looked at again after `delay`."""
    statement = (
        update(Job)
        .where(Job.id == job_id, Job.state == JobState.QUEUED, Job.run_at <= func.now())
        .values(run_at=func.now() + delay, message=message, updated_at=func.now())
        .returning(Job)
    )
    return await _one(session, statement)


# How a move is made


def _ended() -> dict[str, Any]:
    return {"completed_at": func.now(), "lease_until": None, "deadline_at": None}


async def _move(
    session: AsyncSession,
    name: str,
    job_id: UUID,
    *guards: ColumnElement[bool],
    heard: Mapping[str, Any] = NOTHING,
    **values: Any,
) -> Job | None:
    return await _apply(session, name, job_id, guards, {"state": TARGETS[name], **values}, heard)


async def _return(
    session: AsyncSession, name: str, job_id: UUID, *guards: ColumnElement[bool], **values: Any
) -> Job | None:
    """A move back to the queue; where a cancel is wished for, the same UPDATE cancels instead."""
    unwanted: dict[str, Any] = {
        "state": case((UNWANTED, JobState.CANCELLED), else_=TARGETS[name]),
        "completed_at": case((UNWANTED, func.now()), else_=None),
        "message": case((UNWANTED, "cancelled"), else_=values.pop("message")),
    }
    cleared = {"worker_id": None, "lease_until": None, "deadline_at": None, "stage": None}
    return await _apply(session, name, job_id, guards, {**values, **cleared, **unwanted})


async def _apply(
    session: AsyncSession,
    name: str,
    job_id: UUID,
    guards: Sequence[ColumnElement[bool]],
    values: dict[str, Any],
    heard: Mapping[str, Any] = NOTHING,
) -> Job | None:
    statement = (
        update(Job)
        .where(Job.id == job_id, Job.state.in_(SOURCES[name]), *guards)
        .values(seq=Job.seq + 1, updated_at=func.now(), **values)
        .returning(Job)
    )
    job = await _one(session, statement)
    if job is None:
        return None
    await _record(session, job, message=job.message)
    if job.state in TERMINAL:
        known = {"status": job.state, "updated_at": func.now(), **heard}
        ended = update(Transcript).where(Transcript.id == job.transcript_id).values(known)
        if await session.scalar(ended.returning(outbox.is_listened_to(job.owner))):
            await outbox.owe(session, job)
    return job


async def _one(session: AsyncSession, statement: Any) -> Job | None:
    """Run an UPDATE … RETURNING of one job, past what this session may remember of it."""
    options = {"populate_existing": True, "synchronize_session": False}
    return (await session.scalars(statement, execution_options=options)).one_or_none()


async def _record(session: AsyncSession, job: Job, *, message: str | None) -> None:
    event = state_event(job, message=message)
    await session.execute(
        insert(JobEvent).values(
            job_id=job.id, seq=job.seq, owner=job.owner, event=event.model_dump(mode="json", exclude_none=True)
        )
    )
