"""Files that requests name, opened so that no link, race or odd name leads out of the folders that are served.

A path is walked from its root, folder by folder, each opened in the one before and none through a link; what is read
from then on is the file that was opened, whatever its name comes to mean. Only its folder is trusted: who can make hard
links in there can read it anyway.
"""

import errno
import logging
import os
import stat
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial

from config.rabbitmq_settings import RabbitMQSettings, Root
from domain.errors import StorageUnavailable, TooLarge
from domain.request_errors import AudioFileNotFound, AudioFileRefused, AudioFilesOff
from domain.text import keepable
from services.audio_requests import Recording
from storage.threads import CHUNK_BYTES, Threads

log = logging.getLogger(__name__)

MAY_PASS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE)
"""Reasons not to open a file that say nothing of the file."""

FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
"""Not to be hung up by what is no regular file: a pipe without a writer would."""

THREADS = 4


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file is said to lie: below which root, through which folders."""

    root: Root
    parts: tuple[str, ...] = field(repr=False)


def locate(roots: Sequence[Root], path: str) -> Place:
    """Looks at nothing but the words. Raises AudioFilesOff, AudioFileRefused."""
    if not roots:
        raise AudioFilesOff
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if not path.startswith("/") or path.endswith(("/", "/.")) or ".." in parts or not _is_plain(path):
        raise AudioFileRefused
    around = [root for root in roots if _folders(root) == parts[: len(_folders(root))] != parts]
    if not around:
        raise AudioFileRefused
    root = max(around, key=lambda root: len(_folders(root)))
    return Place(root, parts[len(_folders(root)) :])


def _is_plain(path: str) -> bool:
    try:
        return not {"\0", "\\"} & {*path.encode().decode()}
    except UnicodeEncodeError:  # half of a sign, which no name has
        return False


def _folders(root: Root) -> tuple[str, ...]:
    return root.path.parts[1:]


class AudioFile:
    """An open regular file, of which `limit` bytes are read at most."""

    def __init__(self, place: Place, limit: int) -> None:
        """Raises AudioFileNotFound, TooLarge, StorageUnavailable."""
        self._limit, self._read = limit, 0
        with _explained(), _folder_of(place) as folder:
            self._file = os.open(place.parts[-1], FILE, dir_fd=folder)
        found = os.fstat(self._file)
        if not stat.S_ISREG(found.st_mode):
            self.close()
            raise AudioFileNotFound
        if found.st_size > limit:
            self.close()
            raise TooLarge(limit)
        self.mark = _mark(found)

    def read(self) -> bytes:
        with _explained():
            chunk = os.read(self._file, CHUNK_BYTES)
        self._read += len(chunk)
        if self._read > self._limit:  # it has grown meanwhile
            raise TooLarge(self._limit)
        return chunk

    def close(self) -> None:
        os.close(self._file)


class AudioFiles:
    def __init__(self, settings: RabbitMQSettings, *, limit: int) -> None:
        """`limit`: bytes of the largest file that is read."""
        self.roots, self._limit = settings.audio_roots, limit
        self._threads = Threads("audio-files", THREADS)

    @asynccontextmanager
    async def opened(self, place: Place) -> AsyncIterator[Recording]:
        """Entering raises AudioFileNotFound, TooLarge, StorageUnavailable."""
        file = await self._threads.call(partial(AudioFile, place, self._limit))
        async with self._threads.give_out(lambda: file) as media:
            yield Recording(media, keepable(place.parts[-1]), file.mark)

    async def remove(self, path: str, mark: str) -> None:
        """Remove the file that was read; another that has taken its name since stays."""
        await self._threads.call(_remove, locate(self.roots, path), mark)

    async def close(self) -> None:
        await self._threads.close()


def _remove(place: Place, mark: str) -> None:
    with _explained(), _folder_of(place) as folder:
        if _mark(os.stat(place.parts[-1], dir_fd=folder, follow_symlinks=False)) == mark:
            os.unlink(place.parts[-1], dir_fd=folder)


@contextmanager
def _folder_of(place: Place) -> Iterator[int]:
    """The folder that the file lies in, opened from its root on, never through a link."""
    try:
        folder = os.open(place.root.path, FOLDER)  # a link to it is its operator's
    except OSError:
        log.warning("a folder of AUDIO_FILE_ROOTS cannot be opened")
        raise
    try:
        for part in place.parts[:-1]:
            inner = os.open(part, FOLDER | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        yield folder
    finally:
        os.close(folder)


def _mark(found: os.stat_result) -> str:
    return f"{found.st_dev}:{found.st_ino}:{found.st_mtime_ns}:{found.st_size}"


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise (StorageUnavailable if error.errno in MAY_PASS else AudioFileNotFound) from error
