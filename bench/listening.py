"""Clients of server-sent events that cost next to nothing: bytes and when they came, looked at when all is over."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from time import time

EVENT = re.compile(rb"data: ")


class Listener(asyncio.Protocol):
    """One stream. What came is in `heard`: seconds since 1970, and bytes as the server wrote them together."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self.heard: list[tuple[float, bytes]] = []
        self._waiting: tuple[re.Pattern[bytes], asyncio.Future[float]] | None = None
        self._lost: Exception | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time()
        self.heard.append((now, data))
        if self._waiting is not None and self._waiting[0].search(data) and not self._waiting[1].done():
            self._waiting[1].set_result(now)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = exc or ConnectionError("the stream ended")
        if self._waiting is not None and not self._waiting[1].done():
            self._waiting[1].set_exception(self._lost)

    async def first(self, sign: re.Pattern[bytes]) -> float:
        """Waits for bytes that have `sign`: when they came. Raises ConnectionError where the stream ends before."""
        for at, data in self.heard:
            if sign.search(data):
                return at
        if self._lost is not None:
            raise self._lost
        self._waiting = sign, asyncio.get_running_loop().create_future()
        return await self._waiting[1]

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()

    def moments(self, sign: re.Pattern[bytes]) -> Iterator[tuple[bytes, float]]:
        """The first group of every `sign` that came, and when."""
        for at, data in self.heard:
            for found in sign.finditer(data):
                yield found[1], at


@asynccontextmanager
async def listening(address: tuple[str, int], path: str, count: int = 1) -> AsyncIterator[list[Listener]]:
    """Streams of `path`, each of which has had its first event."""
    host, port = address
    head = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nAccept: text/event-stream\r\n\r\n".encode()
    loop, listeners = asyncio.get_running_loop(), []
    try:
        for _ in range(count):
            _, listener = await loop.create_connection(lambda: Listener(head), host, port)
            listeners.append(listener)
        await asyncio.gather(*(listener.first(EVENT) for listener in listeners))
        yield listeners
    finally:
        for listener in listeners:
            listener.close()
