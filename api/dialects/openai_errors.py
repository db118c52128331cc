"""Errors as OpenAI's clients know them: `{"error": {"message", "type", "param", "code"}}`, for all that is below /v1.

The codes are ours. A client shows the message, and sends a recording again where `x-should-retry` says so.
"""

import re
from typing import Any
from uuid import uuid4

from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import SHAPE
from api.errors import ErrorBody as OurErrorBody
from domain.account_errors import TooManyTries
from domain.errors import BadMedia, EscribaError, Invalid

PREFIX = "/v1"
REQUEST_ID = re.compile(r"[\w.-]{1,128}", re.ASCII)

STATUS = {409: 400, 422: 400}
"""Said otherwise here: OpenAI answers 400 to words that do not fit, and on 409 its clients upload all of it again."""

TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class ErrorBody(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorView(BaseModel):
    error: ErrorBody


DOCUMENTED: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorView, "description": description}
    for status, description in {
        400: "What was sent cannot be taken, or the recording cannot be heard.",
        401: "Nobody knows who asks.",
        403: "Whoever asks may not.",
        404: "There is no such model.",
        413: "The recording is too large.",
        429: "Too much, for now.",
        500: "The recording could not be heard, or a bug.",
        503: "Something is away; the client tries again by itself.",
    }.items()
}
"""OpenAPI's `responses`."""


def type_of(status: int) -> str:
    return TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")


def in_openai_shape(status: int, said: OurErrorBody) -> Response:
    """Only what may pass by itself is worth another upload: what is away, and too many tries."""
    status = STATUS.get(status, status)
    error = ErrorBody(message=said.message, type=type_of(status), param=said.field, code=said.code)
    passes = status == 503 or said.code == TooManyTries.code
    headers = {"x-should-retry": "true" if passes else "false"}
    return JSONResponse(ErrorView(error=error).model_dump(), status, headers)


def _codes(kind: type[EscribaError]) -> set[str]:
    return {kind.code}.union(*map(_codes, kind.__subclasses__()))


CALLERS = _codes(BadMedia) | _codes(Invalid) | {"cancelled"}
"""Codes of jobs that could not end otherwise, whoever heard them: the recording, what was asked, its owner's wish."""


def status_of_job(code: str) -> int:
    """Of a job that ended without a transcript. The platform has tried again by itself where that could help."""
    return 400 if code in CALLERS else 500


class OpenAIEdge:
    """Gives every answer below /v1 a request id, the caller's where it sent one, and every error OpenAI's shape."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not f"{scope['path']}/".startswith(f"{PREFIX}/"):
            await self._app(scope, receive, send)
            return
        said = Headers(scope=scope).get("x-request-id", "")
        request_id = said if REQUEST_ID.fullmatch(said) else f"req_{uuid4().hex}"
        # In the scope, as what answers for a bug stands outside of this.
        scope[SHAPE] = lambda status, error: _with_id(in_openai_shape(status, error), request_id)

        async def give(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).setdefault("x-request-id", request_id)
            await send(message)

        await self._app(scope, receive, give)


def _with_id(response: Response, request_id: str) -> Response:
    response.headers["x-request-id"] = request_id
    return response
