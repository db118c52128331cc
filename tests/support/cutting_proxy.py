"""A proxy in front of the API that loses answers: the request goes through whole, and what comes back goes nowhere."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class CuttingProxy:
    """Loses the first `lost` answers: hangs up when each begins to come."""

    port: int
    lost: int
    requests: int = 0
    url: str = field(init=False, default="")

    @classmethod
    @asynccontextmanager
    async def running(cls, url: str, *, lost: int) -> AsyncIterator["CuttingProxy"]:
        """In front of the API at `url`."""
        proxy = cls(int(url.rpartition(":")[2]), lost)
        connections: set[asyncio.Task[None]] = set()

        def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.add(asyncio.create_task(proxy._serve(reader, writer)))

        async with await asyncio.start_server(take, "127.0.0.1", 0) as server:
            proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            yield proxy
            for connection in connections:
                connection.cancel()
            await asyncio.gather(*connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        self.requests += 1
        loses = self.requests <= self.lost
        upstream, to_upstream = await asyncio.open_connection("127.0.0.1", self.port)
        sending = asyncio.create_task(_pump(reader, to_upstream))
        try:
            if loses:
                await upstream.read(1)
            else:
                await _pump(upstream, writer)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            for each in (writer, to_upstream):
                each.close()
                with suppress(ConnectionError):
                    await each.wait_closed()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while piece := await reader.read(65_536):
            writer.write(piece)
            await writer.drain()
