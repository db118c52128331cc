"""The queries of `db.jobs`, by the same names and signatures, on the simulated database.

What a move makes of a row is in `decide`; here is what else the same transaction writes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from db.jobs import Beat, Queued
from db.tables import Transcript
from domain.lifecycle import TERMINAL, JobState
from tests.simulation.database import Transaction
from tests.simulation.decide import is_lost, is_unwanted, state_event
from tests.simulation.rows import NOTHING, JobRow, TranscriptRow

Segments = Sequence[tuple[int, dict[str, Any]]]


class Jobs:
    """In place of `db.jobs`."""

    @staticmethod
    async def insert_job(session: Transaction, transcript: Transcript, **values: Any) -> JobRow:
        now = await session.statement()
        kept = TranscriptRow(
            id=transcript.id,
            owner=transcript.owner,
            session_id=transcript.session_id,
            filename=transcript.filename,
            created_at=now,
            updated_at=now,
        )
        times: dict[str, Any] = dict.fromkeys(("run_at", "dispatched_at", "created_at", "updated_at"), now)
        row = JobRow(transcript_id=kept.id, owner=kept.owner, **times, **values)
        session.put(kept, "transcript", kept.id)
        session.add_job(row)
        session.put((state_event(row),), "events", row.id)
        return row

    @staticmethod
    async def get(
        session: Transaction, job_id: UUID, *, owner: str | None, lock: bool = False
    ) -> tuple[JobRow, TranscriptRow] | None:
        await session.statement()
        if lock:
            await session.lock("job", job_id)
        row = session.job(job_id)
        if row is None:
            return None
        gone = row.state == JobState.PURGED or row.erase_requested_at is not None
        if owner is not None and (row.owner != owner or gone):
            return None
        return row, session.get("transcript", row.transcript_id)

    @staticmethod
    async def claim(
        session: Transaction, job_id: UUID, *, worker: str, lease: timedelta, floor: timedelta
    ) -> JobRow | None:
        return await session.move(job_id, "claim", worker=worker, lease=lease, floor=floor)

    @staticmethod
    async def waiting(session: Transaction, job_id: UUID) -> Queued | None:
        await session.statement()
        row = session.job(job_id)
        if row is None or row.state != JobState.QUEUED:
            return None
        return Queued(job_id, dict(row.engine_params), row.crash_count, row.source_key is None)

    @staticmethod
    async def is_held(session: Transaction, job_id: UUID, fence: int) -> bool:
        await session.statement()
        row = session.job(job_id)
        return row is not None and row.state == JobState.PROCESSING and row.fence == fence

    @staticmethod
    async def held_by(session: Transaction, job_id: UUID, *, worker: str) -> JobRow | None:
        await session.statement()
        row: JobRow | None = session.get("job", job_id)
        held = row is not None and row.state == JobState.PROCESSING and row.worker_id == worker
        return row if held else None

    @staticmethod
    async def complete(
        session: Transaction,
        job_id: UUID,
        fence: int,
        *,
        result_key: str,
        message: str | None,
        segments: Segments = (),
        **heard: Any,
    ) -> JobRow | None:
        given = {"fence": fence, "result_key": result_key, "message": message, "segments_n": _last(segments)}
        row = await session.move(job_id, "complete", **given)
        if row is not None:
            await _end(session, row, heard)
            await _keep(session, row, segments)
        return row

    @staticmethod
    async def completed_with(session: Transaction, job_id: UUID, result_key: str) -> JobRow | None:
        await session.statement()
        row = session.job(job_id)
        return row if row is not None and row.result_key == result_key else None

    @staticmethod
    async def fail(session: Transaction, job_id: UUID, fence: int, *, error: dict[str, Any]) -> JobRow | None:
        return await _end(session, await session.move(job_id, "fail", fence=fence, error=error))

    @staticmethod
    async def cancel_working(session: Transaction, job_id: UUID, fence: int) -> JobRow | None:
        return await _end(session, await session.move(job_id, "cancel_working", fence=fence))

    @staticmethod
    async def retry(
        session: Transaction, job_id: UUID, fence: int, *, delay: timedelta, error: dict[str, Any], message: str
    ) -> JobRow | None:
        given = {"fence": fence, "delay": delay, "error": error, "message": message}
        return await _end(session, await session.move(job_id, "retry", **given))

    @staticmethod
    async def release(
        session: Transaction, job_id: UUID, fence: int, *, message: str, delay: timedelta
    ) -> JobRow | None:
        return await _end(session, await session.move(job_id, "release", fence=fence, message=message, delay=delay))

    @staticmethod
    async def rescue_lost(session: Transaction, *, limit: int) -> list[JobRow]:
        now = await session.statement()
        lost = [row for row in session.jobs() if row.state == JobState.PROCESSING and is_lost(row, now)]
        free = [row.id for row in sorted(lost, key=_lease) if session.is_free("job", row.id)][:limit]
        for job_id in free:
            await session.lock("job", job_id)
        moved = []
        for job_id in free:
            row = await _end(session, await session.move(job_id, "end_lost"))
            if row is not None:
                moved.append(row)
        return moved

    @staticmethod
    async def cancel_waiting(session: Transaction, job_id: UUID, *, owner: str) -> JobRow | None:
        return await _end(session, await session.move(job_id, "cancel_waiting", owner=owner))

    @staticmethod
    async def wish_cancelled(session: Transaction, job_id: UUID, *, owner: str) -> JobRow | None:
        return await session.move(job_id, "wish_cancelled", owner=owner)

    @staticmethod
    async def give_up(session: Transaction, job_id: UUID, *, error: dict[str, Any]) -> JobRow | None:
        return await _end(session, await session.move(job_id, "give_up", error=error))

    @staticmethod
    async def purge(session: Transaction, job_id: UUID, *, owner: str | None) -> JobRow | None:
        row = await session.move(job_id, "purge", owner=owner)
        if row is not None:
            now = await session.statement()
            session.put(None, "events", job_id)
            for fence in range(1, row.fence + 1):
                session.put(None, "segments", job_id, fence)
            kept = session.get("transcript", row.transcript_id)
            scrubbed = replace(kept, filename=None, session_id=None, language=None, updated_at=now)
            session.put(scrubbed, "transcript", kept.id)
        return row

    @staticmethod
    async def heartbeat(session: Transaction, job_id: UUID, fence: int, *, lease: timedelta) -> Beat | None:
        row = await session.move(job_id, "heartbeat", fence=fence, lease=lease)
        if row is None or session.now is None:
            return None
        return Beat(is_unwanted(row), row.deadline_at is not None and row.deadline_at < session.now)

    @staticmethod
    async def note_decoded(
        session: Transaction,
        job_id: UUID,
        fence: int,
        *,
        audio_seconds: float,
        content_type: str,
        allowed: timedelta,
    ) -> bool:
        given = {"fence": fence, "audio_seconds": audio_seconds, "content_type": content_type, "allowed": allowed}
        return await session.move(job_id, "note_decoded", **given) is not None

    @staticmethod
    async def note_progress(
        session: Transaction,
        job_id: UUID,
        fence: int,
        *,
        stage: str | None,
        audio_done: float | None,
        segments: Segments,
    ) -> JobRow | None:
        given = {"fence": fence, "stage": stage, "audio_done": audio_done, "segments_n": _last(segments)}
        row = await session.move(job_id, "note_progress", **given)
        if row is not None:
            await _keep(session, row, segments)
        return row

    @staticmethod
    async def postpone(session: Transaction, job_id: UUID, *, message: str, delay: timedelta) -> JobRow | None:
        return await session.move(job_id, "postpone", message=message, delay=delay)


def _last(segments: Segments) -> int | None:
    return segments[-1][0] if segments else None


def _lease(row: JobRow) -> datetime:
    assert row.lease_until is not None
    return row.lease_until


async def _end(session: Transaction, row: JobRow | None, heard: Mapping[str, Any] = NOTHING) -> JobRow | None:
    """The transcript's row follows a job to its end, in the same transaction."""
    if row is not None and row.state in TERMINAL:
        now = await session.statement()
        kept = session.get("transcript", row.transcript_id)
        session.put(replace(kept, status=row.state, updated_at=now, **heard), "transcript", kept.id)
    return row


async def _keep(session: Transaction, row: JobRow, segments: Segments) -> None:
    if segments:
        await session.statement()
        kept = session.get("segments", row.id, row.fence) or ()
        numbers = {n for n, _ in kept}
        anew = (each for each in segments if each[0] not in numbers)
        session.put((*kept, *anew), "segments", row.id, row.fence)
