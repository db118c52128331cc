"""Which job is begun next: by lanes, and within a lane by turns of its owners."""

import asyncio
from random import Random
from uuid import UUID

import pytest
from sqlalchemy import bindparam, text

from db import lanes
from db.lanes import NEXT, Room
from domain.access import Caller
from domain.errors import NoAudio
from domain.lanes import Lane
from domain.lifecycle import MAX_CRASHES, QUARANTINE_AFTER, JobOptions
from services import attempts, ending, submission
from services.attempts import Attempt
from services.platform import Platform
from tests.support.jobs import ME, force, make_job, nobody_waits

ANA, BEN, EVA = Caller("ana"), Caller("ben"), Caller("eva")


@pytest.fixture(autouse=True)
async def nothing_before(platform: Platform) -> None:
    """Nobody waits, has anything in hand, or has had a turn."""
    await nobody_waits(platform)
    await force(platform, "UPDATE transcript_jobs SET started_at = NULL")


async def many(platform: Platform, owner: Caller, count: int, lane: Lane | None = None) -> list[UUID]:
    return [await make_job(platform, owner=owner, lane=lane) for _ in range(count)]


async def begin(platform: Platform, room: Room = Room()) -> Attempt:  # noqa: B008  # frozen
    waiting = await attempts.next_due(platform, room)
    assert waiting is not None
    attempt = await attempts.claim(platform, waiting.job_id, worker="w")
    assert attempt is not None
    return attempt


async def end(platform: Platform, attempt: Attempt) -> None:
    assert await attempts.fail(platform, attempt, NoAudio("there is no sound in it"), retryable=False)


async def next_id(platform: Platform, room: Room = Room()) -> UUID | None:  # noqa: B008  # frozen
    waiting = await attempts.next_due(platform, room)
    return None if waiting is None else waiting.job_id


# Owners


async def test_one_job_does_not_wait_behind_another_owner_s_fifty(platform: Platform) -> None:
    await many(platform, ANA, 50)
    await many(platform, BEN, 1)
    assert [(await begin(platform)).owner for _ in range(3)] == ["ana", "ben", "ana"]


async def test_with_a_single_place_owners_take_turns(platform: Platform) -> None:
    """Nobody has anything in hand when the place comes free: who had it last is behind the others."""
    for owner in (ANA, BEN, EVA):
        await many(platform, owner, 3)
    begun = []
    for _ in range(9):
        attempt = await begin(platform)
        begun.append(attempt.owner)
        await end(platform, attempt)
    assert begun == ["ana", "ben", "eva"] * 3


async def test_with_fewer_places_than_owners_none_is_left_out(platform: Platform) -> None:
    for owner in (ANA, BEN, EVA):
        await many(platform, owner, 4)
    held = [await begin(platform), await begin(platform)]
    begun = [attempt.owner for attempt in held]
    for _ in range(4):
        await end(platform, held.pop(0))
        held.append(await begin(platform))
        begun.append(held[-1].owner)
    assert sorted(begun) == ["ana", "ana", "ben", "ben", "eva", "eva"]


async def test_an_owner_s_jobs_go_in_the_order_in_which_they_came(platform: Platform) -> None:
    jobs = await many(platform, ANA, 4)
    assert [(await begin(platform)).job_id for _ in jobs] == jobs


async def test_what_a_worker_has_chosen_counts_before_it_is_claimed(platform: Platform) -> None:
    first, second = await many(platform, ANA, 2)
    theirs = await make_job(platform, owner=BEN)
    assert await next_id(platform) == first
    assert await next_id(platform, Room(in_hand=[first])) == theirs
    assert await next_id(platform, Room(in_hand=[first, theirs])) == second
    assert await next_id(platform, Room(tried=[first])) == second


async def test_what_somebody_has_in_hand_in_one_lane_is_not_held_against_them_in_another(platform: Platform) -> None:
    await make_job(platform, owner=ANA, lane=Lane.INTERACTIVE)
    assert (await begin(platform)).owner == "ana"
    (mine,) = await many(platform, ANA, 1, Lane.BULK)
    await many(platform, BEN, 1, Lane.BULK)
    assert await next_id(platform) == mine


# Lanes


async def test_lanes_go_before_age(platform: Platform) -> None:
    said = [Lane.BULK, None, Lane.NORMAL, Lane.INTERACTIVE]
    bulk, first, second, interactive = [await make_job(platform, lane=lane) for lane in said]
    assert [(await begin(platform)).job_id for _ in said] == [interactive, first, second, bulk]


async def test_a_lane_that_is_favoured_goes_first_unless_something_of_it_is_in_hand(platform: Platform) -> None:
    now = await make_job(platform, lane=Lane.INTERACTIVE)
    await many(platform, BEN, 2, Lane.BULK)
    await many(platform, EVA, 1, Lane.NORMAL)
    favoured = Room(favoured=Lane.BULK)
    assert (await begin(platform, favoured)).owner == "ben"
    assert await next_id(platform, favoured) == now
    assert (await begin(platform, Room(favoured=Lane.NORMAL))).owner == "eva"


async def test_a_job_that_is_tried_again_keeps_its_lane(platform: Platform) -> None:
    await make_job(platform, lane=Lane.BULK)
    attempt = await begin(platform)
    assert await attempts.release(platform, attempt, reason="a test asked for it")
    other = await make_job(platform)
    assert await next_id(platform) == other


# What is no choice


async def linked(platform: Platform) -> UUID:
    wanted = submission.Submission(JobOptions(engine="auto"))
    recording = submission.link(platform, "https://93.184.216.34/1.mp3")
    return (await submission.submit(platform, ME, wanted, recording, filename=None)).job_id


