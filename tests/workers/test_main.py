"""A worker process as a whole: how it goes on, or ends, where a part of it breaks."""

import asyncio
from typing import Any

import pytest
from arq.worker import Worker

from config.load import load_settings
from services.platform import Platform
from tests.support.audio import tone
from tests.support.cells import Unused
from tests.support.jobs import make_job, row
from tests.support.scripted import ScriptedEngine, registry_of
from tests.support.waiting import eventually
from workers import main
from workers.process import AtWork
from workers.schedule import Sweeper


async def test_a_worker_listens_again_after_an_error_that_nobody_foresaw(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    listen, tried = Worker.main, []

    async def breaks_once(arq: Worker) -> None:
        tried.append(arq)
        if len(tried) == 1:
            raise RuntimeError("readuntil() called while another coroutine is already waiting for incoming data")
        await listen(arq)

    monkeypatch.setattr(Worker, "main", breaks_once)
    stop = asyncio.Event()
    serving = asyncio.create_task(
        main._serve(AtWork("w", platform, registry_of(ScriptedEngine())), Unused(), stop, None)
    )
    job_id = await make_job(platform, content=tone(1.0))

    async def is_done() -> bool:
        return serving.done() or (await row(platform, job_id))["state"] == "completed"

    await eventually(is_done)
    stop.set()
    await serving
    assert (await row(platform, job_id))["state"] == "completed"


async def test_a_worker_whose_duty_breaks_off_drains_and_ends_with_the_reason(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = ScriptedEngine()

    async def break_off(_: Sweeper) -> None:
        await engine.ended.wait()
        raise ZeroDivisionError("a bug in a duty")

    monkeypatch.setattr(Sweeper, "run", break_off)
    job_id = await make_job(platform, content=tone(1.0))
    with pytest.raises(ZeroDivisionError, match="a bug in a duty"):
        await asyncio.wait_for(
            main._serve(AtWork("w", platform, registry_of(engine)), Unused(), asyncio.Event(), None), 30
        )
    assert (await row(platform, job_id))["state"] == "completed"


async def test_what_arq_still_had_to_say_of_a_job_is_said_before_its_connections_are_closed(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    listen, finish, left, workers = Worker.main, Worker.finish_job, asyncio.Event(), []

    async def tells_when_it_is_left(arq: Worker) -> None:
        workers.append(arq)
        try:
            await listen(arq)
        finally:
            left.set()

    async def is_late(arq: Worker, *args: Any) -> None:
        await left.wait()
        await finish(arq, *args)

    monkeypatch.setattr(Worker, "main", tells_when_it_is_left)
    monkeypatch.setattr(Worker, "finish_job", is_late)
    engine, stop = ScriptedEngine(), asyncio.Event()
    serving = asyncio.create_task(main._serve(AtWork("w", platform, registry_of(engine)), Unused(), stop, None))
    await make_job(platform, content=tone(1.0))
    await asyncio.wait_for(engine.ended.wait(), 30)
    stop.set()
    await serving
    (arq,) = workers
    assert {task.done() and task.exception() for task in arq.tasks.values()} == {None}  # of all rings there were
    assert not any(connection.is_connected for connection in arq.pool.connection_pool._available_connections)


@pytest.mark.parametrize(("jobs", "said", "connections"), [(3, 8, 11), (20, 8, 45), (3, 30, 30)])
def test_a_worker_has_connections_for_every_job_that_it_attends_to(
    environ: dict[str, str], jobs: int, said: int, connections: int
) -> None:
    settings = load_settings({**environ, "MAX_CONCURRENT_JOBS": f"{jobs}", "DATABASE_POOL_SIZE": f"{said}"})
    assert main.with_connections(settings).database.pool_size == connections
