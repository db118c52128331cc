"""How an owner ends a job: cancelling keeps it, erasing removes it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from db import job_events, jobs
from db.tables import Job
from domain.access import Caller
from domain.errors import AlreadyFinished, JobNotFound
from domain.lifecycle import ENDED, JobState
from services.platform import Platform
from storage import layout


@dataclass(frozen=True, slots=True)
class Erased:
    """A receipt: what of the job is gone, and since when."""

    job_id: UUID
    complete: bool
    objects_deleted: int
    erased_at: datetime


async def cancel(platform: Platform, caller: Caller, job_id: UUID) -> Job:
    """Cancel a job in any state that can still change. Idempotent; a job that a worker holds ends within seconds.

    Raises JobNotFound, AlreadyFinished.
    """
    async with platform.sessions.begin() as session:
        job = await jobs.cancel_waiting(session, job_id, owner=caller.owner)
        wish = job or await jobs.wish_cancelled(session, job_id, owner=caller.owner)
        found = None if wish else await jobs.get(session, job_id, owner=caller.owner)
    if job is not None:
        await platform.events.publish(job_events.state_event(job, message=job.message))
    if wish is not None:
        return wish
    if found is None:
        raise JobNotFound
    if found[0].state == JobState.CANCELLED:
        return found[0]
    if found[0].state in ENDED:
        raise AlreadyFinished(found[0].state)
    return await cancel(platform, caller, job_id)  # it moved between the two looks: look again


async def erase(platform: Platform, caller: Caller, job_id: UUID) -> Erased:
    """Remove a job with everything that was said in it, from any state.

    To its owner it is gone at once. Where a worker still holds it, the rest goes when the worker lets go, within
    seconds; the receipt says so. Raises JobNotFound.
    """
    async with platform.sessions.begin() as session:
        job = await jobs.wish_erased(session, job_id, owner=caller.owner)
        if job is None:
            raise JobNotFound
        await jobs.cancel_waiting(session, job_id, owner=caller.owner)
    deleted = await purge(platform, job_id, caller.owner)
    return Erased(job_id, complete=deleted is not None, objects_deleted=deleted or 0, erased_at=datetime.now(UTC))


async def purge(platform: Platform, job_id: UUID, owner: str) -> int | None:
    """Leave a tombstone of an ended job, and delete its objects: how many, or None where it has not ended."""
    async with platform.sessions.begin() as session:
        purged = await jobs.purge(session, job_id, owner=owner)
    if purged is None:
        return None
    await platform.events.forget(job_id)
    return await delete_objects(platform, owner, job_id)


async def delete_objects(platform: Platform, owner: str, job_id: UUID) -> int:
    keys = [found.key async for found in platform.store.list(layout.job_prefix(owner, job_id))]
    for key in keys:
        await platform.store.delete(key)
    return len(keys)