async def is_next(platform: Platform, job_id: UUID, room: Room = Room()) -> bool:  # noqa: B008  # frozen
    return await next_id(platform, room) == job_id


@pytest.mark.parametrize(
    "made",
    [
        "run_at = now() + interval '5 s'",
        "cancel_requested_at = now()",
        f"crash_count = {MAX_CRASHES}",
        "state = 'pending'",
        "state = 'processing'",
    ],
)
async def test_what_no_worker_may_claim_is_passed_over(platform: Platform, made: str) -> None:
    job_id, other = await make_job(platform), await make_job(platform, lane=Lane.BULK)
    assert await is_next(platform, job_id)
    await force(platform, f"UPDATE transcript_jobs SET {made} WHERE id = '{job_id}'")
    assert await is_next(platform, other)


async def test_what_there_is_no_room_for_is_passed_over(platform: Platform) -> None:
    fetched = await linked(platform)
    suspect, plain = await make_job(platform), await make_job(platform, engine="asr")
    await force(platform, f"UPDATE transcript_jobs SET crash_count = {QUARANTINE_AFTER} WHERE id = '{suspect}'")
    assert await is_next(platform, fetched)
    assert await is_next(platform, suspect, Room(fetches=False))
    assert await is_next(platform, fetched, Room(suspects=False))
    assert await is_next(platform, plain, Room(fetches=False, suspects=False))
    assert await is_next(platform, plain, Room(engines=["asr"]))
    assert await next_id(platform, Room(engines=["whisperx"])) is None


async def test_a_cancelled_job_is_nobody_s_next(platform: Platform) -> None:
    job_id = await make_job(platform)
    await ending.cancel(platform, ME, job_id)
    assert await next_id(platform) is None


# Many at once


async def test_many_that_choose_at_once_begin_every_job_and_none_twice(platform: Platform) -> None:
    made = {job for owner in (ANA, BEN, EVA) for lane in Lane for job in await many(platform, owner, 5, lane)}
    begun: list[UUID] = []

    async def take_all(worker: str) -> None:
        while (waiting := await attempts.next_due(platform, Room())) is not None:
            if attempt := await attempts.claim(platform, waiting.job_id, worker=worker):
                begun.append(attempt.job_id)

    await asyncio.gather(*(take_all(f"w{n}") for n in range(6)))
    assert len(begun) == len(made)
    assert set(begun) == made


# Places in line


async def test_a_place_in_line_is_how_many_are_begun_before(platform: Platform) -> None:
    """Told in advance for every job that waits, then held against what is begun, one after another."""
    chance = Random(7)
    callers = [ANA, BEN, EVA, ME]
    for _ in range(40):
        await make_job(platform, owner=chance.choice(callers), lane=chance.choice(list(Lane)))
    for attempt in [await begin(platform) for _ in range(9)]:  # some have had a turn, some have something in hand
        if chance.random() < 0.5:
            await end(platform, attempt)
    for _ in range(10):
        await make_job(platform, owner=chance.choice(callers), lane=chance.choice(list(Lane)))
    async with platform.sessions.begin() as session:
        waiting = list(await session.scalars(text("SELECT id FROM transcript_jobs WHERE state = 'queued'")))
        told = {job_id: await lanes.ahead(session, job_id, []) for job_id in waiting}
    begun = [(await begin(platform)).job_id for _ in waiting]
    assert [found.jobs for job_id in begun if (found := told[job_id])] == list(range(len(waiting)))


async def test_who_is_not_in_line_has_nobody_ahead(platform: Platform) -> None:
    await make_job(platform)
    attempt = await begin(platform)
    async with platform.sessions.begin() as session:
        assert await lanes.ahead(session, attempt.job_id, []) is None


# What it costs


async def pages_read(platform: Platform) -> int:
    """How many pages PostgreSQL looks at to choose."""
    explained = text(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {NEXT.element.text}")
    types = {name: bound.type for name, bound in NEXT.element._bindparams.items()}
    statement = explained.bindparams(*(bindparam(name, type_=kind) for name, kind in types.items()))
    given = {"in_hand": [], "tried": [], "engines": ["auto"], "fetches": False, "crashes": MAX_CRASHES, "favoured": ""}
    async with platform.sessions.begin() as session:
        (plan,) = (await session.scalars(statement, {**given, "order": list(Lane)})).one()
    return int(plan["Plan"]["Shared Hit Blocks"]) + int(plan["Plan"]["Shared Read Blocks"])


async def add(platform: Platform, count: int, owner: str, *, engine: str = "auto", source_key: str = "'k'") -> None:
    """Further jobs that wait, a long time already."""
    made = f"SELECT gen_random_uuid() AS id, '{owner}' AS owner FROM generate_series(1, {count})"
    await force(
        platform,
        f"WITH made AS ({made}), said AS (INSERT INTO transcripts (id, owner) SELECT id, owner FROM made)"
        " INSERT INTO transcript_jobs (id, transcript_id, owner, engine, source_key, run_at)"
        f" SELECT id, id, owner, '{engine}', {source_key}, now() - interval '1 h' FROM made",
    )


async def test_thousands_of_jobs_of_one_owner_cost_what_a_few_do(platform: Platform) -> None:
    await make_job(platform, owner=BEN)
    kinds: list[dict[str, str]] = [{}, {"engine": "away"}, {"source_key": "NULL"}]
    for kind in kinds:
        await add(platform, 5, "ana", **kind)
    await force(platform, "ANALYZE transcript_jobs")
    few = await pages_read(platform)
    for kind in kinds:
        await add(platform, 3000, "ana", **kind)
    await force(platform, "ANALYZE transcript_jobs")
    # To look at all of them would be 600 pages, or 9,000 visits; a plan of another shape may cost some dozens more.
    assert await pages_read(platform) <= few + 200
