"""Spans of one process, sent to a collector where the settings name one. Else nothing of it is even imported.

The trace of a job has the job's id for its own: whoever has the one finds the other, over every process and every
attempt, and nothing need be passed along. A request has a trace of its own, or its caller's, and links to the job's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol
from uuid import UUID

from config.telemetry_settings import TelemetrySettings


class Span(Protocol):
    """Something that takes its time. Attributes obey the rule of logs: no transcript, file name or token."""

    def rename(self, name: str) -> None: ...

    def note(self, **attributes: str | float) -> None: ...


class Spans(Protocol):
    @contextmanager
    def span(self, name: str, *, job_id: UUID | None = None, parent: str | None = None) -> Iterator[Span]: ...

    def link(self, job_id: UUID) -> None: ...

    def ids(self) -> dict[str, str]: ...

    def close(self) -> None: ...


class _Unseen:
    def rename(self, name: str) -> None: ...

    def note(self, **attributes: str | float) -> None: ...


UNSEEN: Span = _Unseen()

_spans: Spans | None = None


def open_for(settings: TelemetrySettings, *, process: str) -> None:
    """From here on, send spans to where the settings say, if they do."""
    global _spans
    if settings.traces_endpoint is not None:
        from config import otlp  # takes 150 ms and 20 MB, which is nothing to those who make no traces

        _spans = otlp.OtlpSpans(settings, process=process)


def close() -> None:
    """Send what has not been sent. A process that ends as others do need not: this is for one that ends at once."""
    if _spans is not None:
        _spans.close()


@contextmanager
def span(name: str, *, job_id: UUID | None = None, parent: str | None = None) -> Iterator[Span]:
    """What happens within, as a span.

    Args:
        job_id: begins the trace of this job, or goes on with it.
        parent: a `traceparent` header (W3C Trace Context) that it is a part of; one that is malformed counts as none.
    """
    if _spans is None:
        yield UNSEEN
        return
    with _spans.span(name, job_id=job_id, parent=parent) as begun:
        yield begun


def link(job_id: UUID) -> None:
    """Say that what is being done now led to all that is in the trace of a job."""
    if _spans is not None:
        _spans.link(job_id)


def ids() -> dict[str, str]:
    """Trace and span that this is in, for log lines."""
    return {} if _spans is None else _spans.ids()
