"""Recordings that a worker fetches: brought into the store once, and from then on the same bytes for every try."""

from db import recording_urls, sweeps
from domain.errors import EmptyMedia, ObjectNotFound
from messaging import audio_url
from services.attempts import Attempt
from services.platform import Platform
from storage import layout
from storage.contract import StoredObject


async def bring_in(platform: Platform, attempt: Attempt) -> StoredObject:
    """Fetch the recording of a job into the store, under a key of this attempt's own.

    Raises ObjectNotFound where nobody knows where from, EmptyMedia, StorageUnavailable, and what `audio_url.opened`
    raises.
    """
    async with platform.sessions.directly() as connection:
        url = await recording_urls.of_job(connection, attempt.job_id)
    if url is None:
        raise ObjectNotFound
    settings = platform.settings
    key = layout.fetched(attempt.owner, attempt.job_id, attempt.fence)
    async with audio_url.opened(url, settings.audio_urls, largest_bytes=settings.api.max_file_size_bytes) as chunks:
        stored = await platform.store.put(key, chunks)
    if stored.size_bytes == 0:
        await platform.store.delete(key)
        raise EmptyMedia("the audio_url's server sent no bytes; check what it leads to")
    return stored


async def pin(platform: Platform, attempt: Attempt, stored: StoredObject) -> bool:
    """Make what was fetched the job's recording; False: the job is no longer ours, and what was fetched is deleted."""
    job_id, key = attempt.job_id, stored.key
    async with platform.sessions.begin() as session:
        pinned = await recording_urls.pin(
            session, job_id, attempt.fence, key=key, size_bytes=stored.size_bytes, sha256=stored.sha256
        )
        # It may have been before, by a commit that we never heard of; then the next attempt works with it.
        used = pinned or key in await sweeps.keys_in_use(session, [job_id])
    if not used:
        await platform.store.delete(key)
    return pinned
