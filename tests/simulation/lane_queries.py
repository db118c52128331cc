"""The queries of `db.lanes`, by the same names and signatures, on the simulated database."""

from collections import Counter
from datetime import UTC, datetime

from db.jobs import Queued
from db.lanes import Room
from domain.lanes import Lane
from domain.lifecycle import MAX_CRASHES, QUARANTINE_AFTER, JobState
from tests.simulation.database import Transaction
from tests.simulation.decide import is_unwanted
from tests.simulation.rows import JobRow

NEVER = datetime.min.replace(tzinfo=UTC)


class Lanes:
    """In place of `db.lanes`; nobody asks here what is ahead of a job."""

    @staticmethod
    async def next_due(session: Transaction, room: Room) -> Queued | None:
        now = await session.statement()
        rows = session.jobs()
        held = Counter((row.lane, row.owner) for row in rows if _is_in_hand(row, room))
        favoured = room.favoured if all(lane != room.favoured for lane, _ in held) else None

        def place(row: JobRow) -> tuple[object, ...]:
            turn = max((each.started_at or NEVER for each in rows if _is_alike(each, row)), default=NEVER)
            in_hand = held[row.lane, row.owner]
            return row.lane != favoured, list(Lane).index(row.lane), in_hand, turn, row.run_at, row.id

        found = min((row for row in rows if _is_due(row, now) and _has_room(row, room)), key=place, default=None)
        if found is None:
            return None
        return Queued(found.id, dict(found.engine_params), found.crash_count, found.source_key is None)


def _is_alike(one: JobRow, other: JobRow) -> bool:
    return (one.lane, one.owner) == (other.lane, other.owner)


def _is_in_hand(row: JobRow, room: Room) -> bool:
    return row.state == JobState.PROCESSING or (row.state == JobState.QUEUED and row.id in room.in_hand)


def _is_due(row: JobRow, now: datetime) -> bool:
    return row.state == JobState.QUEUED and row.run_at <= now and not is_unwanted(row)


def _has_room(row: JobRow, room: Room) -> bool:
    if row.id in room.in_hand or row.id in room.tried or (room.engines is not None and row.engine not in room.engines):
        return False
    if row.source_key is None and not room.fetches:
        return False
    return row.crash_count < (MAX_CRASHES if room.suspects else QUARANTINE_AFTER)
