"""How an owner ends a job: cancelling keeps it, erasing removes it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Self
from uuid import UUID

from db import erasures, job_events, jobs, sendings
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
    requested_at: datetime
    erased_at: datetime | None
    """None while a worker still holds the job, or an object is still there."""
    objects_deleted: int

    @classmethod
    def of(cls, job: Job) -> Self:
        return cls(job.id, job.erase_requested_at or job.updated_at, job.erased_at, job.objects_deleted or 0)


async def cancel(platform: Platform, caller: Caller, job_id: UUID) -> Job:
    """Cancel a job in any state that can still change. Idempotent; a job that a worker holds ends within seconds.

    Raises JobNotFound, AlreadyFinished.
    """
    async with platform.sessions.begin(owner=caller.owner) as session:
        job = await jobs.cancel_waiting(session, job_id, owner=caller.owner)
        wish = job or await jobs.wish_cancelled(session, job_id, owner=caller.owner)
        found = None if wish else await jobs.get(session, job_id, owner=caller.owner)
    if job is not None:
        await platform.events.publish(job_events.state_event(job, message=job.message))
        if job.source_sha256 is None:
            await drop_parts(platform, job_id, caller.owner)
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
    """Remove a job with everything that was said in it, from any state. Asked again, the receipt is shown again.

    To its owner it is gone at once. Where a worker still holds it, the rest goes when the worker lets go, within
    seconds; the receipt says so. Raises JobNotFound.
    """
    async with platform.sessions.begin(owner=caller.owner) as session:
        job = await erasures.wish_erased(session, job_id, owner=caller.owner)
        if job is not None:
            await jobs.cancel_waiting(session, job_id, owner=caller.owner)
    if job is not None:
        await purge(platform, job_id, caller.owner)
    return await receipt(platform, caller, job_id)


async def receipt(platform: Platform, caller: Caller, job_id: UUID) -> Erased:
    """How far the erasure of a job has got, whoever wished for it. Raises JobNotFound for one that nobody erased."""
    async with platform.sessions.begin(owner=caller.owner) as session:
        job = await erasures.tombstone(session, job_id, owner=caller.owner)
    if job is None:
        raise JobNotFound
    return Erased.of(job)


async def purge(platform: Platform, job_id: UUID, owner: str) -> bool:
    """Leave a tombstone of an ended job, then delete its objects; False where it has not ended.

    A crash in between leaves a tombstone that says that it is not done, for `retention.finish_erasures`.
    """
    async with platform.sessions.begin(owner=owner) as session:
        gone = await jobs.purge(session, job_id, owner=owner) or await erasures.tombstone(session, job_id, owner=owner)
    if gone is None or gone.state != JobState.PURGED:
        return False
    await platform.events.forget(job_id)
    await drop_parts(platform, job_id, owner)  # also where they were joined: a crash may have left some
    prefix = layout.job_prefix(owner, job_id)
    await platform.store.delete_unfinished(0, prefix=prefix)  # of processes that were killed as they wrote
    deleted = await delete_objects(platform, prefix)
    async with platform.sessions.begin(owner=owner) as session:
        await erasures.note_erased(session, job_id, objects_deleted=deleted)
    return True


async def delete_objects(platform: Platform, prefix: str) -> int:
    """How many there were."""
    keys = [found.key async for found in platform.store.list(prefix)]
    for key in keys:
        await platform.store.delete(key)
    return len(keys)


async def drop_parts(platform: Platform, job_id: UUID, owner: str) -> None:
    """Remove what there is of a recording's parts, where it was sent in parts; from here on they will not be joined."""
    async with platform.sessions.alone(owner=owner) as session:
        sending = await sendings.get(session, job_id, owner=owner)
    if sending is not None:
        await platform.store.drop_parts(layout.source(owner, job_id), sending.name)
