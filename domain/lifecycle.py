"""The life of a job: its states, the moves between them, and the budgets that end it.

One table, `MOVES`, is the source of the guards in `db.jobs` and of the trigger in PostgreSQL. "Waiting for a
retry" is QUEUED with a `run_at` in the future; "being cancelled" is PROCESSING with `cancel_requested_at` set:
a wish is a flag, not a state.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from domain.capabilities import Term
from domain.transcript import Value


class JobState(StrEnum):
    PENDING = "pending"
    """The upload has not finished, or waits to be run. Left by the API; the sweeper expires it after a day."""
    QUEUED = "queued"
    """Waiting for a worker. Rung for by the API, rung for again by the sweeper until somebody claims it."""
    PROCESSING = "processing"
    """One worker holds it by lease and fence. A crash leaves it to the sweeper once the lease has run out."""
    COMPLETED = "completed"
    """The transcript is saved. Stays until it is erased or its retention ends."""
    FAILED = "failed"
    """Ended without a transcript; `error_details` has the public code and what to do."""
    CANCELLED = "cancelled"
    """Ended by its owner's wish."""
    EXPIRED = "expired"
    """The upload never finished, or was never run."""
    PURGED = "purged"
    """Erased: a tombstone without personal data."""


TERMINAL = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED})
ENDED = TERMINAL | {JobState.EXPIRED, JobState.PURGED}

Actor = Literal["api", "worker", "sweeper", "retention"]


@dataclass(frozen=True, slots=True)
class Move:
    name: str
    source: JobState
    target: JobState
    actors: tuple[Actor, ...]
    guard: str
    """What must hold besides the state, in words; `db.jobs` has it as SQL."""


S = JobState
MOVES: tuple[Move, ...] = (
    Move("finalise", S.PENDING, S.QUEUED, ("api",), "the object's size and hash are pinned in the row"),
    Move("expire", S.PENDING, S.EXPIRED, ("sweeper",), "older than a day"),
    Move("claim", S.QUEUED, S.PROCESSING, ("worker",), "due and no wish to cancel; the fence grows"),
    Move("heartbeat", S.PROCESSING, S.PROCESSING, ("worker",), "the fence"),
    Move("complete", S.PROCESSING, S.COMPLETED, ("worker",), "the fence, no wish to cancel"),
    Move("fail", S.PROCESSING, S.FAILED, ("worker", "sweeper"), "the fence; or the lease has run out"),
    Move("retry", S.PROCESSING, S.QUEUED, ("worker",), "the fence, retries left, no wish to cancel"),
    Move("release", S.PROCESSING, S.QUEUED, ("worker",), "the fence, no wish to cancel; charged to nobody"),
    Move("rescue", S.PROCESSING, S.QUEUED, ("sweeper",), "the lease has run out, no wish to cancel"),
    Move("cancel_waiting", S.QUEUED, S.CANCELLED, ("api",), "none"),
    Move("cancel_working", S.PROCESSING, S.CANCELLED, ("worker", "sweeper"), "the wish; the fence or a lost lease"),
    Move("give_up", S.QUEUED, S.FAILED, ("sweeper", "worker"), "the crashes are spent, or nothing can honour it"),
    Move("cancel_pending", S.PENDING, S.CANCELLED, ("api",), "none"),
    *(Move("purge", state, S.PURGED, ("retention",), "none") for state in (*sorted(TERMINAL), S.EXPIRED)),
)


def sources_of(target: JobState) -> list[JobState]:
    """The states from which `target` can be reached, for a guard like `state IN (…)`."""
    return sorted({move.source for move in MOVES if move.target == target})


def allowed(source: JobState, target: JobState) -> bool:
    return any(move.source == source and move.target == target for move in MOVES)


MAX_RETRIES = 3
"""Tries that an engine's own transient failures may cost (seed 001's max_retries)."""

MAX_CRASHES = 3
"""Lost leases that a job may cost: a separate budget, as a crash says less about the job than a failure does."""

QUARANTINE_AFTER = 1
"""Crashes after which a job is tried alone: a worker's crash charges all its jobs, and only the next ones their own."""

WORKER_CRASHED = {
    "code": "worker_crashed",
    "message": "the workers that took this job died, so its recording may be at fault; try another format or engine",
}
"""`error_details` of a job whose budget for crashes is spent."""

UPLOAD_EXPIRED = {
    "code": "upload_expired",
    "message": "the recording was not run, or not uploaded to its end, in time and is deleted; upload it again",
}
"""`error_details` of a job that waited for too long to be run (UPLOAD_EXPIRY_HOURS)."""

RETRY_CEILING = timedelta(seconds=300)


def retry_delay(attempts: int, spread: float) -> timedelta:
    """How long to wait before try number `attempts + 1`; `spread` in 0.5 … 1.5 keeps retries from marching in step."""
    return min(RETRY_CEILING, timedelta(seconds=2**attempts)) * spread


def time_allowed(audio_seconds: float, *, floor: timedelta, per_audio_second: float) -> timedelta:
    """The longest that one attempt may take: a floor, and a share for every second of audio."""
    return floor + timedelta(seconds=per_audio_second * audio_seconds)


class JobOptions(Value):
    """What the caller asked for, frozen in the row when the job is made: every try uses exactly these."""

    engine: str
    language: str | None = None
    model: str | None = None
    enable_diarization: bool | None = None
    """None: nothing was said, and the engine does what it does by itself."""
    num_speakers: int | None = Field(default=None, ge=1, le=64)
    min_speakers: int | None = Field(default=None, ge=1, le=64)
    max_speakers: int | None = Field(default=None, ge=1, le=64)
    channel_roles: tuple[str, ...] = ()
    """Who speaks on each channel, in the order of the channels; empty where the caller did not say."""
    context_id: UUID | None = None
    context_version: int | None = None
    terms: tuple[Term, ...] = ()
    """The vocabulary of that version, kept here so that a retry hears with the same words."""
    engine_options: dict[str, Any] = Field(default_factory=dict)
    """The engine's own, as its report's JSON Schema has them: hotwords, initial_prompt."""
    stages: tuple[str, ...] = ()
    """Of a rerun: the stages that it does; what comes before them was given by its parent. Empty: all."""
    return_timestamps: bool | None = None
    """False: who reads the result where it was submitted wants the text alone; nothing is heard differently."""
    on_unsupported: Literal["fail", "warn"] = "fail"
    warnings: tuple[dict[str, Any], ...] = ()
    """Notices made at submission (an option that was waived), to be kept in the result."""
