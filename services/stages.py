"""What stages reached of a job's text, kept so that nothing is done twice: neither by a retry, nor by a rerun."""

import logging
from collections.abc import Sequence
from uuid import UUID

from domain.errors import ObjectNotFound, StorageUnavailable
from domain.transcript import StageReached
from services import transcripts
from services.attempts import Attempt
from services.platform import Platform
from storage import layout

log = logging.getLogger(__name__)

GIVEN_FENCE = 0
"""In place of a try's fence, of what a job was given by the one that it goes on from."""


async def keep(platform: Platform, attempt: Attempt, reached: StageReached) -> None:
    """Keep it, if the store will take it now: without it a retry only takes longer."""
    try:
        await _put(platform, attempt.owner, attempt.job_id, attempt.fence, reached)
    except StorageUnavailable:
        log.warning("the output of stage %s could not be kept", reached.stage)


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
            try:
                return await transcripts.load_stage(platform.store, keys[stage])
            except ObjectNotFound:  # deleted since
                return None
    return None


async def _put(platform: Platform, owner: str, job_id: UUID, fence: int, reached: StageReached) -> None:
    key = layout.stage(owner, job_id, reached.stage, fence)
    await platform.store.put(key, transcripts.compressed(reached))
