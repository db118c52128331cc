"""The gates at which the engine `gated` waits: a campaign sees who has come, and says when and how they go on."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self


class Arrival:
    """One attempt that has said all and waits."""

    def __init__(self, pid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.pid = pid
        self.gone = asyncio.create_task(reader.read())
        """Done once the engine's work has ended, however it did."""
        self._writer = writer

    def open(self) -> None:
        self._say(b"go\n")

    def shut(self) -> None:
        """Let it fail, in a way that may pass."""
        self._say(b"no\n")

    def _say(self, word: bytes) -> None:
        if not self._writer.is_closing():
            self._writer.write(word)


class Gates:
    """`async with Gates.at(path) as gates:` listens; who comes to a gate before anybody asks, is kept for them."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, asyncio.Queue[Arrival]] = defaultdict(asyncio.Queue)
        self._tasks: set[asyncio.Task[bytes]] = set()

    @classmethod
    @asynccontextmanager
    async def at(cls, path: Path) -> AsyncIterator[Self]:
        gates = cls()
        server = await asyncio.start_unix_server(gates._welcome, path)
        try:
            yield gates
        finally:
            server.close()
            for task in gates._tasks:
                task.cancel()
            await asyncio.gather(*gates._tasks, return_exceptions=True)

    async def next(self, gate: str, *, within: float = 60.0) -> Arrival:
        """Whoever comes to `gate` next. Raises TimeoutError."""
        async with asyncio.timeout(within):
            return await self._waiting[gate].get()

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        if not line:
            writer.close()
            return
        said = json.loads(line)
        arrival = Arrival(said["pid"], reader, writer)
        self._tasks.add(arrival.gone)
        arrival.gone.add_done_callback(lambda task: writer.close())
        arrival.gone.add_done_callback(self._tasks.discard)
        self._waiting[said["gate"]].put_nowait(arrival)
