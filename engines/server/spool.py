"""Recordings while they are being heard: private files that do not outlive the server, even when it is killed."""

import asyncio
import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

logger = logging.getLogger(__name__)

_PREFIX = "escriba-engines-"
_LOCK = "lock"

WRITE_BYTES = 1 << 20
"""Gathered before each write, as a hop to a thread costs more than copying a small chunk."""


class Spool:
    """A folder (mode 0700) that one server owns while it lives, by a lock that the kernel drops when it dies."""

    def __init__(self, folder: Path, lock: int) -> None:
        self.folder = folder
        self._lock = lock

    @classmethod
    def open(cls, parent: Path | None) -> Self:
        """A new spool below `parent`, or in the system's temporary folder; first removes what dead servers left."""
        parent = parent or Path(tempfile.gettempdir())
        parent.mkdir(parents=True, exist_ok=True)
        for left in parent.glob(f"{_PREFIX}*"):
            _remove_if_left(left)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return cls(folder, lock)

    @asynccontextmanager
    async def keep(self, body: AsyncIterator[bytes]) -> AsyncIterator[Path]:
        """What `body` yields, as a file that exists within this context. Memory is bounded. Raises OSError."""
        descriptor, name = tempfile.mkstemp(suffix=".wav", dir=self.folder)
        try:
            await _write(descriptor, body)
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)


async def _write(descriptor: int, body: AsyncIterator[bytes]) -> None:
    with open(descriptor, "wb") as file:  # noqa: ASYNC230  # an open descriptor: nothing to wait for
        gathered = bytearray()
        async for chunk in body:
            gathered += chunk
            if len(gathered) >= WRITE_BYTES:
                await asyncio.to_thread(file.write, gathered)
                gathered = bytearray()
        file.write(gathered)


def _remove_if_left(folder: Path) -> None:
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR)
    except OSError:
        return  # another user's, or its owner is just making or removing it
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return  # its server lives
    else:
        shutil.rmtree(folder, ignore_errors=True)
        logger.info("removed the spool of an engine server that was killed")
    finally:
        os.close(lock)
