"""Submissions that come as a JSON object and not as a form."""

from typing import Any

from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect, Request

from api.forms import DEEPEST_OPTIONS, read_object
from api.uploads import LARGEST_FIELDS_BYTES
from domain.errors import BodyTooLarge, Invalid, MalformedUpload


def is_json(request: Request) -> bool:
    return parse_options_header(request.headers.get("content-type", ""))[0] == b"application/json"


async def read_json(
    request: Request, *, longest: int = LARGEST_FIELDS_BYTES, deepest: int = DEEPEST_OPTIONS + 1
) -> dict[str, Any]:
    """An object of at most so many bytes and levels. Raises BodyTooLarge, Invalid, MalformedUpload."""
    body = bytearray()
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > longest:
                raise BodyTooLarge(longest)
    except ClientDisconnect as error:
        raise MalformedUpload("the body broke off before its end") from error
    try:
        return read_object(body.decode(), deepest=deepest, such_as='{"audio_url": "https://…"}')
    except UnicodeDecodeError as error:
        raise Invalid("the body is not UTF-8 text") from error
    except ValueError as error:
        raise Invalid(f"the body: {error}") from error
