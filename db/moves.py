"""How a job is moved: one guarded UPDATE, the durable event that tells of it, and what an end takes along.

Statements are built once, when their module is loaded: to build one anew, and to find that it was sent before, costs as
much processor time as to send it. What a call gives goes in by name: the name of a column sets that column, any other
is one that the statement asks for.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Interval, Table, Update, bindparam, case, delete, func, insert, or_, update
from sqlalchemy.ext.asyncio import AsyncSession

from db import answers, outbox
from db.job_events import state_event
from db.tables import Job, JobEvent, RecordingUrl, Transcript
from domain.lifecycle import MOVES, TERMINAL, JobState

SOURCES = {name: sorted({move.source for move in MOVES if move.name == name}) for name in {move.name for move in MOVES}}
TARGETS = {move.name: move.target for move in MOVES}

UNWANTED = Job.cancel_requested_at.is_not(None)
LOST = Job.lease_until < func.now()

OF_JOB = Job.id == bindparam("of_job")
UNDER_FENCE = Job.fence == bindparam("held_fence")
HELD = (Job.state == JobState.PROCESSING, UNDER_FENCE)

ENDED: Mapping[str, Any] = MappingProxyType({"completed_at": func.now(), "lease_until": None, "deadline_at": None})
NOTHING: Mapping[str, Any] = MappingProxyType({})


def table_of(entity: Any) -> Table:
    """For what is written and not looked at again, which is a third cheaper past the ORM."""
    table = entity.__table__
    assert isinstance(table, Table)
    return table


TRANSCRIPTS = table_of(Transcript)

TELL = insert(table_of(JobEvent))
END_TRANSCRIPT = (
    update(TRANSCRIPTS)
    .where(TRANSCRIPTS.c.id == bindparam("of_transcript"))
    .values(updated_at=func.now())
    .returning(outbox.IS_LISTENED_TO, answers.IS_WAITED_FOR)
)


FORGET_URL = delete(RecordingUrl).where(RecordingUrl.job_id == bindparam("of_job"))


def after(name: str) -> ColumnElement[Any]:
    """So long from now as a call says by `name`."""
    return func.now() + bindparam(name, type_=Interval())


def change(*guards: ColumnElement[bool], returning: Sequence[Any] = (Job,), **values: Any) -> Update:
    """The UPDATE of one job that is no move, and what it answers."""
    statement = update(Job).where(OF_JOB, *guards).values(values).returning(*returning)
    return statement.execution_options(populate_existing=True, synchronize_session=False)


def move(name: str, *guards: ColumnElement[bool], **values: Any) -> Update:
    """The guarded UPDATE of a move of the table in `domain.lifecycle`."""
    sources = or_(*(Job.state == source for source in SOURCES[name]))
    values = {"state": TARGETS[name], "seq": Job.seq + 1, "updated_at": func.now(), **values}
    return change(sources, *guards, **values)


def move_back(name: str, *guards: ColumnElement[bool], message: Any, **values: Any) -> Update:
    """To the queue; where a cancel is wished for, the same UPDATE cancels instead."""
    unwanted: dict[str, Any] = {
        "state": case((UNWANTED, JobState.CANCELLED), else_=TARGETS[name]),
        "completed_at": case((UNWANTED, func.now()), else_=None),
        "message": case((UNWANTED, "cancelled"), else_=message),
    }
    cleared = {"worker_id": None, "lease_until": None, "deadline_at": None, "stage": None}
    return move(name, *guards, **values, **cleared, **unwanted)


async def changed(session: AsyncSession, statement: Update, job_id: UUID, **given: Any) -> Job | None:
    """The job after a `change`, or None where a guard is broken."""
    return (await session.scalars(statement, {"of_job": job_id, **given})).one_or_none()


async def moved(
    session: AsyncSession, statement: Update, job_id: UUID, *, heard: Mapping[str, Any] = NOTHING, **given: Any
) -> Job | None:
    """The job after a `move`, told of; where that ended it, the row of its transcript says so, and what was `heard`."""
    job = await changed(session, statement, job_id, **given)
    if job is None:
        return None
    await tell(session, job)
    if job.state in TERMINAL:
        about = {"of_transcript": job.transcript_id, "listener": job.owner, "asked_by": job.id}
        listened, waited = (await session.execute(END_TRANSCRIPT, {**about, "status": job.state, **heard})).one()
        if listened:
            await outbox.owe(session, job)
        if waited:
            await answers.owe(session, job)
        if job.source_key is None:  # it never came, so its URL is still there
            await session.execute(FORGET_URL, {"of_job": job_id})
    return job


async def tell(session: AsyncSession, job: Job) -> None:
    event = state_event(job, message=job.message).model_dump(mode="json", exclude_none=True)
    await session.execute(TELL, {"job_id": job.id, "seq": job.seq, "owner": job.owner, "event": event})
