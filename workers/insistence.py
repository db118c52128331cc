"""Writes that must not be lost, for as long as it takes."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from domain.errors import DatabaseUnavailable, StorageUnavailable

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 2.0

RELEASE_SECONDS = 3.0
"""How long giving work back may take: a drain ends soon even while PostgreSQL is away."""
RELEASE_AGAIN_SECONDS = 0.3
"""Between two tries at it: a database that comes back shortly before the end still takes the work back."""


async def insist(write: Callable[[], Awaitable[bool]], *, longest_pause: float = LONGEST_PAUSE_SECONDS) -> bool:
    """What the write answers once database and store have let it through: False where it found its work taken."""
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            return await write()
        except (DatabaseUnavailable, StorageUnavailable) as error:
            log.warning("waiting to save: %s", error.code)
            await asyncio.sleep(pause)
            pause = min(longest_pause, pause * 2)


async def give_back(release: Callable[[], Awaitable[bool]]) -> None:
    """Release work, or find that it is no longer ours. Raises TimeoutError."""
    async with asyncio.timeout(RELEASE_SECONDS):
        await insist(release, longest_pause=RELEASE_AGAIN_SECONDS)
