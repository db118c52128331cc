"""Queries on the jobs of a session as a whole. The caller owns the transaction."""

from collections.abc import Mapping
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from db.jobs import HERE
from db.tables import Job, Transcript
from domain.lifecycle import JobState


async def count_states(session: AsyncSession, session_id: UUID, *, owner: str) -> Mapping[JobState, int]:
    statement = (
        select(Job.state, func.count())
        .join(Transcript, Transcript.id == Job.transcript_id)
        .where(Transcript.owner == owner, Transcript.session_id == session_id, Job.owner == owner, *HERE)
        .group_by(Job.state)
    )
    return {JobState(state): count for state, count in await session.execute(statement)}
