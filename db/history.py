"""What is durable of a job's course: its events, the segments of its attempts, what was said of its speakers."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import BindParameter, bindparam, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import Job, JobEvent, Segment, SpeakerEdits
from domain.events import Event
from domain.speakers import SpeakerEdits as Edits

# Built once: a thousand clients that come back at a time ask each of these.
OF: BindParameter[UUID] = bindparam("of_job")
BEHIND: BindParameter[int] = bindparam("behind")
EVENTS = select(JobEvent.event).where(JobEvent.job_id == OF, JobEvent.seq > BEHIND).order_by(JobEvent.seq)
SEGMENTS = (
    select(Segment.n, Segment.segment)
    .where(Segment.job_id == OF, Segment.fence == bindparam("under_fence"), Segment.n > BEHIND)
    .order_by(Segment.n)
)
POSITIONS = select(Job.id, Job.seq, Job.fence, Job.segments_n).where(Job.id.in_(bindparam("jobs", expanding=True)))


async def events_after(session: AsyncSession, job_id: UUID, seq: int) -> list[Event]:
    rows = await session.scalars(EVENTS, {"of_job": job_id, "behind": seq})
    return [Event.model_validate(row) for row in rows]


async def segments_after(session: AsyncSession, job_id: UUID, fence: int, n: int) -> list[tuple[int, dict[str, Any]]]:
    rows = await session.execute(SEGMENTS, {"of_job": job_id, "under_fence": fence, "behind": n})
    return [(number, segment) for number, segment in rows]


async def positions(session: AsyncSession, job_ids: Iterable[UUID]) -> dict[UUID, tuple[int, int, int]]:
    """For each job: number of its last event, its fence, and how many segments of that fence are kept."""
    rows = await session.execute(POSITIONS, {"jobs": list(job_ids)})
    return {job_id: (seq, fence, n) for job_id, seq, fence, n in rows}


async def speaker_edits(session: AsyncSession, job_id: UUID) -> Edits:
    found = await session.scalar(select(SpeakerEdits.edits).where(SpeakerEdits.job_id == job_id))
    return Edits() if found is None else Edits.model_validate(found)


async def save_speaker_edits(session: AsyncSession, job_id: UUID, owner: str, edits: Edits) -> None:
    statement = insert(SpeakerEdits).values(job_id=job_id, owner=owner, edits=edits.model_dump(mode="json"))
    newer = {"edits": statement.excluded.edits, "updated_at": func.now()}
    await session.execute(statement.on_conflict_do_update(index_elements=["job_id"], set_=newer))
