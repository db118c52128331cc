"""Objects as files below one folder: the store of the embedded platform."""

import os
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from domain.errors import BadSettings
from storage import files, layout, links, local_parts
from storage.contract import ListedObject, StoredObject
from storage.files import FOLDER_MODE, UNFINISHED, Draft, Slice, disk_errors
from storage.links import Link, PartLink
from storage.threads import Threads

MEDIA_PATH = "/media/"
"""Where the API serves links; `link` answers paths below it."""

BATCH_BYTES = 1024 * 1024
"""Written at once: large enough that the visit to a thread costs nothing beside the hash."""

THREADS = 8
MIN_SECRET_BYTES = 16


class LocalStore:
    def __init__(self, root: Path, *, link_secret: bytes) -> None:
        """Keep objects below `root`, made if need be. Raises BadSettings."""
        if len(link_secret) < MIN_SECRET_BYTES:
            raise BadSettings(f"LINK_SECRET is too short to be safe: give it at least {MIN_SECRET_BYTES} random bytes")
        try:
            root.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        except OSError as error:
            raise BadSettings(f"STORAGE_DIR cannot be made ({error.strerror}): name a folder that can") from error
        if not os.access(root, os.R_OK | os.W_OK | os.X_OK):
            raise BadSettings("STORAGE_DIR cannot be written: change its owner, or name another folder")
        self._root = root.resolve()
        self._link_secret = link_secret
        self._threads = Threads("local-store", THREADS)
        self._syncs = ThreadPoolExecutor(THREADS, thread_name_prefix="local-store-sync")

    async def put(self, key: str, body: AsyncIterator[bytes]) -> StoredObject:
        draft = Draft(self._root, self._path(key), self._syncs)
        size, digest = await self._threads.take_in(body, draft, batch_bytes=BATCH_BYTES)
        return StoredObject(key, size, digest)

    async def size(self, key: str) -> int:
        return await self._threads.call(files.size, self._path(key))

    def open(
        self, key: str, *, start: int = 0, length: int | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return self._threads.give_out(partial(Slice, self._path(key), start, length))

    async def link(self, key: str, *, seconds: int, content_type: str, filename: str) -> str:
        link = Link(key, content_type, filename)
        return MEDIA_PATH + links.sign(link, secret=self._link_secret, expires_at=time.time() + seconds)

    def verify_link(self, token: str) -> Link:
        """What the part of a link below MEDIA_PATH leads to. Raises BadLink if it is forged or has expired."""
        return links.verify(token, Link, secret=self._link_secret, now=time.time())

    async def begin_parts(self, key: str) -> str:
        return await self._threads.call(local_parts.begin, self._root, self._path(key), self._syncs)

    async def part_link(self, key: str, sending: str, number: int, *, size_bytes: int, seconds: int) -> str:
        link = PartLink(key, sending, number, size_bytes)
        return MEDIA_PATH + links.sign(link, secret=self._link_secret, expires_at=time.time() + seconds)

    def verify_part_link(self, token: str) -> PartLink:
        """What may be sent to the part of a link below MEDIA_PATH. Raises BadLink if it is forged or has expired."""
        return links.verify(token, PartLink, secret=self._link_secret, now=time.time())

    async def put_part(self, link: PartLink, body: AsyncIterator[bytes]) -> None:
        """Keep what is sent to a link. Raises as `put`, WrongPartSize, and ObjectNotFound once joined or dropped."""
        whole, body = self._path(link.key), local_parts.exactly(body, link.size_bytes)
        part = await self._threads.call(local_parts.place, whole, link.sending, link.number)
        await self._threads.take_in(body, Draft(self._root, part, self._syncs), batch_bytes=BATCH_BYTES)
        await self._threads.call(local_parts.keep, self._root, whole, link.sending, link.number)

    async def parts(self, key: str, sending: str) -> dict[int, int]:
        return await self._threads.call(local_parts.there, self._path(key), sending)

    async def join_parts(self, key: str, sending: str, sizes: Sequence[int]) -> None:
        await self._threads.call(local_parts.join, self._root, self._path(key), self._syncs, sending, sizes)

    async def drop_parts(self, key: str, sending: str) -> None:
        await self._threads.call(local_parts.drop, self._root, self._path(key), sending)

    async def delete(self, key: str) -> None:
        await self._threads.call(files.delete, self._root, self._path(key))

    def list(self, prefix: str) -> AsyncIterator[ListedObject]:
        return self._threads.each(self._listed(prefix))

    async def delete_unfinished(self, older_than_seconds: float, *, prefix: str = layout.ROOT) -> int:
        """The age is that of the last byte written, so a slow put is safe from a sweep."""
        return await self._threads.call(self._delete_unfinished, time.time() - older_than_seconds, prefix)

    async def close(self) -> None:
        await self._threads.close()
        self._syncs.shutdown()  # nothing waits in it any more

    def _path(self, key: str) -> Path:
        """The file of a key. ValueError for one that `storage.layout` cannot have made: it might leave the root."""
        parts = key.split("/")
        if any(not part or part.startswith(".") for part in parts):
            raise ValueError("not a key of storage.layout")
        return self._root.joinpath(*parts)

    def _listed(self, prefix: str) -> Iterator[ListedObject]:
        folder = prefix.rpartition("/")[0]
        with disk_errors():
            for entry in files.files_below(self._path(folder) if folder else self._root):
                key = entry.path.removeprefix(f"{self._root}/")
                if entry.name.startswith(UNFINISHED) or not key.startswith(prefix):
                    continue
                with suppress(FileNotFoundError):
                    found = entry.stat()
                    yield ListedObject(key, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))

    def _delete_unfinished(self, written_before: float, prefix: str) -> int:
        deleted = 0
        with disk_errors():
            for entry in files.files_below(self._path(prefix.rstrip("/"))):
                with suppress(FileNotFoundError):
                    if entry.name.startswith(UNFINISHED) and entry.stat().st_mtime <= written_before:
                        files.delete(self._root, Path(entry.path))
                        deleted += 1
        return deleted
