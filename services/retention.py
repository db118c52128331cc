"""What is deleted when. Recordings go a while after their job has ended, never before, and with them what is made of
them: kept stages, videos.
"""

import logging
from datetime import UTC, datetime, timedelta
from uuid import UUID

from db import erasures, sweeps, videos
from services import ending
from services.platform import Platform
from storage import layout
from storage.contract import ListedObject

log = logging.getLogger(__name__)

BATCH = 100


async def erase_expired(platform: Platform) -> int:
    """Wish for the erasure of jobs that have outlived the time that their owner, or the settings, give them."""
    hours = platform.settings.retention.result_hours
    kept = None if hours is None else timedelta(hours=hours)
    async with platform.sessions.begin() as session:
        return await sweeps.wish_expired_erased(session, kept=kept, limit=BATCH)


async def forget_tombstones(platform: Platform) -> int:
    kept = timedelta(hours=platform.settings.retention.tombstone_hours)
    async with platform.sessions.begin() as session:
        return await sweeps.forget_tombstones(session, older_than=kept, limit=BATCH)


async def finish_erasures(platform: Platform) -> int:
    """Purge the jobs whose erasure had to wait for a worker, or was cut short."""
    async with platform.sessions.begin() as session:
        wished = await erasures.to_erase(session, limit=BATCH)
    for job in wished:
        await ending.purge(platform, job.id, job.owner)
    return len(wished)


async def delete_expired_audio(platform: Platform) -> int:
    """Delete recordings that have outlived their job by the time that the settings give them."""
    times = platform.settings.retention
    async with platform.sessions.begin() as session:
        expired = await sweeps.with_expired_audio(
            session,
            kept=timedelta(hours=times.audio_hours),
            failed_kept=timedelta(hours=times.failed_audio_hours),
            limit=BATCH,
        )
    for job in expired:  # in no transaction, as a store may take its time; a rerun that comes now finds it deleted
        if job.source_key is not None:
            await ending.delete_objects(platform, layout.stages_prefix(job.owner, job.id))
            await ending.delete_objects(platform, layout.videos_prefix(job.owner, job.id))
            await platform.store.delete(job.source_key)
    async with platform.sessions.begin() as session:
        await sweeps.note_audio_deleted(session, [job.id for job in expired])
        await videos.note_deleted(session, [job.id for job in expired])
    return len(expired)


async def delete_orphans(platform: Platform) -> int:
    """Delete objects that no row points to and that are too old to belong to a job in the making."""
    age = timedelta(hours=platform.settings.retention.orphan_hours)
    # Parts of an upload go with its job when that expires, not before.
    lasts = timedelta(hours=platform.settings.uploads.expiry_hours + 1)
    await platform.store.delete_unfinished(max(age, lasts).total_seconds())
    deleted, batch = 0, []
    async for found in platform.store.list(layout.ROOT):
        if datetime.now(UTC) - found.modified_at > age:
            batch.append(found)
        if len(batch) >= BATCH:
            deleted += await _delete_unused(platform, batch)
            batch = []
    deleted += await _delete_unused(platform, batch)
    if deleted:
        log.info("%d objects that no job points to were deleted", deleted)
    return deleted


async def _delete_unused(platform: Platform, candidates: list[ListedObject]) -> int:
    job_ids = {job_id for found in candidates if (job_id := layout.job_of(found.key)) is not None}
    async with platform.sessions.begin() as session:
        used = await sweeps.keys_in_use(session, job_ids) | await videos.keys_in_use(session, job_ids)
        staged = await sweeps.with_stages(session, job_ids)
    unused = [found.key for found in candidates if _unused(found.key, used, staged)]
    for key in unused:
        await platform.store.delete(key)
    return len(unused)


def _unused(key: str, used: set[str], staged: set[UUID]) -> bool:
    return used.isdisjoint({key, layout.result_beside(key)}) and not _is_stage_of(key, staged)


def _is_stage_of(key: str, job_ids: set[UUID]) -> bool:
    return layout.stage_of(key) is not None and layout.job_of(key) in job_ids
