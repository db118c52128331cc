"""A client that follows a job over a line that is cut, and keeps what it was told; light enough for a thousand."""

import asyncio
import json
from dataclasses import dataclass, field
from datetime import datetime
from time import time
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

ENDS = ("completed", "failed", "cancelled")
PAUSE_SECONDS = 0.2
"""Between two tries to connect, as browsers wait too."""


@dataclass(slots=True)
class Listener:
    url: str
    job: UUID
    cuts_after: list[float]
    """How long each of the first connections lasts, in seconds; the last one lasts to the end."""
    first_seq: int = 0
    """The number that the snapshot of a newcomer told of: what comes behind it is news."""
    states: list[int] = field(default_factory=list)
    segments: list[tuple[int, int]] = field(default_factory=list)
    waiting_since: float | None = None
    """When we first connected; a line that is cut after that stops no clock."""
    waits: list[tuple[float, float]] = field(default_factory=list)
    """Of each change of state: when it was, or when we began to wait where that came later, and when we were told."""
    answered: list[tuple[float, float]] = field(default_factory=list)
    """When we connected, and when the answer began."""
    refused: int = 0
    """Answers that were neither events nor that there are none left."""
    ended: bool = False
    after_the_end: int | None = None
    """The status that a reconnect from behind the end is answered with."""
    _last_id: str = ""

    async def follow(self) -> None:
        """Until the end has been told, and once more."""
        cuts = [*self.cuts_after]
        while not self.ended:
            try:
                async with asyncio.timeout(cuts.pop(0) if cuts else None):
                    await self._listen()
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                pass  # the line was cut, or the API was killed
            if not self.ended:
                await asyncio.sleep(PAUSE_SECONDS)
        while self.after_the_end is None:
            try:
                await self._listen()
            except (OSError, asyncio.IncompleteReadError):
                await asyncio.sleep(PAUSE_SECONDS)

    async def _listen(self) -> None:
        address = urlsplit(self.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=1 << 20)
        connected_at = time()  # to the address; whoever answers there may be on its way back yet
        if self.waiting_since is None:
            self.waiting_since = connected_at
        try:
            last = f"Last-Event-ID: {self._last_id}\r\n" if self._last_id else ""
            head = f"GET /api/transcribe/jobs/stream/{self.job} HTTP/1.1\r\nHost: {address.netloc}\r\n{last}\r\n"
            writer.write(head.encode())
            status = int((await reader.readline()).split()[1])
            self.answered.append((connected_at, time()))
            self.refused += status not in (200, 204)
            if self.ended:
                self.after_the_end = status
                return
            await self._read(reader)
        except IndexError as error:  # an empty answer: killed as it began
            raise ConnectionResetError from error
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        """Lines of events; the sizes of chunks between them are neither `id` nor `data`."""
        event_id = ""
        while line := await reader.readline():
            name, _, value = line.decode().rstrip("\r\n").partition(": ")
            if name == "id":
                event_id = value
            elif name == "data":
                self._take(event_id, json.loads(value))
                event_id = ""
                if self.ended:
                    return
        raise ConnectionResetError

    def _take(self, event_id: str, event: dict[str, Any]) -> None:
        self._last_id = event_id or self._last_id
        match event["type"]:
            case "snapshot" if not self._last_id:  # cut before it had anything to go on from, it is a newcomer again
                self.first_seq = event["seq"] if event["status"] not in ENDS else 0
            case "state":
                self.states.append(event["seq"])
                self.waits.append((max(_unix(event["at"]), self.waiting_since or 0.0), time()))
                self.ended = event["status"] in ENDS
            case "segment":
                self.segments.append((event["fence"], event["n"]))


def _unix(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
