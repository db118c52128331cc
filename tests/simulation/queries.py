"""The queries of `db`, by the same names and signatures, on the simulated database; `installed` puts them in place.

What a move makes of a row is in `decide`; here is only which rows it is asked of, and what else the same transaction
writes.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from types import ModuleType
from typing import Any
from unittest.mock import patch
from uuid import UUID

from db import (
    duties,
    engine_reports,
    erasures,
    history,
    idempotency,
    jobs,
    lanes,
    sendings,
    sweeps,
    uploads,
    usage,
    videos,
)
from db.sweeps import Due
from domain.capabilities import EngineReport
from domain.events import Event
from domain.lifecycle import ENDED, MAX_CRASHES, TERMINAL, JobState
from tests.simulation.database import Transaction
from tests.simulation.job_queries import Jobs
from tests.simulation.lane_queries import Lanes
from tests.simulation.rows import DutyRow, JobRow, KeyRow


class Uploads:
    """In place of `db.uploads`."""

    @staticmethod
    async def pin(session: Transaction, job_id: UUID, *, owner: str, size_bytes: int, sha256: str) -> JobRow | None:
        return await session.move(job_id, "pin", owner=owner, size_bytes=size_bytes, sha256=sha256)

    @staticmethod
    async def finalise(
        session: Transaction, job_id: UUID, *, owner: str, session_id: UUID | None, **wanted: Any
    ) -> JobRow | None:
        row = await session.move(job_id, "finalise", owner=owner, **wanted)
        if row is not None and session_id is not None:
            kept = session.get("transcript", row.transcript_id)
            session.put(replace(kept, session_id=session_id), "transcript", kept.id)
        return row

    @staticmethod
    async def expire(session: Transaction, *, older_than: timedelta, limit: int) -> list[JobRow]:
        now = await session.statement()
        free = [row.id for row in session.jobs() if session.is_free("job", row.id)][:limit]
        expired = await _move_all(session, free, "expire", older_than=older_than)
        for row in expired:
            kept = session.get("transcript", row.transcript_id)
            session.put(replace(kept, status=JobState.FAILED, updated_at=now), "transcript", kept.id)
        return expired


class Videos:
    """In place of `db.videos`: nobody asks for any here."""

    @staticmethod
    async def take_up(session: Transaction, *, worker: str, lease: timedelta) -> None:
        await session.statement()

    @staticmethod
    async def any_lost(session: Transaction) -> bool:
        await session.statement()
        return False

    @staticmethod
    async def extend_all_leases(session: Transaction, lease: timedelta) -> None:
        await session.statement()

    @staticmethod
    async def note_deleted(session: Transaction, job_ids: Iterable[UUID]) -> None:
        await session.statement()

    @staticmethod
    async def keys_in_use(session: Transaction, job_ids: Iterable[UUID]) -> set[str]:
        await session.statement()
        return set()


class Sendings:
    """In place of `db.sendings`: every recording comes in one piece here."""

    @staticmethod
    async def get(session: Transaction, job_id: UUID, *, owner: str) -> None:
        await session.statement()


class Erasures:
    """In place of `db.erasures`."""

    @staticmethod
    async def wish_erased(session: Transaction, job_id: UUID, *, owner: str) -> JobRow | None:
        return await session.move(job_id, "wish_erased", owner=owner)

    @staticmethod
    async def to_erase(session: Transaction, *, limit: int) -> list[JobRow]:
        await session.statement()
        return [row for row in session.jobs() if _is_unerased(row)][:limit]

    @staticmethod
    async def tombstone(session: Transaction, job_id: UUID, *, owner: str) -> JobRow | None:
        await session.statement()
        row = session.job(job_id)
        if row is None or row.owner != owner:
            return None
        return row if row.state == JobState.PURGED or row.erase_requested_at is not None else None

    @staticmethod
    async def note_erased(session: Transaction, job_id: UUID, *, objects_deleted: int) -> JobRow | None:
        return await session.move(job_id, "note_erased", objects_deleted=objects_deleted)


class Sweeps:
    """In place of `db.sweeps`."""

    @staticmethod
    async def due(session: Transaction, *, ring_after: timedelta) -> Due:
        now = await session.statement()
        rows = session.jobs()
        return Due(
            lost=any(_is_lost(row, now) for row in rows),
            spent=any(map(_is_spent, rows)),
            unrung=any(_is_unrung(row, now, ring_after) for row in rows),
            unerased=any(map(_is_unerased, rows)),
        )

    @staticmethod
    async def pin_now(session: Transaction) -> None:
        await session.statement()

    @staticmethod
    async def extend_all_leases(session: Transaction, lease: timedelta) -> int:
        return len(await _move_all(session, (row.id for row in session.jobs()), "extend", lease=lease))

    @staticmethod
    async def stale_dispatches(session: Transaction, *, older_than: timedelta, limit: int) -> list[tuple[UUID, int]]:
        now = await session.statement()
        stale = [row for row in session.jobs() if _is_unrung(row, now, older_than)]
        return [(row.id, row.dispatch_no) for row in sorted(stale, key=lambda row: row.dispatched_at)][:limit]

    @staticmethod
    async def renumber(session: Transaction, job_ids: Iterable[UUID]) -> list[tuple[UUID, int]]:
        return [(row.id, row.dispatch_no) for row in await _move_all(session, job_ids, "renumber")]

    @staticmethod
    async def touch_dispatched(session: Transaction, job_ids: Iterable[UUID]) -> None:
        await _move_all(session, job_ids, "touch_dispatched")

    @staticmethod
    async def spent(session: Transaction, *, limit: int) -> list[UUID]:
        await session.statement()
        return [row.id for row in session.jobs() if _is_spent(row)][:limit]

    @staticmethod
    async def with_expired_audio(
        session: Transaction, *, kept: timedelta, failed_kept: timedelta, limit: int
    ) -> list[JobRow]:
        now = await session.statement()
        expired = [row for row in session.jobs() if _is_past(row, now, kept, failed_kept)]
        free = [row for row in expired if session.is_free("job", row.id)][:limit]
        for row in free:
            await session.lock("job", row.id)
        return free

    @staticmethod
    async def note_audio_deleted(session: Transaction, job_ids: Iterable[UUID]) -> None:
        await _move_all(session, job_ids, "note_audio_deleted")

    @staticmethod
    async def wish_expired_erased(session: Transaction, *, kept: timedelta | None, limit: int) -> int:
        free = [row.id for row in session.jobs() if session.is_free("job", row.id)][:limit]
        return len(await _move_all(session, free, "wish_expired_erased", kept=kept))

    @staticmethod
    async def keys_in_use(session: Transaction, job_ids: Iterable[UUID]) -> set[str]:
        await session.statement()
        rows = [row for job_id in job_ids if (row := session.job(job_id)) is not None]
        return {key for row in rows for key in (row.source_key, row.result_key) if key is not None}

    @staticmethod
    async def with_stages(session: Transaction, job_ids: Iterable[UUID]) -> set[UUID]:
        await session.statement()
        rows = [row for job_id in job_ids if (row := session.job(job_id)) is not None]
        return {row.id for row in rows if row.source_key is not None}


def _is_lost(row: JobRow, now: datetime) -> bool:
    return row.state == JobState.PROCESSING and row.lease_until is not None and row.lease_until < now


def _is_spent(row: JobRow) -> bool:
    return row.state == JobState.QUEUED and row.crash_count >= MAX_CRASHES


def _is_unrung(row: JobRow, now: datetime, older_than: timedelta) -> bool:
    due = row.state == JobState.QUEUED and row.run_at <= now
    return due and (row.run_at > row.dispatched_at or row.dispatched_at < now - older_than)


def _is_unerased(row: JobRow) -> bool:
    return row.erase_requested_at is not None and row.erased_at is None and row.state in ENDED


def _is_past(row: JobRow, now: datetime, kept: timedelta, failed_kept: timedelta) -> bool:
    if row.audio_deleted_at is not None or row.completed_at is None or row.state not in TERMINAL:
        return False
    return row.completed_at < now - (failed_kept if row.state == JobState.FAILED else kept)


async def _move_all(session: Transaction, job_ids: Iterable[UUID], name: str, **given: Any) -> list[JobRow]:
    """One UPDATE of many rows: it locks them one after another."""
    now = await session.statement()
    moved = [await session.move_at(now, job_id, name, **given) for job_id in list(job_ids)]
    return [row for row in moved if row is not None]


class Duties:
    """In place of `db.duties`."""

    @staticmethod
    async def renew(connection: Transaction, name: str, *, holder: str, lease: timedelta) -> bool | None:
        now = await connection.statement()
        held: DutyRow | None = connection.get("duty", name)
        if held is None or held.until < now:
            return None
        if held.holder != holder:
            return False
        await connection.lock("duty", name)
        held = connection.get("duty", name)
        if held is None or held.until < now or held.holder != holder:
            return None
        connection.put(DutyRow(holder, now + lease), "duty", name)
        return True

    @staticmethod
    async def take(session: Transaction, name: str, *, holder: str, lease: timedelta) -> timedelta | None:
        now = await session.statement()
        await session.lock("duty", name)
        held: DutyRow | None = session.get("duty", name)
        if held is not None and held.until >= now and held.holder != holder:
            return None
        session.put(DutyRow(holder, now + lease), "duty", name)
        return timedelta(0) if held is None else max(now - held.until, timedelta(0))

    @staticmethod
    async def hand_back(session: Transaction, *, holder: str) -> None:
        now = await session.statement()
        held: DutyRow | None = session.get("duty", "sweeper")
        if held is not None and held.holder == holder:
            await session.lock("duty", "sweeper")
            held = session.get("duty", "sweeper")
            if held is not None and held.holder == holder:
                session.put(DutyRow(holder, now - timedelta(microseconds=1)), "duty", "sweeper")


class History:
    """In place of `db.history`."""

    @staticmethod
    async def events_after(session: Transaction, job_id: UUID, seq: int) -> list[Event]:
        await session.statement()
        return [event for event in session.get("events", job_id) or () if event.seq > seq]

    @staticmethod
    async def segments_after(
        session: Transaction, job_id: UUID, fence: int, n: int
    ) -> list[tuple[int, dict[str, Any]]]:
        await session.statement()
        return [(number, kept) for number, kept in session.get("segments", job_id, fence) or () if number > n]

    @staticmethod
    async def positions(session: Transaction, job_ids: Iterable[UUID]) -> dict[UUID, tuple[int, int, int]]:
        await session.statement()
        rows = [row for job_id in job_ids if (row := session.job(job_id)) is not None]
        return {row.id: (row.seq, row.fence, row.segments_n) for row in rows}


class Idempotency:
    """In place of `db.idempotency`."""

    @staticmethod
    async def take(session: Transaction, *, lasts: timedelta, **values: Any) -> bool:
        now = await session.statement()
        key = ("key", values["owner"], values["key_sha256"])
        await session.lock(*key)
        there: KeyRow | None = session.get(*key)
        if there is not None and there.created_at > now - lasts:
            return False
        session.put(KeyRow(created_at=now, **values), *key)
        return True

    @staticmethod
    async def answered(session: Transaction, *, owner: str, key_sha256: str, lasts: timedelta) -> KeyRow | None:
        now = await session.statement()
        found: KeyRow | None = session.get("key", owner, key_sha256)
        return found if found is not None and found.created_at > now - lasts else None


class Usage:
    """In place of `db.usage`."""

    @staticmethod
    async def record(
        session: Transaction, job_id: UUID, *, owner: str, profile_id: UUID | None, engine: str, audio_seconds: float
    ) -> None:
        await session.statement()
        session.put((owner, profile_id, engine, audio_seconds), "usage", job_id)


class EngineReports:
    """In place of `db.engine_reports`: one engine, reported for good when the world began."""

    @staticmethod
    async def latest(session: Transaction) -> list[tuple[EngineReport, bool]]:
        await session.statement()
        return [(session.get("report"), True)]


PLACES: dict[ModuleType, type] = {
    jobs: Jobs,
    lanes: Lanes,
    uploads: Uploads,
    videos: Videos,
    sendings: Sendings,
    erasures: Erasures,
    sweeps: Sweeps,
    duties: Duties,
    history: History,
    idempotency: Idempotency,
    engine_reports: EngineReports,
    usage: Usage,
}


def functions_of(place: type) -> dict[str, Any]:
    return {name: getattr(place, name) for name in vars(place) if not name.startswith("_")}


@contextmanager
def installed() -> Iterator[None]:
    """Have every service use the simulated queries; a query that is not simulated does not work meanwhile."""
    patches = [patch.multiple(module, **functions_of(place)) for module, place in PLACES.items()]
    for each in patches:
        each.start()
    try:
        yield
    finally:
        for each in reversed(patches):
            each.stop()
