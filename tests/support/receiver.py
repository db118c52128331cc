"""A webhook receiver on loopback: keeps what comes, answers as a test wants, and counts who connects."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from standardwebhooks import Webhook


@dataclass(frozen=True)
class Received:
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> Any:
        """The body's JSON, once the published library has found the signature good."""
        return Webhook(secret).verify(self.body, self.headers)


Answer = Callable[[Received], Awaitable[bytes]]


def response(status: int, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status} As Asked", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def always(status: int, *headers: str) -> Answer:
    async def answer(_: Received) -> bytes:
        return response(status, *headers)

    return answer


class Dawdling:
    """An answer that is long in coming: until `go_on` is set."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.asked, self.go_on = asyncio.Event(), asyncio.Event()

    async def __call__(self, _: Received) -> bytes:
        self.asked.set()
        await self.go_on.wait()
        return response(200, body=self._body)


class Receiver:
    def __init__(self, scheme: str) -> None:
        self.scheme = scheme
        self.port = 0
        self.connections = 0
        self.received: list[Received] = []
        self.answer: Answer = always(204)
        self.was_hung_up_on = asyncio.Event()
        self._changed = asyncio.Condition()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/hook?token=shh"

    async def has(self, count: int) -> list[Received]:
        """What has come, once there are `count`."""
        async with asyncio.timeout(60), self._changed:
            await self._changed.wait_for(lambda: len(self.received) >= count)
        return self.received

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:] if line)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            received = Received(head[0].split(" ")[1], headers, body)
            async with self._changed:
                self.received.append(received)
                self._changed.notify_all()
            writer.write(await self.answer(received))
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            self.was_hung_up_on.set()
        finally:
            writer.close()


@asynccontextmanager
async def receiving(tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    receiver = Receiver("https" if tls else "http")
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        await server.wait_closed()
