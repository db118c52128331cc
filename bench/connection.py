"""An HTTP connection that costs the client next to nothing, so that the server is what is measured."""

import asyncio
import json
import socket
from pathlib import Path
from typing import Any, Self

BOUNDARY = "escriba-bench-boundary"
LARGEST_ANSWER_BYTES = 1 << 20


def form(recording: bytes, **fields: str) -> bytes:
    """A multipart body with the fields before the file."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    about = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'.encode()
    return b"".join([*parts, about, recording, f"\r\n--{BOUNDARY}--\r\n".encode()])


class Connection:
    """One kept-alive connection. `async with Connection(address) as connection:`."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._socket = socket.socket()

    async def __aenter__(self) -> Self:
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(self._socket, self._address)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._socket.close()

    async def post_file(self, path: str, body: Path) -> dict[str, Any]:
        """POST a form that lies ready in a file: the kernel sends it, and no byte passes through this process."""
        await self._send(self._head("POST", path, body.stat().st_size))
        with body.open("rb") as file:
            await asyncio.get_running_loop().sock_sendfile(self._socket, file, fallback=False)
        return await self._answer()

    async def post(self, path: str, body: bytes) -> dict[str, Any]:
        await self._send(self._head("POST", path, len(body)) + body)
        return await self._answer()

    async def delete(self, path: str) -> dict[str, Any]:
        await self._send(self._head("DELETE", path, 0))
        return await self._answer()

    def _head(self, method: str, path: str, length: int) -> bytes:
        host, port = self._address
        kind = f"multipart/form-data; boundary={BOUNDARY}"
        lines = (
            f"{method} {path} HTTP/1.1",
            f"Host: {host}:{port}",
            f"Content-Length: {length}",
            f"Content-Type: {kind}",
        )
        return "\r\n".join([*lines, "", ""]).encode()

    async def _send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def _answer(self) -> dict[str, Any]:
        loop, received = asyncio.get_running_loop(), b""
        while (split := received.partition(b"\r\n\r\n"))[1] == b"" or len(split[2]) < _length(split[0]):
            more = await loop.sock_recv(self._socket, LARGEST_ANSWER_BYTES)
            if not more:
                raise ConnectionError("the server hung up")
            received += more
        status = int(received.split(b" ", 2)[1])
        if status >= 300:
            raise RuntimeError(f"the server answered {status}: {split[2].decode(errors='replace')}")
        answer: dict[str, Any] = json.loads(split[2])
        return answer


def _length(head: bytes) -> int:
    (value,) = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    return int(value)
