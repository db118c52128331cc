"""What is measured of an attempt, and written of it into the trace of its job."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from time import perf_counter

from config import metrics, traces
from services.attempts import Attempt
from workers.recorder import Recorder


class Outcome(StrEnum):
    """How an attempt ended."""

    COMPLETED = "completed"
    RETRIED = "retried"
    FAILED = "failed"
    CANCELLED = "cancelled"
    OVERDUE = "overdue"
    LOST = "lost"
    """The job was no longer this worker's."""
    RELEASED = "released"
    """The worker shut down, or a bug kept the end from being told."""


@dataclass(slots=True)
class Ending:
    outcome: Outcome = Outcome.RELEASED
    code: str | None = None
    """Of the error, where there was one."""


@contextmanager
def attempted(attempt: Attempt, engine: str) -> Iterator[Ending]:
    """Around an attempt, which fills in how it ended. `engine`: the one that was chosen first."""
    ending, began = Ending(), perf_counter()
    if attempt.fence == 1:
        metrics.WAIT_SECONDS.labels(engine).observe(attempt.waited)
    with traces.span("attempt", job_id=attempt.job_id) as span:
        span.note(job_id=str(attempt.job_id), fence=attempt.fence, engine=engine)
        try:
            yield ending
        finally:
            span.note(outcome=ending.outcome, code=ending.code or "")
            metrics.ATTEMPTS.labels(engine, ending.outcome).inc()
            if ending.code is not None:
                metrics.FAILURES.labels(ending.code).inc()
            if ending.outcome == Outcome.COMPLETED:
                metrics.JOB_SECONDS.labels(engine).observe(attempt.waited + perf_counter() - began)


@contextmanager
def stage(name: str, **attributes: str) -> Iterator[None]:
    """One of the parts that every attempt has, or most."""
    with traces.span(name) as span, metrics.timed(metrics.STAGE_SECONDS.labels(name)):
        span.note(**attributes)
        yield


def heard(recorder: Recorder, audio_seconds: float) -> None:
    """What an engine has done in a job that is complete."""
    metrics.AUDIO_SECONDS.labels(recorder.engine).inc(audio_seconds)
    if recorder.engine_seconds is not None and audio_seconds > 0:
        metrics.REAL_TIME_FACTOR.labels(recorder.engine).observe(recorder.engine_seconds / audio_seconds)
