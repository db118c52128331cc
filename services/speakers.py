"""Speakers as people have named, merged and cast them."""

from uuid import UUID

from db import history, jobs
from domain.access import Caller
from domain.errors import JobHasNoResult, JobNotFound
from domain.speakers import SpeakerChanges, SpeakerEdits
from services import transcripts
from services.platform import Platform


async def edits_of(platform: Platform, job_id: UUID) -> SpeakerEdits:
    async with platform.sessions.alone() as session:
        return await history.speaker_edits(session, job_id)


async def edit(platform: Platform, caller: Caller, job_id: UUID, changes: SpeakerChanges) -> SpeakerEdits:
    """Add to what has been said of a transcript's speakers. Raises JobNotFound, JobHasNoResult, Invalid."""
    async with platform.sessions.begin() as session:
        found = await jobs.get(session, job_id, owner=caller.owner, lock=True)
        if found is None:
            raise JobNotFound
        job, _ = found
        if job.result_key is None:
            raise JobHasNoResult(job.state, None)
        heard = await transcripts.load(platform.store, job.result_key)
        edits = (await history.speaker_edits(session, job_id)).with_changes(changes, heard)
        await history.save_speaker_edits(session, job_id, caller.owner, edits)
    return edits
