"""A stored object over HTTP, by RFC 9110 byte ranges; nothing of it is ever held whole."""

import re
from collections.abc import AsyncIterator
from urllib.parse import quote

from fastapi.responses import Response, StreamingResponse

from api.errors import Responses
from domain.errors import RangeNotSatisfiable
from storage.contract import Store

ONE_RANGE = re.compile(r"bytes=(\d*)-(\d*)")

LONGEST_NUMBER = 18
"""Digits of a number that may matter; no object has so many bytes."""

SAFE = {
    "Accept-Ranges": "bytes",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "sandbox",
    "X-Content-Type-Options": "nosniff",
}
"""An uploaded file is a stranger's: it must not run as a page of ours, whatever a browser takes it for."""

_BYTES = {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}
SERVED: Responses = {200: {"description": "all of it"} | _BYTES, 206: {"description": "the range"} | _BYTES}
"""Under the type of the recording, which OpenAPI cannot name."""


def parse(wanted: str | None, size: int) -> tuple[int, int] | None:
    """First byte and length, or None for the whole object. Raises RangeNotSatisfiable.

    What is no single byte range is ignored, as the standard allows.
    """
    matched = ONE_RANGE.fullmatch((wanted or "").replace(" ", ""))
    if matched is None or matched.groups() == ("", ""):
        return None
    first, last = matched.groups()
    start = _at_most(size, first) if first else size - _at_most(size, last)
    end = min(size, _at_most(size, last) + 1) if first and last else size
    if start >= size:
        raise RangeNotSatisfiable(size)
    return None if end <= start else (start, end - start)


def _at_most(size: int, digits: str) -> int:
    """The number, or `size` where it is less; a header has room for more digits than `int` reads."""
    digits = digits.lstrip("0") or "0"
    return size if len(digits) > LONGEST_NUMBER else min(size, int(digits))


async def serve(
    store: Store, key: str, *, size: int, content_type: str, wanted: str | None, filename: str | None = None
) -> Response:
    part = parse(wanted, size)
    start, length = part or (0, size)
    headers = {**SAFE, "Content-Length": str(length), "Content-Disposition": attachment(filename)}
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{size}"
    body = _read(store, key, start, length)
    return StreamingResponse(body, 206 if part else 200, headers=headers, media_type=content_type)


def attachment(filename: str | None) -> str:
    """The value of Content-Disposition (RFC 6266), whatever is in the name."""
    return "attachment" if filename is None else f"attachment; filename*=UTF-8''{quote(filename, safe='')}"


async def _read(store: Store, key: str, start: int, length: int) -> AsyncIterator[bytes]:
    if not length:
        return
    async with store.open(key, start=start, length=length) as chunks:
        async for chunk in chunks:
            yield chunk
