"""Requests by message: a recording that lies where the platform can read it, in; one answer, out. Pure.

The words are those of the system whose clients send them: `attachment_id`, `texto`, `import_batch_id`.
"""

import hashlib
import json
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any, Self, TypeGuard

from domain.errors import UnsupportedMedia
from domain.request_errors import BadRequestMessage

EXTENSIONS = (".opus", ".mp3", ".wav", ".m4a", ".ogg", ".flac", ".aac", ".wma")

MAX_RETRIES = 2
"""Times that a request whose try failed is sent around again."""

MOST_BYTES = 65_536
"""Of a request; an honest one has some hundred."""

INTEGERS = range(-(2**63), 2**63)
"""What an id may be: the clients' language keeps it in 64 bits, and so does PostgreSQL."""

MAY_PASS = frozenset(
    {
        *("engine_failed", "engine_busy", "engine_crashed", "engine_oom", "engine_silent"),
        *("storage_unavailable", "unavailable", "internal"),
    }
)
"""Codes of failures behind which another try may do better. Not `worker_crashed`: three tries have been had by then."""

CANCELLED = "the job was cancelled"
ERASED = "the job was erased before its result could be delivered"


class Route(StrEnum):
    """Where an answer goes, as a routing key."""

    RESULT = "transcription.result"
    RETRY = "transcription.retry"
    """Back to the sender of requests, who is ourselves: the try failed, and there is another."""


@dataclass(frozen=True, slots=True)
class Correlation:
    """What an answer repeats of its request, so that whoever asked knows which it is."""

    attachment_id: int = 0
    """0 where the request has none that can be read."""
    import_batch_id: int | None = None

    @classmethod
    def of(cls, body: bytes) -> Self:
        """As much as can be read of a request, however malformed."""
        said = _object(body) or {}
        attachment_id, import_batch_id = said.get("attachment_id"), said.get("import_batch_id")
        batch = import_batch_id if _is_integer(import_batch_id) else None
        return cls(attachment_id if _is_integer(attachment_id) else 0, batch)


@dataclass(frozen=True, slots=True)
class AudioRequest:
    correlation: Correlation
    audio_file_path: str = field(repr=False)
    language: str | None
    """None: to be found out."""
    retry_count: int
    """Tries before this one."""

    @classmethod
    def parse(cls, body: bytes, *, header: object = None) -> Self:
        """`header` says how often the request was tried before, where its body does not. Raises BadRequestMessage."""
        said = _object(body)
        if said is None:
            example = '{"attachment_id": 1, "audio_file_path": "/a.mp3"}'
            raise BadRequestMessage(f"it is no JSON object such as {example} of at most {MOST_BYTES:,} bytes")
        if not _is_integer(said.get("attachment_id")):
            raise BadRequestMessage("attachment_id has to be there, and an integer of 64 bits")
        if not isinstance(said.get("audio_file_path"), str):
            raise BadRequestMessage("audio_file_path has to be there, and a string")
        if said.get("import_batch_id") is not None and not _is_integer(said["import_batch_id"]):
            raise BadRequestMessage("import_batch_id has to be an integer of 64 bits, or null")
        language = said.get("language")
        if language is not None and not isinstance(language, str):
            raise BadRequestMessage('language has to be a string such as "es"; left out or empty, it is found out')
        retries = _retries(said, header)
        return cls(Correlation.of(body), said["audio_file_path"], language or None, retries)

    def check_extension(self) -> None:
        """Raises UnsupportedMedia."""
        if PurePosixPath(self.audio_file_path).suffix.lower() not in EXTENSIONS:
            raise UnsupportedMedia(f"the file's name ends in none of {', '.join(EXTENSIONS)}")


def retries_of(body: bytes, header: object = None) -> int:
    """How often a request was tried before, as far as that can be read of it."""
    try:
        return _retries(_object(body) or {}, header)
    except BadRequestMessage:
        return 0


def _retries(said: dict[str, Any], header: object) -> int:
    found = said.get("retry_count", header)
    if found is None:
        return 0
    if not _is_integer(found) or found < 0:
        raise BadRequestMessage("retry_count has to be an integer from 0, as should the header x-retry-count")
    return min(found, MAX_RETRIES)


def key_of(body: bytes, message_id: str | None, retry_count: int) -> str:
    """What makes two messages the same request: its name, if it has one, its words and how often it was tried."""
    said = _object(body)
    words = body if said is None else _canonical({name: said[name] for name in said if name != "retry_count"})
    parts = ((message_id or "").encode(), words, str(retry_count).encode())
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def next_try(body: bytes, retry_count: int) -> bytes:
    """The request as it is sent around again."""
    return json.dumps({**(_object(body) or {}), "retry_count": retry_count}).encode()


def without_path(correlation: Correlation, retry_count: int) -> bytes:
    """A request of which nothing is left but what its answer repeats."""
    echoed = {"attachment_id": correlation.attachment_id, "import_batch_id": correlation.import_batch_id}
    return json.dumps({**echoed, "audio_file_path": "", "retry_count": retry_count}).encode()


def success(correlation: Correlation, *, model: str, duration: float) -> bytes:
    """The answer without its text, which is put in when it is sent: what is kept of an answer has no word in it."""
    return _answer(correlation, model, duration, succeeded=True)


def failure(correlation: Correlation, *, model: str, message: str) -> bytes:
    return _answer(correlation, model, 0, succeeded=False, error_message=message)


def with_text(body: bytes, text: str) -> bytes:
    return _written({**json.loads(body), "texto": text})


def _answer(correlation: Correlation, model: str, duration: float, *, succeeded: bool, **further: str) -> bytes:
    return _written(
        {
            "attachment_id": correlation.attachment_id,
            "texto": "",
            "duration": duration,
            "model": model,
            "success": succeeded,
            "import_batch_id": correlation.import_batch_id,
            **further,
        }
    )


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        said = json.loads(body) if len(body) <= MOST_BYTES else None
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def _is_integer(value: object) -> TypeGuard[int]:
    return type(value) is int and value in INTEGERS


def _canonical(said: dict[str, Any]) -> bytes:
    return json.dumps(said, sort_keys=True).encode()


def _written(said: dict[str, Any]) -> bytes:
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()
