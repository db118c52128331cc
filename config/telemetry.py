"""Structured logs of one process: a JSON object a line, with whatever ids were bound at the door, and of the trace.

What is measured is in `config.metrics`, spans are in `config.traces`: doors and workers open all three first.

Never a transcript, a file name or a token: an exception is logged by its type and its stack, not by its message,
because messages of libraries carry the values that they choked on (SQLAlchemy's the row, httpx's the URL). Of what
libraries log themselves there are first lines, from WARNING on, whatever the level: below, some log what they send.
"""

import json
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from config import traces
from config.settings import LogSettings
from domain.errors import EscribaError

_bound: ContextVar[dict[str, Any] | None] = ContextVar("bound", default=None)


@contextmanager
def bind(**ids: Any) -> Iterator[None]:
    """Put `ids` on every line logged within, in this task and those it starts."""
    token = _bound.set({**(_bound.get() or {}), **ids})
    try:
        yield
    finally:
        _bound.reset(token)


def note(**ids: Any) -> None:
    """Put `ids`, which were not known when it began, on the lines that are yet to come within the innermost `bind`."""
    bound = _bound.get()
    if bound is not None:
        bound.update(ids)


class JsonFormatter(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "process": self._process,
            "pid": os.getpid(),
            "logger": record.name,
            "message": _message(record),
            **(_bound.get() or {}),
            **traces.ids(),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = describe_error(record.exc_info[1])
        return json.dumps(line, default=str)


def describe_error(error: BaseException) -> dict[str, Any]:
    """Type, public code and message where it is one of ours, and the stack without any value in it."""
    frames = traceback.extract_tb(error.__traceback__)
    described: dict[str, Any] = {
        "type": f"{type(error).__module__}.{type(error).__qualname__}",
        "stack": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-12:]],
    }
    if isinstance(error, EscribaError):
        described |= {"code": error.code, "message": str(error)}
    if error.__cause__ is not None:
        described["cause"] = describe_error(error.__cause__)
    return described


OURS = (
    *("__main__", "api", "cli", "config", "db", "domain", "engines", "media", "messaging", "rabbitmq"),
    *("services", "storage", "workers"),
)
"""The packages whose lines are written by these rules."""


def _message(record: logging.LogRecord) -> str:
    message = record.getMessage()
    # asyncio's further lines have the task and its exception with all values.
    return message if record.name.partition(".")[0] in OURS else message.partition("\n")[0]


def configure(settings: LogSettings, *, process: str) -> None:
    """Send this process's logs to standard error. Called first in every `__main__`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(process))
    root = logging.getLogger()
    root.handlers = [handler]
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    root.setLevel(max(level, logging.WARNING))
    for name in OURS:
        logging.getLogger(name).setLevel(level)
