"""What stages reached of a job's text, kept so that nothing is done twice: neither by a retry, nor by a rerun."""

import logging
from collections.abc import Sequence
from uuid import UUID

from pydantic import ValidationError
from zstandard import ZstdError

from domain.errors import DatabaseUnavailable, ObjectNotFound, StorageUnavailable
from domain.transcript import StageReached
from services import attempts, transcripts
from services.attempts import Attempt
from services.platform import Platform
from storage import layout

log = logging.getLogger(__name__)

GIVEN_FENCE = 0
"""In place of a try's fence, of what a job was given by the one that it goes on from."""


async def keep(platform: Platform, attempt: Attempt, reached: StageReached) -> None:
    """Keep it, if that can be done now: without it a retry only takes longer.

    An attempt that has lost its job meanwhile leaves nothing: the job may have been erased.
    """
    try:
        key = await _put(platform, attempt.owner, attempt.job_id, attempt.fence, reached)
        if not await attempts.is_ours(platform, attempt):
            await platform.store.delete(key)
    except (StorageUnavailable, DatabaseUnavailable) as error:
        log.warning("the output of stage %s could not be kept: %s", reached.stage, error.code)


async def give(platform: Platform, owner: str, job_id: UUID, reached: StageReached) -> None:
    """Let a job begin behind a stage. Raises StorageUnavailable."""
    await _put(platform, owner, job_id, GIVEN_FENCE, reached)


async def last_kept(platform: Platform, owner: str, job_id: UUID, order: Sequence[str]) -> StageReached | None:
    """Of the stages in `order`, the last that any try at the job has reached.

    Which try does not matter: all have the same recording and the same options. Raises StorageUnavailable.
    """
    prefix = layout.stages_prefix(owner, job_id)
    keys = {layout.stage_of(found.key): found.key async for found in platform.store.list(prefix)}
    for stage in reversed(order):
        if stage in keys:
            return await _load(platform, keys[stage])
    return None


async def _load(platform: Platform, key: str) -> StageReached | None:
    try:
        return await transcripts.load_stage(platform.store, key)
    except ObjectNotFound:  # deleted since
        return None
    except (ValidationError, ZstdError) as error:  # of another version, or damaged: then it has to be done again
        log.warning("the output of a stage cannot be read: %s", type(error).__name__)
        return None


async def _put(platform: Platform, owner: str, job_id: UUID, fence: int, reached: StageReached) -> str:
    key = layout.stage(owner, job_id, reached.stage, fence)
    await platform.store.put(key, transcripts.compressed_stage(reached))
    return key
