"""Bodies of puts, and what they leave."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from functools import lru_cache

from storage.contract import Store

MIB = 1024 * 1024
WIRE_CHUNK = 65_536
"""What a socket gives at most."""


@lru_cache(maxsize=4)
def noise(size: int) -> bytes:
    """Bytes of which no two stretches are alike, the same each time."""
    return hashlib.shake_128(b"noise").digest(size)


async def in_chunks(data: bytes, size: int = WIRE_CHUNK) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def zeros(size: int) -> AsyncIterator[bytes]:
    """`size` bytes, a multiple of WIRE_CHUNK, that take no memory."""
    chunk = bytes(WIRE_CHUNK)
    for _ in range(size // WIRE_CHUNK):
        yield chunk


class BrokenOff(OSError):
    """A client that went away. An OSError, which stores must not take for one of their own."""


async def breaking_off(data: bytes) -> AsyncIterator[bytes]:
    async for chunk in in_chunks(data):
        yield chunk
    raise BrokenOff


class Stalled:
    """A body that stalls once its bytes are delivered, until `go_on` is set."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.delivered = asyncio.Event()
        self.go_on = asyncio.Event()

    async def chunks(self) -> AsyncIterator[bytes]:
        async for chunk in in_chunks(self._data):
            yield chunk
        self.delivered.set()
        await self.go_on.wait()


async def read(store: Store, key: str, *, start: int = 0, length: int | None = None) -> bytes:
    async with store.open(key, start=start, length=length) as chunks:
        return b"".join([chunk async for chunk in chunks])


async def keys(store: Store, prefix: str = "") -> set[str]:
    return {found.key async for found in store.list(prefix)}
