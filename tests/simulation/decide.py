"""The life of a job as pure functions: what each move of `db.jobs`, `db.erasures` and `db.sweeps` makes of a row.

`decide(row, move, now, …)` answers with the row behind the move and the durable event that tells of it, or None where
a guard is broken. `test_conformance` holds every answer against real PostgreSQL.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, cast

from db import job_events
from db.tables import Job
from domain.events import Event
from domain.lifecycle import MAX_CRASHES, MOVES, TERMINAL, UPLOAD_EXPIRED, WORKER_CRASHED, JobState
from tests.simulation.rows import JobRow

Decision = tuple[JobRow, Event | None]


def decide(row: JobRow, move: str, now: datetime, **given: Any) -> Decision | None:
    transition = TRANSITIONS[move]
    if row.state not in transition.sources:
        return None
    after = transition.function(row, now, **given)
    if after is None:
        return None
    return after, None if after.seq == row.seq else state_event(after)


def state_event(row: JobRow) -> Event:
    return job_events.state_event(cast("Job", row), message=row.message)


def is_lost(row: JobRow, now: datetime) -> bool:
    return row.lease_until is not None and row.lease_until < now


def is_unwanted(row: JobRow) -> bool:
    return row.cancel_requested_at is not None


def _moved(row: JobRow, now: datetime, state: JobState, **values: Any) -> JobRow:
    return replace(row, state=state, seq=row.seq + 1, updated_at=now, **values)


def _ended(row: JobRow, now: datetime, state: JobState, **values: Any) -> JobRow:
    return _moved(row, now, state, completed_at=now, lease_until=None, deadline_at=None, **values)


def _returned(row: JobRow, now: datetime, *, message: str, **values: Any) -> JobRow:
    """Back to the queue; where a cancel is wished for, cancelled instead."""
    unwanted = is_unwanted(row)
    return _moved(
        row,
        now,
        JobState.CANCELLED if unwanted else JobState.QUEUED,
        completed_at=now if unwanted else None,
        message="cancelled" if unwanted else message,
        worker_id=None,
        lease_until=None,
        deadline_at=None,
        stage=None,
        **values,
    )


def pin(row: JobRow, now: datetime, *, owner: str, size_bytes: int, sha256: str) -> JobRow | None:
    if row.owner != owner:
        return None
    return replace(row, source_bytes=size_bytes, source_sha256=sha256, updated_at=now)


def finalise(row: JobRow, now: datetime, *, owner: str, **wanted: Any) -> JobRow | None:
    if row.owner != owner or row.source_sha256 is None:
        return None
    return _moved(row, now, JobState.QUEUED, run_at=now, dispatched_at=now, **wanted)


def expire(row: JobRow, now: datetime, *, older_than: timedelta) -> JobRow | None:
    if row.created_at >= now - older_than:
        return None
    said = {"error_details": UPLOAD_EXPIRED, "message": UPLOAD_EXPIRED["message"]}
    return _moved(row, now, JobState.EXPIRED, source_key=None, audio_deleted_at=now, completed_at=now, **said)


def claim(row: JobRow, now: datetime, *, worker: str, lease: timedelta, floor: timedelta) -> JobRow | None:
    if row.run_at > now or is_unwanted(row) or row.crash_count >= MAX_CRASHES:
        return None
    return _moved(
        row,
        now,
        JobState.PROCESSING,
        fence=row.fence + 1,
        worker_id=worker,
        lease_until=now + lease,
        deadline_at=now + floor,
        started_at=row.started_at or now,
        segments_n=0,
        audio_done=None,
        stage=None,
        message=None,
    )


def complete(
    row: JobRow, now: datetime, *, fence: int, result_key: str, message: str | None, segments_n: int | None
) -> JobRow | None:
    if row.fence != fence or is_unwanted(row):
        return None
    return _ended(
        row,
        now,
        JobState.COMPLETED,
        result_key=result_key,
        audio_done=row.audio_seconds,
        message=message,
        stage=None,
        segments_n=row.segments_n if segments_n is None else segments_n,
    )


def fail(row: JobRow, now: datetime, *, fence: int, error: Mapping[str, Any]) -> JobRow | None:
    if row.fence != fence or is_unwanted(row):
        return None
    return _ended(row, now, JobState.FAILED, error_details=error, message=error["message"])


def cancel_working(row: JobRow, now: datetime, *, fence: int) -> JobRow | None:
    if row.fence != fence or not is_unwanted(row):
        return None
    return _ended(row, now, JobState.CANCELLED, message="cancelled")


def retry(
    row: JobRow, now: datetime, *, fence: int, delay: timedelta, error: Mapping[str, Any], message: str
) -> JobRow | None:
    if row.fence != fence:
        return None
    return _returned(row, now, message=message, attempts=row.attempts + 1, run_at=now + delay, error_details=error)


def release(row: JobRow, now: datetime, *, fence: int, message: str, delay: timedelta) -> JobRow | None:
    if row.fence != fence:
        return None
    return _returned(row, now, message=message, run_at=now + delay, dispatch_no=row.dispatch_no + 1, dispatched_at=now)


def end_lost(row: JobRow, now: datetime) -> JobRow | None:
    """What the sweeper makes of a lease that has run out: back to the queue, or failed once the crashes are spent."""
    if not is_lost(row, now):
        return None
    crashes = row.crash_count + 1
    if crashes >= MAX_CRASHES and not is_unwanted(row):
        said = {"error_details": WORKER_CRASHED, "message": WORKER_CRASHED["message"]}
        return _ended(row, now, JobState.FAILED, crash_count=crashes, **said)
    return _returned(row, now, message="its worker was lost", crash_count=crashes, run_at=now)


def cancel_waiting(row: JobRow, now: datetime, *, owner: str) -> JobRow | None:
    if row.owner != owner:
        return None
    return _ended(row, now, JobState.CANCELLED, cancel_requested_at=now, message="cancelled")


def wish_cancelled(row: JobRow, now: datetime, *, owner: str) -> JobRow | None:
    return replace(row, cancel_requested_at=row.cancel_requested_at or now) if row.owner == owner else None


def wish_erased(row: JobRow, now: datetime, *, owner: str) -> JobRow | None:
    if row.owner != owner or row.erase_requested_at is not None:
        return None
    return replace(row, erase_requested_at=now, cancel_requested_at=row.cancel_requested_at or now)


def wish_expired_erased(row: JobRow, now: datetime, *, kept: timedelta | None) -> JobRow | None:
    if row.completed_at is None or row.erase_requested_at is not None:
        return None
    own = None if row.delete_after_seconds is None else timedelta(seconds=row.delete_after_seconds)
    if any(age is not None and row.completed_at < now - age for age in (own, kept)):
        return replace(row, erase_requested_at=now)
    return None


def note_erased(row: JobRow, now: datetime, *, objects_deleted: int) -> JobRow | None:
    counted = objects_deleted if row.objects_deleted is None else row.objects_deleted
    return replace(row, erased_at=row.erased_at or now, objects_deleted=counted)


def give_up(row: JobRow, now: datetime, *, error: Mapping[str, Any]) -> JobRow | None:
    return _ended(row, now, JobState.FAILED, error_details=error, message=error["message"])


def purge(row: JobRow, now: datetime, *, owner: str | None) -> JobRow | None:
    if owner is not None and row.owner != owner:
        return None
    return _moved(
        row,
        now,
        JobState.PURGED,
        result_key=None,
        source_key=None,
        message=None,
        error_details=None,
        engine_params={},
        audio_deleted_at=row.audio_deleted_at or now,
    )


def heartbeat(row: JobRow, now: datetime, *, fence: int, lease: timedelta) -> JobRow | None:
    return replace(row, lease_until=now + lease) if row.fence == fence else None


def note_decoded(
    row: JobRow, now: datetime, *, fence: int, audio_seconds: float, content_type: str, allowed: timedelta
) -> JobRow | None:
    if row.fence != fence:
        return None
    return replace(row, audio_seconds=audio_seconds, content_type=content_type, deadline_at=now + allowed)


def note_progress(
    row: JobRow, now: datetime, *, fence: int, stage: str | None, audio_done: float | None, segments_n: int | None
) -> JobRow | None:
    if row.fence != fence:
        return None
    counted = row.segments_n if segments_n is None else segments_n
    return replace(row, stage=stage, audio_done=audio_done, updated_at=now, segments_n=counted)


def postpone(row: JobRow, now: datetime, *, message: str, delay: timedelta) -> JobRow | None:
    return replace(row, run_at=now + delay, message=message, updated_at=now) if row.run_at <= now else None


def extend(row: JobRow, now: datetime, *, lease: timedelta) -> JobRow | None:
    return replace(row, lease_until=now + lease)


def renumber(row: JobRow, now: datetime) -> JobRow | None:
    return replace(row, dispatch_no=row.dispatch_no + 1, dispatched_at=now)


def touch_dispatched(row: JobRow, now: datetime) -> JobRow | None:
    return replace(row, dispatched_at=now)


def note_audio_deleted(row: JobRow, now: datetime) -> JobRow | None:
    return replace(row, audio_deleted_at=now, source_key=None)


@dataclass(frozen=True, slots=True)
class Transition:
    function: Callable[..., JobRow | None]
    sources: frozenset[JobState]


def _of(function: Callable[..., JobRow | None], *moves: str) -> Transition:
    """From the states that the table of moves gives to `moves`."""
    sources = frozenset(move.source for move in MOVES if move.name in moves)
    assert sources, moves
    return Transition(function, sources)


def _in(function: Callable[..., JobRow | None], *states: JobState) -> Transition:
    return Transition(function, frozenset(states or JobState))


S = JobState
TRANSITIONS: dict[str, Transition] = {
    "pin": _in(pin, S.PENDING),
    "finalise": _of(finalise, "finalise"),
    "expire": _of(expire, "expire"),
    "claim": _of(claim, "claim"),
    "heartbeat": _of(heartbeat, "heartbeat"),
    "complete": _of(complete, "complete"),
    "fail": _of(fail, "fail"),
    "retry": _of(retry, "retry"),
    "release": _of(release, "release"),
    "end_lost": _of(end_lost, "rescue"),
    "cancel_waiting": _of(cancel_waiting, "cancel_waiting", "cancel_pending"),
    "cancel_working": _of(cancel_working, "cancel_working"),
    "give_up": _of(give_up, "give_up"),
    "purge": _of(purge, "purge"),
    "wish_cancelled": _in(wish_cancelled, S.PROCESSING),
    "wish_erased": _in(wish_erased, *(state for state in S if state != S.PURGED)),
    "wish_expired_erased": _in(wish_expired_erased, *TERMINAL, S.EXPIRED),
    "note_erased": _in(note_erased, S.PURGED),
    "note_decoded": _in(note_decoded, S.PROCESSING),
    "note_progress": _in(note_progress, S.PROCESSING),
    "postpone": _in(postpone, S.QUEUED),
    "extend": _in(extend, S.PROCESSING),
    "renumber": _in(renumber, S.QUEUED),
    "touch_dispatched": _in(touch_dispatched, S.QUEUED),
    "note_audio_deleted": _in(note_audio_deleted),
}
