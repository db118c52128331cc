"""What workers say of engines: who is believed, for how long, and what becomes of it when nobody vouches."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import event, text

from db import engine_reports as rows
from domain.capabilities import EngineReport, LoadedModel, ModelReport
from domain.transcript import Transcript
from engines.registry import Registry
from services import attempts, engine_reports
from services.platform import Platform
from tests.support.jobs import claimed, force
from tests.support.scripted import ScriptedEngine, registry_of
from tests.support.waiting import eventually
from workers.schedule import Reporter

MANY = 100_000
"""Finished jobs, after a year or so."""


@pytest.fixture(autouse=True)
async def nobody(platform: Platform) -> None:
    await force(platform, "DELETE FROM engine_reports")


async def silence(platform: Platform, worker: str, *, seconds: float = 5) -> None:
    """The worker was last heard of so long ago."""
    await force(
        platform,
        f"UPDATE engine_reports SET reported_at = reported_at - interval '{seconds} s' WHERE worker_id = '{worker}'",
    )


async def workers_with_rows(platform: Platform) -> set[str]:
    async with platform.sessions.begin() as session:
        return set(await session.scalars(text("SELECT worker_id FROM engine_reports")))


def report(engine: str = "sphinx", **fields: Any) -> EngineReport:
    return EngineReport(engine=engine, **{"available": True, **fields})


async def test_an_engine_that_one_of_two_workers_can_use_is_available(platform: Platform) -> None:
    away = report(available=False, reason="unreachable")
    for left, right in ((report(), away), (away, report())):
        await engine_reports.record(platform, worker="left", reports=[left])
        await engine_reports.record(platform, worker="right", reports=[right])
        assert (await engine_reports.known(platform))["sphinx"] == report()


async def test_the_answer_does_not_swing_between_workers_that_differ(platform: Platform) -> None:
    for worker in ("left", "right"):
        await engine_reports.record(platform, worker=worker, reports=[report(description=worker)])
    before = await engine_reports.known(platform)
    for worker in ("left", "right"):
        await engine_reports.vouch(platform, worker=worker)
        assert await engine_reports.known(platform) == before


async def test_a_worker_that_is_silent_for_five_seconds_is_not_believed(platform: Platform) -> None:
    fetching = report(
        load=2,
        models=(
            ModelReport(name="base", state="downloading", note="3 of 145 MB"),
            ModelReport(name="a", state="ready"),
        ),
        memory=(LoadedModel(),),
        languages=("en",),
    )
    await engine_reports.record(platform, worker="left", reports=[fetching])
    assert await engine_reports.any_worker(platform)
    await silence(platform, "left", seconds=5)
    found = (await engine_reports.known(platform))["sphinx"]
    assert (found.available, found.reason) == (False, engine_reports.NO_WORKER)
    assert (found.load, found.memory) == (0, None), "what it was doing is not known any more"
    assert [model.state for model in found.models] == ["absent", "ready"]
    assert found.languages == ("en",), "what it is stays known"
    assert not await engine_reports.any_worker(platform)
    await engine_reports.vouch(platform, worker="left")
    assert (await engine_reports.known(platform))["sphinx"] == fetching


async def test_the_last_word_on_an_engine_is_kept_when_no_worker_lives(platform: Platform) -> None:
    for worker in ("first", "last"):
        await engine_reports.record(platform, worker=worker, reports=[report(description=worker)])
    await silence(platform, "first", seconds=3600)
    await silence(platform, "last", seconds=3000)
    assert (await engine_reports.known(platform))["sphinx"].description == "last"


async def test_reports_of_workers_that_have_gone_are_cleared_away(platform: Platform) -> None:
    await engine_reports.record(platform, worker="gone", reports=[report(), report("only-there")])
    await silence(platform, "gone", seconds=120)
    await engine_reports.record(platform, worker="here", reports=[report()])
    assert set(await engine_reports.known(platform)) == {"asr", "whisperx", "sphinx", "only-there"}
    async with platform.sessions.begin() as session:
        found = (await session.execute(text("SELECT worker_id, engine FROM engine_reports"))).all()
    assert {(row[0], row[1]) for row in found} == {("gone", "only-there"), ("here", "sphinx")}


async def test_an_engine_that_no_worker_has_any_more_says_so_and_is_forgotten_in_an_hour(platform: Platform) -> None:
    await engine_reports.record(platform, worker="gone", reports=[report("only-there")])
    await silence(platform, "gone", seconds=120)
    await engine_reports.record(platform, worker="here", reports=[report()])
    assert (await engine_reports.known(platform))["only-there"].reason == engine_reports.NO_LONGER
    await silence(platform, "gone", seconds=3700)
    await engine_reports.record(platform, worker="here", reports=[report()])
    assert "only-there" not in await engine_reports.known(platform)


async def test_a_report_of_another_version_is_passed_over(platform: Platform) -> None:
    await engine_reports.record(platform, worker="old", reports=[report("sphinx"), report("other")])
    await force(platform, """UPDATE engine_reports SET report = '{"of_the_future": 1}' WHERE engine = 'other'""")
    known = await engine_reports.known(platform)
    assert "sphinx" in known
    assert "other" not in known


async def test_an_engine_that_a_worker_lists_no_longer_goes(platform: Platform) -> None:
    await engine_reports.record(platform, worker="left", reports=[report(), report("other")])
    await engine_reports.record(platform, worker="left", reports=[report()])
    assert "other" not in await engine_reports.known(platform)


# What a worker tells


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
def reporter(platform: Platform, engine: ScriptedEngine) -> Reporter:
    return Reporter(platform, registry_of(engine), worker="left")


async def writes(platform: Platform, act: Any) -> list[str]:
    """The statements that change something while `act` runs."""
    said: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith("SELECT"):
            said.append(statement.split()[0])

    engine = platform.sessions.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        await act()
    finally:
        event.remove(engine, "before_cursor_execute", note)
    return said


async def test_what_has_not_changed_is_not_written_again(
    platform: Platform, reporter: Reporter, engine: ScriptedEngine
) -> None:
    assert await writes(platform, reporter.report) != []
    assert await writes(platform, reporter.report) == []
    assert await writes(platform, reporter.vouch) == ["UPDATE"]
    engine.answer = engine.answer.model_copy(update={"load": 1})
    assert await writes(platform, reporter.report) != []
    assert (await engine_reports.known(platform))["scripted"].load == 1


async def test_a_worker_whose_reports_were_cleared_away_says_them_anew(platform: Platform, reporter: Reporter) -> None:
    await reporter.report()
    await force(platform, "DELETE FROM engine_reports")
    await reporter.vouch()
    await reporter.report()
    assert (await engine_reports.known(platform))["scripted"].available


async def test_an_engine_that_takes_its_time_does_not_make_the_worker_seem_gone(
    platform: Platform, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, never = asyncio.Event(), asyncio.Event()
    reports = Registry.reports

    async def slow(registry: Registry) -> list[EngineReport]:
        if asked.is_set():
            await never.wait()
        asked.set()
        return await reports(registry)

    monkeypatch.setattr(Registry, "reports", slow)
    reporter = Reporter(platform, registry_of(engine), worker="left")
    running = asyncio.create_task(reporter.run())
    await reporter.told.wait()
    await silence(platform, "left", seconds=60)
    await eventually(lambda: engine_reports.any_worker(platform))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_worker_that_leaves_is_counted_on_no_longer(platform: Platform, reporter: Reporter) -> None:
    await reporter.report()
    await reporter.withdraw()
    assert not await engine_reports.any_worker(platform)
    await reporter.vouch()
    await reporter.report()
    assert not await engine_reports.any_worker(platform), "not even by a look that had begun before"
    assert await workers_with_rows(platform) == {"left"}


# How fast an engine is


async def end_job(platform: Platform, engine: str, *, engine_seconds: float | None, duration: float = 10.0) -> None:
    heard = Transcript(language="en", duration=duration, engine=engine, engine_reason="a test asked for it")
    assert await attempts.complete(platform, await claimed(platform), heard, engine_seconds=engine_seconds)


async def factor(platform: Platform, engine: str) -> float | None:
    async with platform.sessions.alone() as session:
        return (await rows.real_time_factors(session, ["somebody", engine])).get(engine)


async def test_how_fast_an_engine_is_is_known_from_its_last_twenty_jobs(platform: Platform) -> None:
    assert await factor(platform, "counted") is None
    await end_job(platform, "counted", engine_seconds=1000.0)
    await end_job(platform, "other", engine_seconds=1000.0)
    for _ in range(20):
        await end_job(platform, "counted", engine_seconds=5.0)
    assert await factor(platform, "counted") == pytest.approx(0.5)


async def test_a_long_job_weighs_more_than_a_short_one(platform: Platform) -> None:
    await end_job(platform, "weighed", engine_seconds=2.0, duration=1.0)
    await end_job(platform, "weighed", engine_seconds=100.0, duration=999.0)
    assert await factor(platform, "weighed") == pytest.approx(0.102)


async def test_a_job_that_went_on_from_anothers_text_says_nothing_of_speed(platform: Platform) -> None:
    await end_job(platform, "rerun", engine_seconds=None)
    assert await factor(platform, "rerun") is None


async def test_among_a_hundred_thousand_jobs_the_last_twenty_are_found_by_the_index(platform: Platform) -> None:
    await force(
        platform,
        "INSERT INTO transcripts (id, engine, duration, engine_seconds, created_at) SELECT gen_random_uuid(),"
        f" 'engine-' || n % 5, 60, 30, now() - n * interval '1 s' FROM generate_series(1, {MANY}) n;"
        " ANALYZE transcripts",
    )
    said: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        said.append((statement, parameters))

    event.listen(platform.sessions.engine.sync_engine, "before_cursor_execute", note)
    try:
        async with platform.sessions.alone() as session:
            found = await rows.real_time_factors(session, ["engine-1", "engine-2"])
            statement, parameters = said[-1]
            connection = await session.connection()
            lines = await connection.exec_driver_sql(f"EXPLAIN (ANALYZE, TIMING OFF) {statement}", parameters)
            plan = "\n".join(lines.scalars())
    finally:
        event.remove(platform.sessions.engine.sync_engine, "before_cursor_execute", note)
        await force(platform, "DELETE FROM transcripts WHERE engine LIKE 'engine-%'")
    assert found == {"engine-1": pytest.approx(0.5), "engine-2": pytest.approx(0.5)}
    assert "Index Scan using transcripts_by_speed" in plan, plan
    assert "Seq Scan" not in plan, plan
