"""An HTTP server that fails as it is told, where a real S3 server would have to be broken first."""

import asyncio
from types import TracebackType
from typing import Self

EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
FAILING = b"HTTP/1.1 500 Internal Server Error\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n"


def xml(text: str, *, status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {len(text)}\r\n\r\n"
    return (head + text).encode()


SLOW_DOWN = xml("<Error><Code>SlowDown</Code></Error>", status="503 Slow Down")
BROKEN_XML = xml("<html>a proxy's page", status="400 Bad Request")
NOT_XML = b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"
NOT_HTTP = b"no HTTP at all\r\n\r\n"


class FailingServer:
    """Answers by method; "POST uploads" goes before "POST" for a request with that query. None: no answer, ever."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes | None] = {"HEAD": EMPTY}
        self.failures_first = 0
        self.hang_up_after: str | None = None
        self.methods: list[str] = []

    async def __aenter__(self) -> Self:
        self._connections: set[asyncio.StreamWriter] = set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        self._server.close()
        for connection in self._connections:
            connection.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            while request := await reader.readline():
                answer = await self._answer(request.decode().split(), reader)
                if answer is None:
                    await reader.read()  # until the client gives up
                    return
                writer.write(answer)
                if request.decode().split()[0] == self.hang_up_after:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client was faster
        finally:
            writer.close()

    async def _answer(self, request: list[str], reader: asyncio.StreamReader) -> bytes | None:
        method, target = request[:2]
        headers = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
        await reader.readexactly(sum(int(each[15:]) for each in headers if each.startswith(b"content-length")))
        self.methods.append(method)
        if self.failures_first:
            self.failures_first -= 1
            return FAILING
        if "?uploads" in target and f"{method} uploads" in self.answers:
            return self.answers[f"{method} uploads"]
        return self.answers[method]
