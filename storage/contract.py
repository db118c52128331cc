"""What the platform asks of an object store. Two stores keep it: a local folder and any S3."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StoredObject:
    key: str
    size_bytes: int
    sha256: str
    """Lower-case hex, of the bytes as they passed."""


@dataclass(frozen=True, slots=True)
class ListedObject:
    key: str
    size_bytes: int
    modified_at: datetime
    """With a time zone."""


class Store(Protocol):
    async def put(self, key: str, body: AsyncIterator[bytes]) -> StoredObject:
        """Keep what `body` yields under `key`, hashed and counted as it passes, in bounded memory.

        When this returns, the object is on disk (fsync, or the S3 server's word for it). When `body` raises, nothing
        is left under `key` and the error passes through. An existing object is replaced as a whole or not at all.

        Raises:
            StorageUnavailable: the store is away, or its disk is full.
        """
        ...

    async def size(self, key: str) -> int:
        """Bytes. Raises ObjectNotFound, StorageUnavailable."""
        ...

    def open(
        self, key: str, *, start: int = 0, length: int | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """`async with store.open(key) as chunks: async for chunk in chunks`. Chunks are at most 1 MiB.

        `start` and `length` are bytes; a length beyond the end is cut there. Entering raises ObjectNotFound,
        RangeNotSatisfiable (a start at or beyond the end, except 0 of an empty object), StorageUnavailable.
        """
        ...

    async def link(self, key: str, *, seconds: int, content_type: str, filename: str) -> str:
        """A URL that anyone may GET for `seconds`, ranges included; served as `content_type` and as an attachment.

        A local store answers a path below `/media/`, which the API resolves against its own address.
        """
        ...

    async def delete(self, key: str) -> None:
        """Remove the object; one that is not there is removed already. Raises StorageUnavailable."""
        ...

    def list(self, prefix: str) -> AsyncIterator[ListedObject]:
        """Every object whose key starts with `prefix`, in no promised order. Unfinished puts are not listed."""
        ...

    async def delete_unfinished(self, older_than_seconds: float) -> int:
        """Remove what puts that never ended have left behind; answers how many."""
        ...

    async def close(self) -> None: ...
