"""The simulated database answers as PostgreSQL does: every move × state × flag, on rows that are the same in both."""

import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from random import Random
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from db import erasures, history, jobs, lanes, sweeps, uploads
from db.lanes import Room
from db.tables import Job, JobEvent, Transcript
from domain.lanes import Lane
from domain.lifecycle import MAX_CRASHES, MOVES, WORKER_CRASHED, JobState
from services.platform import Platform
from tests.simulation.database import Database, Transaction
from tests.simulation.decide import TRANSITIONS
from tests.simulation.job_queries import Jobs
from tests.simulation.lane_queries import Lanes
from tests.simulation.queries import PLACES, Erasures, History, Sweeps, Uploads, functions_of
from tests.simulation.rows import JobRow, TranscriptRow

HOUR, MINUTE, NOW = timedelta(hours=1), timedelta(minutes=1), timedelta(0)
ERROR = {"code": "test", "message": "a test asked for it"}
SESSION = UUID("5e551011-0000-4000-8000-000000000000")
SEGMENTS = [(1, {"start": 0, "end": 1, "text": "one"}), (2, {"start": 1, "end": 2, "text": "two"})]

REAL = SimpleNamespace(jobs=jobs, lanes=lanes, uploads=uploads, erasures=erasures, sweeps=sweeps, history=history)
SIMULATED = SimpleNamespace(jobs=Jobs, lanes=Lanes, uploads=Uploads, erasures=Erasures, sweeps=Sweeps, history=History)

Call = Callable[[Any, Any, UUID, int], Awaitable[Any]]

ANSWERS: dict[str, Call] = {
    "waiting": lambda db, s, job, _: db.jobs.waiting(s, job),
    "is_held": lambda db, s, job, fence: db.jobs.is_held(s, job, fence),
    "heartbeat": lambda db, s, job, fence: db.jobs.heartbeat(s, job, fence, lease=MINUTE),
    "note_decoded": lambda db, s, job, fence: CALLS["note_decoded"](db, s, job, fence),
}
"""What a worker is answered with values of, not with the row."""

CALLS: dict[str, Call] = {
    "pin": lambda db, s, job, _: db.uploads.pin(s, job, owner="local", size_bytes=9, sha256="1" * 64),
    "finalise": lambda db, s, job, _: db.uploads.finalise(
        s, job, owner="local", session_id=SESSION, engine="sphinx", engine_params={"engine": "sphinx"}, message="soon"
    ),
    "claim": lambda db, s, job, _: db.jobs.claim(s, job, worker="w", lease=MINUTE, floor=HOUR),
    "heartbeat": lambda db, s, job, fence: db.jobs.heartbeat(s, job, fence, lease=MINUTE),
    "complete": lambda db, s, job, fence: db.jobs.complete(
        s, job, fence, result_key="k", message=None, segments=SEGMENTS, language="en", duration=2.0, segments_count=2
    ),
    "fail": lambda db, s, job, fence: db.jobs.fail(s, job, fence, error=ERROR),
    "retry": lambda db, s, job, fence: db.jobs.retry(s, job, fence, delay=MINUTE, error=ERROR, message="again"),
    "release": lambda db, s, job, fence: db.jobs.release(s, job, fence, message="drained", delay=NOW),
    "cancel_waiting": lambda db, s, job, _: db.jobs.cancel_waiting(s, job, owner="local"),
    "cancel_working": lambda db, s, job, fence: db.jobs.cancel_working(s, job, fence),
    "give_up": lambda db, s, job, _: db.jobs.give_up(s, job, error=WORKER_CRASHED),
    "purge": lambda db, s, job, _: db.jobs.purge(s, job, owner="local"),
    "wish_cancelled": lambda db, s, job, _: db.jobs.wish_cancelled(s, job, owner="local"),
    "wish_erased": lambda db, s, job, _: db.erasures.wish_erased(s, job, owner="local"),
    "note_erased": lambda db, s, job, _: db.erasures.note_erased(s, job, objects_deleted=3),
    "note_decoded": lambda db, s, job, fence: db.jobs.note_decoded(
        s, job, fence, audio_seconds=2.0, content_type="audio/wav", allowed=MINUTE
    ),
    "note_progress": lambda db, s, job, fence: db.jobs.note_progress(
        s, job, fence, stage="transcribe", audio_done=1.0, segments=SEGMENTS
    ),
    "postpone": lambda db, s, job, _: db.jobs.postpone(s, job, message="later", delay=MINUTE),
    "renumber": lambda db, s, job, _: db.sweeps.renumber(s, [job]),
    "touch_dispatched": lambda db, s, job, _: db.sweeps.touch_dispatched(s, [job]),
    "note_audio_deleted": lambda db, s, job, _: db.sweeps.note_audio_deleted(s, [job]),
}

