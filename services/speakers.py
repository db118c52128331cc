"""Speakers as people have named, merged and cast them."""

from uuid import UUID

from db import history, jobs
from domain.access import Caller
from domain.errors import JobHasNoResult, JobNotFound
from domain.speakers import SpeakerChanges, SpeakerEdits
from domain.transcript import Transcript
from services import transcripts
from services.platform import Platform


async def edits_of(platform: Platform, caller: Caller, job_id: UUID) -> SpeakerEdits:
    async with platform.sessions.alone(owner=caller.owner) as session:
        return await history.speaker_edits(session, job_id)


async def _heard(platform: Platform, caller: Caller, job_id: UUID) -> Transcript:
    async with platform.sessions.alone(owner=caller.owner) as session:
        found = await jobs.get(session, job_id, owner=caller.owner)
    if found is None:
        raise JobNotFound
    job, _ = found
    if job.result_key is None:
        raise JobHasNoResult(job.state, None)
    return await transcripts.load(platform.store, job.result_key)


async def edit(platform: Platform, caller: Caller, job_id: UUID, changes: SpeakerChanges) -> SpeakerEdits:
    """Add to what has been said of a transcript's speakers. Raises JobNotFound, JobHasNoResult, Invalid."""
    heard = await _heard(platform, caller, job_id)  # in no transaction, as a store may take its time
    async with platform.sessions.begin(owner=caller.owner) as session:
        if await jobs.get(session, job_id, owner=caller.owner, lock=True) is None:
            raise JobNotFound
        edits = (await history.speaker_edits(session, job_id)).with_changes(changes, heard)
        await history.save_speaker_edits(session, job_id, caller.owner, edits)
    return edits
