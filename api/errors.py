"""Errors as HTTP: one table, and one shape unless a dialect has its own. `{"error": {"code", "message", "field"?}}`."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from domain import account_errors, errors
from domain.intake_errors import BatchRefused

STATUS: dict[type[errors.EscribaError], int] = {
    errors.Invalid: 422,
    errors.MalformedUpload: 400,
    errors.TooLarge: 413,
    errors.BodyTooLarge: 413,
    errors.NotFound: 404,
    errors.AudioDeleted: 410,
    errors.RangeNotSatisfiable: 416,
    errors.Refused: 409,
    account_errors.Unauthenticated: 401,
    account_errors.TooMuch: 429,
    errors.Forbidden: 403,
    errors.Unavailable: 503,
    errors.BadMedia: 422,
    errors.EscribaError: 500,
}
"""The first class of an error's `__mro__` that stands here decides."""

RETRY_AFTER_SECONDS = "5"

FRAMEWORK_CODES = {404: "not_found", 405: "method_not_allowed"}


class ItemError(BaseModel):
    index: int
    """Its place in the list that was sent, from 0."""
    code: str
    message: str
    field: str | None = None


class ErrorBody(BaseModel):
    code: str
    """Stable: match on this."""
    message: str
    """For people: what is wrong and what to do."""
    field: str | None = None
    """The form field, query parameter or path part at fault, where there is one."""
    items: list[ItemError] | None = None
    """Of a batch: all that is wrong."""


class ErrorView(BaseModel):
    error: ErrorBody


def status_of(error: errors.EscribaError) -> int:
    return status_of_kind(type(error))


def status_of_kind(kind: type[errors.EscribaError]) -> int:
    return next(STATUS[base] for base in kind.__mro__ if base in STATUS)


Shape = Callable[[int, ErrorBody], Response]
"""How a status and an error look to the clients of a contract."""

SHAPE = "escriba.error_shape"
"""Where the scope of a request has the shape that its errors take, if it is not ours."""


def _ours(status: int, said: ErrorBody) -> Response:
    return JSONResponse(ErrorView(error=said).model_dump(exclude_none=True), status)


PASSED_OVER_BYTES = 256 << 20
PATIENCE_SECONDS = 10.0


class Refusal(Response):
    """An error that takes its shape by the request that it answers.

    One that closes the connection first reads and forgets what is still being sent, up to a limit: most clients send
    all of a recording before they read an answer, and who hangs up on them is told of as a line that broke.
    """

    def __init__(self, status: int, said: ErrorBody, headers: dict[str, str]) -> None:
        super().__init__(status_code=status)
        self._said, self._given = said, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        shape: Shape = scope.get(SHAPE, _ours)
        shaped = shape(self.status_code, self._said)
        for name, value in self._given.items():
            shaped.headers.setdefault(name, value)
        if "Connection" not in self._given:
            await shaped(scope, receive, send)
            return

        async def leave_open(message: Message) -> None:
            last = message["type"] == "http.response.body"
            await send({**message, "more_body": True} if last else message)

        await shaped(scope, receive, leave_open)
        await _read_on(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _read_on(receive: Receive) -> None:
    left = PASSED_OVER_BYTES
    with suppress(TimeoutError):
        while left > 0:
            message = await asyncio.wait_for(receive(), PATIENCE_SECONDS)
            left -= len(message.get("body", b""))
            if not message.get("more_body"):
                return


def render(
    status: int,
    code: str,
    message: str,
    *,
    field: str | None = None,
    items: list[ItemError] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    return Refusal(status, ErrorBody(code=code, message=message, field=field, items=items), headers or {})


def answer(error: errors.EscribaError) -> Response:
    status = status_of(error)
    headers: dict[str, str] = {}
    if isinstance(error, errors.Unavailable):
        headers["Retry-After"] = RETRY_AFTER_SECONDS
    if isinstance(error, account_errors.TooMuch):
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, account_errors.Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, errors.RangeNotSatisfiable):
        headers["Content-Range"] = f"bytes */{error.size_bytes}"
    if isinstance(error, errors.TooLarge | errors.BodyTooLarge):
        headers["Connection"] = "close"
    field = getattr(error, "field", None)
    return render(status, error.code, str(error), field=field, items=_items(error), headers=headers)


def _items(error: errors.EscribaError) -> list[ItemError] | None:
    if not isinstance(error, BatchRefused):
        return None
    return [
        ItemError(index=index, code=wrong.code, message=str(wrong), field=getattr(wrong, "field", None))
        for index, wrong in error.items.items()
    ]


async def _foreseen(_: Request, error: Exception) -> Response:
    assert isinstance(error, errors.EscribaError)
    return answer(error)


async def _malformed(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"][1:]) or None
    return render(422, errors.Invalid.code, f"{field or 'the request'}: {first['msg']}", field=field)


async def _framework(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = FRAMEWORK_CODES.get(error.status_code, errors.Invalid.code)
    return render(error.status_code, code, str(error.detail), headers=dict(error.headers or {}))


def unforeseen() -> Response:
    """To a bug, of which `api.observing` makes a line in the log."""
    return render(500, "internal", "an unexpected error; the operator's log has it")


def install(app: FastAPI) -> None:
    handlers: dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
        errors.EscribaError: _foreseen,
        RequestValidationError: _malformed,
        HTTPException: _framework,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


Responses = dict[int | str, dict[str, Any]]


def documented(*kinds: type[errors.EscribaError]) -> Responses:
    """OpenAPI's `responses` for the errors that a route foresees."""
    found: Responses = {}
    for kind in kinds:
        status = status_of_kind(kind)
        codes = found.get(status, {}).get("description")
        found[status] = {"model": ErrorView, "description": f"{codes}, {kind.code}" if codes else kind.code}
    return found