AT_ONCE: dict[str, Callable[[Any, Any], Awaitable[Any]]] = {
    "expire": lambda db, s: db.uploads.expire(s, older_than=MINUTE, limit=1000),
    "end_lost": lambda db, s: db.jobs.rescue_lost(s, limit=1000),
    "extend": lambda db, s: db.sweeps.extend_all_leases(s, MINUTE),
    "wish_expired_erased": lambda db, s: db.sweeps.wish_expired_erased(s, kept=HOUR, limit=1000),
}
"""Moves that the sweeper makes of all rows that they fit."""

LOOKS: dict[str, Callable[[Any, Any, list[UUID]], Awaitable[Any]]] = {
    "stale_dispatches": lambda db, s, _: db.sweeps.stale_dispatches(s, older_than=timedelta(seconds=3), limit=1000),
    "spent": lambda db, s, _: db.sweeps.spent(s, limit=1000),
    "with_expired_audio": lambda db, s, _: db.sweeps.with_expired_audio(s, kept=HOUR, failed_kept=HOUR, limit=1000),
    "keys_in_use": lambda db, s, ids: db.sweeps.keys_in_use(s, ids),
    "with_stages": lambda db, s, ids: db.sweeps.with_stages(s, ids),
    "to_erase": lambda db, s, _: db.erasures.to_erase(s, limit=1000),
    "positions": lambda db, s, ids: db.history.positions(s, ids),
}


def cases(now: datetime) -> Iterator[JobRow]:
    """A row for every state × wish to cancel × wish to erase × due or not × lease lost or not × crashes."""
    flags = itertools.product(JobState, (False, True), (False, True), (False, True), (False, True), (0, 2, MAX_CRASHES))
    for state, unwanted, erased, due, lost, crashes in flags:
        working, ended = state == JobState.PROCESSING, state not in (JobState.PENDING, JobState.QUEUED)
        yield JobRow(
            id=uuid4(),
            transcript_id=uuid4(),
            engine="auto",
            source_bytes=4,
            source_sha256=None if state == JobState.PENDING and crashes else "0" * 64,
            source_key=None if state == JobState.PURGED else f"source-{crashes}",
            result_key="earlier" if state == JobState.COMPLETED else None,
            run_at=now - MINUTE if due else now + MINUTE,
            dispatched_at=now - HOUR if lost else now,
            created_at=now - HOUR if due else now,
            updated_at=now - HOUR,
            state=state,
            seq=3,
            fence=2,
            attempts=1,
            crash_count=crashes,
            lease_until=(now - MINUTE if lost else now + MINUTE) if working else None,
            deadline_at=(now - MINUTE if due else now + HOUR) if working else None,
            worker_id="w" if working else None,
            started_at=now - HOUR if due else None,
            completed_at=now - 2 * HOUR if ended and not working else None,
            delete_after_seconds=60 if lost else None,
            cancel_requested_at=now - MINUTE if unwanted else None,
            erase_requested_at=now - MINUTE if erased else None,
            audio_seconds=2.0,
            message="before",
            stage="transcribe",
        )


