"""What the platform asks of an object store. Two stores keep it: a local folder and any S3."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from domain.intake_errors import PartsMissing
from storage import layout


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


MOST_PARTS = 1000
"""Of an object that is sent in parts: what S3 lists at once."""


def refuse_missing(there: Mapping[int, int], sizes: Sequence[int]) -> None:
    """Raises PartsMissing."""
    if missing := [number for number, size in enumerate(sizes, start=1) if there.get(number) != size]:
        raise PartsMissing(missing)


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

    async def begin_parts(self, key: str) -> str:
        """Prepare an object that others send in parts; answers what this sending is called. Raises StorageUnavailable.

        Nothing lies under `key` before `join_parts`. An S3 server wants at least 5 MiB in every part but the last.
        """
        ...

    async def part_link(self, key: str, sending: str, number: int, *, size_bytes: int, seconds: int) -> str:
        """A URL that anyone may PUT part `number` to for `seconds`, from 1 to MOST_PARTS; again, and it is replaced.

        A part of any other size than `size_bytes` is refused, and by an S3 server one that does not say its
        Content-Length. A local store answers a path below `/media/`.
        """
        ...

    async def parts(self, key: str, sending: str) -> dict[int, int]:
        """What is there: number of a part → bytes. Raises ObjectNotFound once joined or dropped, StorageUnavailable."""
        ...

    async def join_parts(self, key: str, sending: str, sizes: Sequence[int]) -> None:
        """Make the object of parts 1, 2, 3 … of so many bytes. On disk as after `put`; the links lead nowhere then.

        Asked again, it has been done. Raises PartsMissing for those that are not there or of another size,
        ObjectNotFound where the sending was dropped, StorageUnavailable.
        """
        ...

    async def drop_parts(self, key: str, sending: str) -> None:
        """Remove the parts; those that are not there are removed already. Raises StorageUnavailable."""
        ...

    async def delete(self, key: str) -> None:
        """Remove the object; one that is not there is removed already. Raises StorageUnavailable."""
        ...

    def list(self, prefix: str) -> AsyncIterator[ListedObject]:
        """Every object whose key starts with `prefix`, in no promised order. Unfinished puts are not listed."""
        ...

    async def delete_unfinished(self, older_than_seconds: float, *, prefix: str = layout.ROOT) -> int:
        """Remove what puts and sendings that never ended have left below `prefix`, a folder; answers how many."""
        ...

    async def close(self) -> None: ...
