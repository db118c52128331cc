"""Errors as OpenAI's clients know them: `{"error": {"message", "type", "param", "code"}}`, for all that is below /v1.

The codes are ours. A client shows the message, and sends a recording again where `x-should-retry` says so.
"""

from typing import Any

from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.types import ASGIApp, Receive, Scope, Send

from api.errors import SHAPE, ErrorBody
from domain.account_errors import TooManyTries
from domain.errors import BadMedia, EscribaError, Invalid

PREFIX = "/v1"

STATUS = {409: 400, 422: 400}
"""Said otherwise here: OpenAI answers 400 to words that do not fit, and on 409 its clients upload all of it again."""

TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class OpenAIError(BaseModel):
    message: str
    type: str
    param: str | None
    code: str


ERROR: dict[str, Any] = {
    "schema": {
        "type": "object",
        "properties": {"error": OpenAIError.model_json_schema()},
        "required": ["error"],
    }
}


def type_of(status: int) -> str:
    return TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")


def in_openai_shape(status: int, said: ErrorBody) -> Response:
    """Only what may pass by itself is worth another upload: what is away, and too many tries."""
    status = STATUS.get(status, status)
    error = OpenAIError(message=said.message, type=type_of(status), param=said.field, code=said.code)
    passes = status == 503 or said.code == TooManyTries.code
    headers = {"x-should-retry": "true" if passes else "false"}
    return JSONResponse({"error": error.model_dump()}, status, headers)


def documented_in_openai_shape(responses: dict[str, Any]) -> dict[str, Any]:
    """OpenAPI's `responses` of a route, from those that it would have with our errors."""
    found: dict[str, Any] = {}
    for given, said in responses.items():
        if int(given) < 400:
            found[given] = said
            continue
        status = str(STATUS.get(int(given), int(given)))
        codes = [*found.get(status, {}).get("description", "").split(", "), *said["description"].split(", ")]
        known = ", ".join(dict.fromkeys(code for code in codes if code))
        found[status] = {"description": known, "content": {"application/json": ERROR}}
    return found


def _codes(kind: type[EscribaError]) -> set[str]:
    return {kind.code}.union(*map(_codes, kind.__subclasses__()))


CALLERS = _codes(BadMedia) | _codes(Invalid) | {"cancelled"}
"""Codes of jobs that could not end otherwise, whoever heard them: the recording, what was asked, its owner's wish."""


def status_of_job(code: str) -> int:
    """Of a job that ended without a transcript. The platform has tried again by itself where that could help."""
    return 400 if code in CALLERS else 500


class OpenAIEdge:
    """Gives every error below /v1 OpenAI's shape."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if f"{scope.get('path', '')}/".startswith(f"{PREFIX}/"):
            scope[SHAPE] = in_openai_shape
        await self._app(scope, receive, send)