class Still:
    """No weather at all: now() is what PostgreSQL's was."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def wall(self) -> datetime:
        return self._now

    async def statement(self, transaction: Transaction) -> None: ...

    async def commit(self, transaction: Transaction, apply: Callable[[], None]) -> None:
        apply()


def transcript_of(row: JobRow) -> TranscriptRow:
    return TranscriptRow(id=row.transcript_id, created_at=row.created_at, updated_at=row.updated_at)


def values_of(row: Any) -> dict[str, Any]:
    return {field.name: getattr(row, field.name) for field in fields(row)}


class Twins:
    """The same rows in both databases, each in a transaction that is rolled back."""

    def __init__(self, session: AsyncSession, now: datetime, rows: list[JobRow]) -> None:
        self.session, self.rows = session, rows
        database = Database(Still(now))
        for row in rows:
            database.job_ids.append(row.id)
            database.rows["job", row.id] = row
            database.rows["transcript", row.transcript_id] = transcript_of(row)
        self.simulated = Transaction(database, alone=False)

    @classmethod
    async def bear(
        cls,
        session: AsyncSession,
        *,
        only: int | None = None,
        made: Callable[[datetime], Iterable[JobRow]] = cases,
    ) -> "Twins":
        now = await session.scalar(select(func.now()))
        assert now is not None
        rows = list(made(now)) if only is None else [next(itertools.islice(cases(now), only, None))]
        await session.execute(insert(Transcript), [values_of(transcript_of(row)) for row in rows])
        await session.execute(insert(Job), [values_of(row) for row in rows])
        return cls(session, now, rows)

    async def both(self, call: Callable[[Any, Any], Awaitable[Any]]) -> tuple[Any, Any]:
        return await call(REAL, self.session), await call(SIMULATED, self.simulated)

    async def compare(self) -> None:
        """Every column of every row, and every event, in both."""
        self.session.expire_all()
        real = {job.id: job for job in await self.session.scalars(select(Job))}
        heard = {found.id: found for found in await self.session.scalars(select(Transcript))}
        told: dict[UUID, list[dict[str, Any]]] = {}
        for event in await self.session.scalars(select(JobEvent).order_by(JobEvent.seq)):
            told.setdefault(event.job_id, []).append(event.event)
        for before in self.rows:
            after = self.simulated.job(before.id)
            assert after is not None
            name = f"a {before.state} job: {before}"
            assert values_of(after) == {field: getattr(real[before.id], field) for field in values_of(after)}, name
            kept = values_of(self.simulated.get("transcript", before.transcript_id))
            assert kept == {field: getattr(heard[before.transcript_id], field) for field in kept}, name
            events = self.simulated.get("events", before.id) or ()
            assert [event.model_dump(mode="json", exclude_none=True) for event in events] == told.get(before.id, []), (
                name
            )


@pytest.mark.parametrize("fence", [2, 1], ids=["the right fence", "an old fence"])
@pytest.mark.parametrize("name", CALLS)
async def test_a_move_of_one_job_does_what_postgresql_does(platform: Platform, name: str, fence: int) -> None:
    async with platform.sessions.begin() as session:
        twins = await Twins.bear(session)
        for row in twins.rows:
            real, simulated = await twins.both(lambda db, s, row=row: CALLS[name](db, s, row.id, fence))  # type: ignore[misc]
            assert bool(real) == bool(simulated), row
        await twins.compare()
        await session.rollback()


@pytest.mark.parametrize("fence", [2, 1], ids=["the right fence", "an old fence"])
@pytest.mark.parametrize("name", ANSWERS)
async def test_a_worker_is_told_what_postgresql_tells(platform: Platform, name: str, fence: int) -> None:
    answers = set()
    async with platform.sessions.begin() as session:
        twins = await Twins.bear(session)
        for row in twins.rows:
            real, simulated = await twins.both(lambda db, s, row=row: ANSWERS[name](db, s, row.id, fence))  # type: ignore[misc]
            assert real == simulated, row
            answers.add(str(real))
        await session.rollback()
    assert len(answers) > 1 or fence == 1


@pytest.mark.parametrize("name", AT_ONCE)
async def test_a_sweep_over_all_jobs_does_what_postgresql_does(platform: Platform, name: str) -> None:
    async with platform.sessions.begin() as session:
        twins = await Twins.bear(session)
        real, simulated = await twins.both(AT_ONCE[name])
        assert (len(real), real != []) == (len(simulated), True) if isinstance(real, list) else real == simulated > 0
        await twins.compare()
        await session.rollback()


def told_by(answer: Any) -> Any:
    """An answer without its order, where PostgreSQL promises none; rows by their ids."""
    if isinstance(answer, list):
        return {getattr(each, "id", each) for each in answer}
    return answer


@pytest.mark.parametrize("name", LOOKS)
async def test_a_look_at_all_jobs_sees_what_postgresql_sees(platform: Platform, name: str) -> None:
    async with platform.sessions.begin() as session:
        twins = await Twins.bear(session)
        ids = [row.id for row in twins.rows]
        real, simulated = await twins.both(lambda db, s: LOOKS[name](db, s, ids))
        assert told_by(real) == told_by(simulated)
        assert real
        await session.rollback()


async def test_a_sweeper_sees_in_every_job_by_itself_what_postgresql_sees_in_it(platform: Platform) -> None:
    seen = Counter[str]()
    async with platform.sessions.begin() as session:
        for only in range(sum(1 for _ in cases(datetime.now(UTC)))):
            savepoint = await session.begin_nested()
            twins = await Twins.bear(session, only=only)
            real, simulated = await twins.both(lambda db, s: db.sweeps.due(s, ring_after=timedelta(seconds=3)))
            assert real == simulated, twins.rows
            seen.update(name for name, is_due in real._asdict().items() if is_due)
            await savepoint.rollback()
        await session.rollback()
    assert set(seen) == set(sweeps.Due._fields), "every duty came up"


def crowd(chance: Random) -> Callable[[datetime], Iterable[JobRow]]:
    """Jobs of some owners in all lanes, waiting and in hand, of which some cannot be begun."""

    def job(now: datetime) -> JobRow:
        def ago(seconds: float) -> datetime:
            return now - timedelta(seconds=seconds)

        state = chance.choice((JobState.QUEUED, JobState.QUEUED, JobState.QUEUED, JobState.PROCESSING, JobState.FAILED))
        return JobRow(
            id=UUID(int=chance.getrandbits(128)),
            transcript_id=uuid4(),
            owner=chance.choice(("ana", "ben", "eva")),
            lane=chance.choice(list(Lane)),
            engine=chance.choice(("auto", "sphinx")),
            engine_params={"engine": "auto"},
            source_key=chance.choice(("k", "k", None)),
            state=state,
            crash_count=chance.choice((0, 0, 0, MAX_CRASHES - 1, MAX_CRASHES)),
            cancel_requested_at=chance.choice((None, None, None, now)),
            run_at=ago(chance.choice((-9, 1, 2, 3, 4))),
            started_at=chance.choice((None, ago(chance.choice((1, 2, 3))))),
            lease_until=now if state == JobState.PROCESSING else None,
            dispatched_at=now,
            created_at=now,
            updated_at=now,
        )

    return lambda now: [job(now) for _ in range(40)]


@pytest.mark.parametrize("seed", range(12))
async def test_what_goes_next_is_what_postgresql_chooses(platform: Platform, seed: int) -> None:
    chance, chosen = Random(seed), 0
    async with platform.sessions.begin() as session:
        twins = await Twins.bear(session, made=crowd(chance))
        in_hand: set[UUID] = set()
        while True:
            room = Room(
                in_hand=in_hand,
                tried={row.id for row in twins.rows if chance.random() < 0.1},
                fetches=chance.random() < 0.7,
                suspects=chance.random() < 0.7,
                engines=chance.choice((None, None, ["auto", "whisper"])),
                favoured=chance.choice((None, None, *Lane)),
            )
            real, simulated = await twins.both(lambda db, s, room=room: db.lanes.next_due(s, room))  # type: ignore[misc]
            assert real == simulated, room
            if real is None:
                break
            chosen += 1
            if chance.random() < 0.4:
                in_hand.add(real.job_id)
            else:
                await twins.both(lambda db, s, found=real: CALLS["claim"](db, s, found.job_id, 0))  # type: ignore[misc]
        await session.rollback()
    assert chosen


async def test_an_owner_sees_of_a_job_what_postgresql_shows(platform: Platform) -> None:
    async with platform.sessions.begin() as session:
        twins = await Twins.bear(session)
        for row, owner in itertools.product(twins.rows[::7], ("local", "somebody else", None)):
            real, simulated = await twins.both(lambda db, s, row=row, owner=owner: db.jobs.get(s, row.id, owner=owner))  # type: ignore[misc]
            assert (real is None) == (simulated is None), row
        await session.rollback()


def test_every_move_of_the_table_is_simulated() -> None:
    known = {"rescue": "end_lost", "cancel_pending": "cancel_waiting"}
    assert {known.get(move.name, move.name) for move in MOVES} <= set(TRANSITIONS)
    assert set(TRANSITIONS) == {*CALLS, *AT_ONCE}


def test_the_rows_have_the_columns_of_the_tables() -> None:
    for table, row in ((Job, JobRow), (Transcript, TranscriptRow)):
        columns = {column.name for column in table.__table__.columns}
        assert columns - {"job_id"} == {field.name for field in fields(row)}


def test_every_simulated_query_is_one_of_the_platforms() -> None:
    for module, place in PLACES.items():
        assert not [name for name in functions_of(place) if not hasattr(module, name)]
