"""At which job a worker makes its attempt: the one that goes next, whichever it was rung for."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from config.load import load_settings
from config.settings import Settings
from domain.access import Caller
from domain.capabilities import EngineReport
from domain.lanes import ROUND, Lane
from domain.lifecycle import QUARANTINE_AFTER, JobOptions
from domain.transcript import Heard, Segment
from engines.contract import Hearing
from services import attempts, engine_reports, submission
from services.attempts import Waiting
from services.platform import Platform
from tests.support.audio import tone
from tests.support.cells import Unused
from tests.support.jobs import ME, force, make_job, nobody_waits, row
from tests.support.receiver import Dawdling, Receiver
from tests.support.scripted import ScriptedEngine, registry_of
from workers.attendance import Attendance
from workers.pipeline import Tried

SECOND = tone(1.0)
ANA, BEN = Caller("ana"), Caller("ben")
AWAY = EngineReport(engine="away", available=False, reason="it is switched off")


@pytest.fixture(scope="module")
def settings(environ: dict[str, str]) -> Settings:
    few = {"MAX_CONCURRENT_JOBS": "2", "AUDIO_URL_ALLOW_HTTP": "1", "AUDIO_URL_ALLOW_PRIVATE": "1"}
    return load_settings(environ | few)


@pytest.fixture(autouse=True)
async def nothing_before(platform: Platform) -> None:
    await nobody_waits(platform)
    await force(platform, "UPDATE transcript_jobs SET started_at = NULL")
    await engine_reports.record(platform, worker="w", reports=[ScriptedEngine().answer, AWAY])


@pytest.fixture
def here(platform: Platform) -> Attendance:
    return Attendance(platform, registry_of(ScriptedEngine()), Unused(), worker="w")


async def job(platform: Platform, owner: Caller = ME, *, lane: Lane | None = None, engine: str = "scripted") -> UUID:
    return await make_job(platform, owner=owner, lane=lane, engine=engine, content=SECOND)


async def begun(platform: Platform, *jobs: UUID) -> list[UUID]:
    """Those of these that were begun, in that order."""
    async with platform.sessions.begin() as session:
        found = await session.scalars(
            text("SELECT id FROM transcript_jobs WHERE started_at IS NOT NULL ORDER BY started_at")
        )
        return [job_id for job_id in found if job_id in jobs]


async def state(platform: Platform, job_id: UUID) -> object:
    return (await row(platform, job_id))["state"]


async def test_a_ring_begins_what_goes_next_and_no_more(platform: Platform, here: Attendance) -> None:
    backlog = [await job(platform, ANA, lane=Lane.BULK) for _ in range(3)]
    waited_for = await job(platform, BEN, lane=Lane.INTERACTIVE)
    await here.attend(backlog[0])
    assert await begun(platform, *backlog, waited_for) == [waited_for]
    assert await state(platform, waited_for) == "completed"
    await here.attend(waited_for)  # rung for in vain: another ring had begun it
    assert await begun(platform, *backlog, waited_for) == [waited_for, backlog[0]]


async def test_one_ring_for_each_of_them_begins_all(platform: Platform, here: Attendance) -> None:
    jobs = [await job(platform, owner) for owner in (ANA, ANA, BEN, ANA, BEN)]
    await asyncio.gather(*(here.attend(job_id) for job_id in reversed(jobs)))
    assert {await state(platform, job_id) for job_id in jobs} == {"completed"}
    assert [(await row(platform, job_id))["fence"] for job_id in jobs] == [1] * len(jobs)


async def test_places_that_come_free_at_once_go_to_one_owner_each(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = asyncio.Barrier(2)

    async def script(_: Path, __: Hearing) -> AsyncIterator[Heard]:
        await together.wait()
        yield Segment(start=0, end=1, text="heard")

    chosen, choose = list[UUID](), attempts.next_due

    async def noted(*args: Any) -> Waiting | None:
        found = await choose(*args)
        if found is not None:
            chosen.append(found.job_id)
        return found

    monkeypatch.setattr(attempts, "next_due", noted)
    here = Attendance(platform, registry_of(ScriptedEngine(script)), Unused(), worker="w")
    many = [await job(platform, ANA) for _ in range(4)]
    one = await job(platform, BEN)
    async with asyncio.timeout(60):
        await asyncio.gather(here.attend(many[0]), here.attend(many[1]))
    assert chosen == [many[0], one], "each at the first choice"
    assert set(await begun(platform, *many, one)) == set(chosen)


async def test_a_ring_for_nothing_begins_nothing(platform: Platform, here: Attendance) -> None:
    later = await job(platform)
    await force(platform, f"UPDATE transcript_jobs SET run_at = now() + interval '9 s' WHERE id = '{later}'")
    for job_id in (later, uuid4()):
        await here.attend(job_id)
    assert await state(platform, later) == "queued"


async def test_no_lane_is_starved(platform: Platform, here: Attendance) -> None:
    """However much waits in the lanes above, of every ten jobs that a worker begins one is of each lower lane."""
    above = [await job(platform, lane=Lane.INTERACTIVE) for _ in range(2 * ROUND)]
    normal, bulk = [[await job(platform, lane=lane) for _ in range(2)] for lane in (Lane.NORMAL, Lane.BULK)]
    for _ in range(2 * ROUND):
        await here.attend(above[0])
    order = await begun(platform, *above, *normal, *bulk)
    assert [order.index(each) + 1 for each in (normal[0], bulk[0])] == [ROUND, 2 * ROUND]
    assert len(order) == 2 * ROUND
    assert [job_id for job_id in order if job_id in above] == above[: 2 * ROUND - 2]


async def test_an_engine_that_is_away_holds_nobody_up(platform: Platform, here: Attendance) -> None:
    """And its jobs are left as they are while there are others."""
    away = [await job(platform, ANA, lane=Lane.INTERACTIVE, engine="away") for _ in range(3)]
    ready = await job(platform, BEN, lane=Lane.BULK)
    await here.attend(away[-1])
    assert await state(platform, ready) == "completed"
    found = [await row(platform, job_id) for job_id in away]
    assert all(each["run_at"] <= each["created_at"] for each in found)  # type: ignore[operator]
    await here.attend(away[-1])
    assert "no worker has an engine called 'away'" in str((await row(platform, away[-1]))["message"])


async def test_a_lane_in_which_jobs_wait_for_an_engine_is_not_starved(platform: Platform, here: Attendance) -> None:
    above = [await job(platform, lane=Lane.INTERACTIVE) for _ in range(2 * ROUND)]
    for _ in range(3):
        await job(platform, ANA, lane=Lane.BULK, engine="away")
    ready = await job(platform, BEN, lane=Lane.BULK)
    for _ in range(2 * ROUND):
        await here.attend(above[0])
    assert (await begun(platform, *above, ready)).index(ready) == 2 * ROUND - 1


async def test_whose_turn_it_was_has_it_still_where_it_could_not_be_begun(platform: Platform) -> None:
    report = EngineReport(engine="scripted", available=True, quality=99, detects_language=True)
    here = Attendance(platform, registry_of(ScriptedEngine(report=report)), Unused(), worker="w")
    above = [await job(platform, lane=Lane.INTERACTIVE) for _ in range(2 * ROUND)]
    hopeless = await job(platform, ANA, lane=Lane.BULK, engine="auto")
    await asks_for(platform, hopeless, '{"model": "nobody has it"}')
    ready = await job(platform, BEN, lane=Lane.BULK)
    for _ in range(2 * ROUND):
        await here.attend(above[0])
    assert (await begun(platform, *above, ready)).index(ready) == 2 * ROUND - 1


async def asks_for(platform: Platform, job_id: UUID, more: str) -> None:
    changed = f"engine_params = engine_params || '{more}'::jsonb"
    await force(platform, f"UPDATE transcript_jobs SET {changed} WHERE id = '{job_id}'")


async def test_jobs_that_no_engine_can_do_do_not_end_the_order_of_the_others(platform: Platform) -> None:
    report = EngineReport(engine="scripted", available=True, quality=99, detects_language=True)
    here = Attendance(platform, registry_of(ScriptedEngine(report=report)), Unused(), worker="w")
    for _ in range(4):
        await asks_for(
            platform, await job(platform, ANA, lane=Lane.INTERACTIVE, engine="auto"), '{"model": "nobody has it"}'
        )
    waited_for = await job(platform, BEN, lane=Lane.INTERACTIVE, engine="auto")
    rung_for = await job(platform, ME, lane=Lane.BULK, engine="auto")
    await here.attend(rung_for)
    assert [await state(platform, each) for each in (waited_for, rung_for)] == ["completed", "queued"]


@pytest.mark.parametrize("what", ["another version", "a bug"])
async def test_a_job_that_cannot_be_tried_is_in_nobody_s_way(
    platform: Platform, here: Attendance, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    bad = await job(platform, ANA, lane=Lane.INTERACTIVE)
    claim = attempts.claim

    async def broken(on: Platform, job_id: UUID, *, worker: str) -> attempts.Attempt | None:
        if job_id == bad:
            raise ZeroDivisionError
        return await claim(on, job_id, worker=worker)

    if what == "a bug":
        monkeypatch.setattr(attempts, "claim", broken)
    else:
        await asks_for(platform, bad, '{"an_option_to_come": 1}')
    good = [await job(platform, BEN, lane=Lane.BULK) for _ in range(3)]
    for each in good:
        await here.attend(each)
    assert [await state(platform, each) for each in (bad, *good)] == ["queued"] + ["completed"] * 3
    assert "the log has why" in str((await row(platform, bad))["message"])


async def test_a_worker_without_an_engine_leaves_its_jobs_to_those_that_have_it(platform: Platform) -> None:
    mine, theirs = (EngineReport(engine=name, available=True, detects_language=True) for name in ("x", "y"))
    for worker, report in (("w", mine), ("another", theirs)):
        await engine_reports.record(platform, worker=worker, reports=[report])
    here = Attendance(platform, registry_of(ScriptedEngine(name="x")), Unused(), worker="w")
    job_id = await job(platform, engine="y")
    await here.attend(job_id)
    found = await row(platform, job_id)
    assert (found["state"], found["message"]) == ("queued", None)
    assert found["run_at"] <= found["created_at"]  # type: ignore[operator]


async def test_a_suspect_that_cannot_be_begun_costs_no_process_and_no_ring(
    platform: Platform, here: Attendance
) -> None:
    suspect = await job(platform, lane=Lane.INTERACTIVE, engine="auto")
    await asks_for(platform, suspect, '{"model": "nobody has it"}')
    await force(platform, f"UPDATE transcript_jobs SET crash_count = {QUARANTINE_AFTER} WHERE id = '{suspect}'")
    plain = await job(platform, lane=Lane.BULK)
    await here.attend(plain)
    assert await state(platform, plain) == "completed"


async def test_a_suspect_that_another_worker_was_first_at_costs_no_ring(
    platform: Platform, here: Attendance, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def had_by_another(_: UUID) -> Tried:
        return Tried.NOT_HAD

    monkeypatch.setattr(here._quarantine, "attempt", had_by_another)
    suspect, plain = await job(platform, lane=Lane.INTERACTIVE), await job(platform, lane=Lane.BULK)
    await force(platform, f"UPDATE transcript_jobs SET crash_count = {QUARANTINE_AFTER} WHERE id = '{suspect}'")
    await here.attend(suspect)
    assert await state(platform, plain) == "completed"


async def test_what_cannot_be_claimed_is_left_to_whoever_was_first(
    platform: Platform, here: Attendance, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await job(platform), await job(platform)
    choose = attempts.next_due

    async def slowly(*args: Any) -> Waiting | None:
        found = await choose(*args)
        await attempts.claim(platform, first, worker="another")
        return found

    monkeypatch.setattr(attempts, "next_due", slowly)
    await here.attend(first)
    assert [(await row(platform, job_id))["worker_id"] for job_id in (first, second)] == ["another", "w"]


async def test_a_suspect_is_no_choice_while_no_cell_is_free(
    platform: Platform, here: Attendance, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()
    alone: list[UUID] = []

    async def stay(job_id: UUID) -> Tried:
        alone.append(job_id)
        async with here._quarantine._free:
            entered.set()
            await leave.wait()
        return Tried.BEGUN

    monkeypatch.setattr(here._quarantine, "attempt", stay)
    monkeypatch.setattr(here._quarantine, "_free", asyncio.Semaphore(1))
    suspects = [await job(platform, lane=Lane.INTERACTIVE) for _ in range(2)]
    listed = ", ".join(f"'{job_id}'" for job_id in suspects)
    await force(platform, f"UPDATE transcript_jobs SET crash_count = {QUARANTINE_AFTER} WHERE id IN ({listed})")
    plain = await job(platform, lane=Lane.BULK)
    trying = asyncio.create_task(here.attend(suspects[0]))
    async with asyncio.timeout(60):
        await entered.wait()
        await here.attend(suspects[1])
    assert alone == [suspects[0]]
    assert await state(platform, plain) == "completed"
    leave.set()
    await trying


async def test_a_recording_that_is_to_be_fetched_is_no_choice_while_there_is_no_place_for_it(
    platform: Platform, here: Attendance, receiver: Receiver
) -> None:
    receiver.answer = server = Dawdling(SECOND)
    wanted = submission.Submission(JobOptions(engine="scripted"), lane=Lane.INTERACTIVE)
    linked = [
        (await submission.submit(platform, ME, wanted, submission.link(platform, receiver.url), filename=None)).job_id
        for _ in range(2)
    ]
    there = await job(platform, lane=Lane.BULK)
    fetching = asyncio.create_task(here.attend(linked[0]))
    await server.asked.wait()
    await here.attend(linked[1])
    assert await state(platform, there) == "completed"
    assert (await row(platform, linked[1]))["message"] is None, "it was not looked at"
    await here.attend(linked[1])
    assert (await row(platform, linked[1]))["message"] == "waiting to be fetched, as other recordings are"
    server.go_on.set()
    await fetching


async def test_a_worker_that_drains_chooses_nothing(platform: Platform, here: Attendance) -> None:
    waits = await job(platform)
    await here.drain(0)
    await here.attend(waits)
    assert (await row(platform, waits))["fence"] == 0
