"""The OpenAPI document: what any route may answer is said of each, beside what is its own.

Routes name the errors that are theirs. Those that come before a route is reached (who asks, from where, with what body)
are the same for all of their kind, and are added here.
"""

from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI

from api.dialects import openai_errors
from api.errors import ErrorView, status_of_kind
from domain import account_errors, errors
from domain.errors import EscribaError

ERROR = {"application/json": {"schema": {"$ref": f"#/components/schemas/{ErrorView.__name__}"}}}

EVERYWHERE = (errors.HostNotAllowed, errors.OriginNotAllowed, errors.DatabaseUnavailable, errors.RowsUnguarded)
WITH_A_CALLER = (account_errors.Unauthenticated, account_errors.BadToken, account_errors.MissingScope)
WITH_WORDS = (errors.Invalid,)
WITH_A_BODY = (errors.MalformedUpload, errors.BodyTooLarge)
OF_ACCOUNTS = (errors.NotFound,)
"""Where nobody is asked who they are, there are none."""

FRAMEWORK = {"application/json": {"schema": {"$ref": "#/components/schemas/HTTPValidationError"}}}
"""What FastAPI documents for a 422, and nothing here ever answers."""


def install(app: FastAPI) -> None:
    made = app.openapi

    def complete() -> dict[str, Any]:
        if app.openapi_schema is None:
            _complete(made())
        return made()

    app.openapi = complete  # type: ignore[method-assign]


def _complete(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        for operation in operations.values():
            _say(operation["responses"], _common(operation))
            if path.startswith(openai_errors.PREFIX):
                operation["responses"] = openai_errors.documented_in_openai_shape(operation["responses"])
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)


def _common(operation: dict[str, Any]) -> Iterable[type[EscribaError]]:
    yield from EVERYWHERE
    if "security" in operation:
        yield from WITH_A_CALLER
    if "parameters" in operation or "requestBody" in operation:
        yield from WITH_WORDS
    if "requestBody" in operation:
        yield from WITH_A_BODY
    if "accounts" in operation["tags"]:
        yield from OF_ACCOUNTS


def _say(responses: dict[str, Any], kinds: Iterable[type[EscribaError]]) -> None:
    for kind in kinds:
        status = str(status_of_kind(kind))
        said = responses.setdefault(status, {"description": "", "content": ERROR})
        if said["content"] == FRAMEWORK:
            said |= {"description": "", "content": ERROR}
        codes = said["description"].split(", ") if said["description"] else []
        if said["content"] == ERROR and kind.code not in codes:
            said["description"] = ", ".join([*codes, kind.code])
