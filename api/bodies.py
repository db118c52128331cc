"""No body is read further than it may be long. Recordings have a limit of their own, where `api.uploads` reads them.

FastAPI's `max_body_size` answers in plain text and not as all our errors, and hangs up on who is still sending.
"""

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import answer
from domain.errors import BodyTooLarge

LARGEST_BYTES = 1 << 20
"""The longest that anybody has a use for is a vocabulary of some thousand words."""
PASSED_OVER_BYTES = 16 << 20
"""Read and forgotten, so that a client that sends too much gets to read why: most send all of it first."""


class BodyLimit:
    """Answers 413 for a body that says it is longer, or turns out to be, before anybody is asked who they are."""

    def __init__(self, app: ASGIApp, *, but: Collection[str], below: str) -> None:
        """`but`: paths of which the bodies are read by somebody who counts, as all are `below`."""
        self._app, self._but, self._below = app, frozenset(but), below

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].rstrip("/") in self._but or scope["path"].startswith(self._below):
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and int(declared[:18]) > PASSED_OVER_BYTES:
            await answer(BodyTooLarge(LARGEST_BYTES))(scope, receive, send)
            return
        counted = _Counted(scope, receive, send)
        await self._app(scope, counted.take, counted.give)


class _Counted:
    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._read = 0
        self._answered = False

    async def take(self) -> Message:
        message = await self._next()
        if self._read <= LARGEST_BYTES:
            return message
        while message.get("more_body") and self._read <= PASSED_OVER_BYTES:
            message = await self._next()
        return {"type": "http.request", "body": b"", "more_body": False}  # what comes of it is never sent

    async def _next(self) -> Message:
        message = await self._receive()
        self._read += len(message.get("body", b""))
        return message

    async def give(self, message: Message) -> None:
        if self._read <= LARGEST_BYTES:
            await self._send(message)
        elif not self._answered:
            self._answered = True
            await answer(BodyTooLarge(LARGEST_BYTES))(self._scope, self._receive, self._send)
