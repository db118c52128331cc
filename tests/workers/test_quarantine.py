"""Jobs that have cost workers their lives, in real processes of their own."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import psutil
import pytest

from domain.lifecycle import MAX_CRASHES, QUARANTINE_AFTER
from services import reading, upkeep
from services.platform import Platform
from tests.support.audio import tone
from tests.support.cells import nursery, worker_with
from tests.support.jobs import ME, force, make_job, row
from tests.support.servers import free_port
from tests.support.waiting import eventually
from workers import cells as cells_module
from workers.cells import Cells, NoCells
from workers.pipeline import Tried
from workers.quarantine import AT_ONCE, Quarantine

PLUGINS = Path(__file__).parent.parent / "support" / "plugins"


@dataclass(frozen=True, slots=True)
class Ward:
    quarantine: Quarantine
    nursery: psutil.Process

    def cells(self) -> list[psutil.Process]:
        return self.nursery.children()


@pytest.fixture(scope="module")
def surroundings(environ: dict[str, str]) -> dict[str, str]:
    """What the processes find: the platform of the test, and the test's engines."""
    return {**os.environ, **environ, "PYTHONPATH": os.pathsep.join([str(PLUGINS), str(PLUGINS.parents[2])])}


@pytest.fixture(scope="module")
def of_all(surroundings: dict[str, str]) -> Iterator[tuple[Cells, psutil.Process]]:
    with nursery(surroundings) as (cells, process):
        yield cells, process


@pytest.fixture
def ward(platform: Platform, of_all: tuple[Cells, psutil.Process]) -> Ward:
    cells, process = of_all
    return Ward(Quarantine(platform, cells), process)


async def suspect(platform: Platform, engine: str) -> UUID:
    job_id = await make_job(platform, content=tone(1.0))
    await force(
        platform,
        f"UPDATE transcript_jobs SET crash_count = {QUARANTINE_AFTER}, engine = '{engine}',"
        f""" engine_params = '{{"engine": "{engine}"}}' WHERE id = '{job_id}'""",
    )
    return job_id


async def test_an_innocent_suspect_completes_in_a_process_of_its_own(platform: Platform, ward: Ward) -> None:
    job_id = await suspect(platform, "gentle")
    assert await ward.quarantine.attempt(job_id) == Tried.BEGUN
    heard = (await reading.result(platform, ME, job_id)).heard
    assert int(heard.text) not in (os.getpid(), ward.nursery.pid)
    assert await ward.quarantine.attempt(job_id) == Tried.NOT_HAD, "it has ended"
    assert (await row(platform, job_id))["state"] == "completed"


async def test_a_poisonous_job_takes_nobody_along_and_is_failed(platform: Platform, ward: Ward) -> None:
    job_id = await suspect(platform, "poison")
    for _ in range(QUARANTINE_AFTER, MAX_CRASHES):
        await ward.quarantine.attempt(job_id)
        assert (await row(platform, job_id))["state"] == "processing"  # nobody was left to say more
        await force(platform, f"UPDATE transcript_jobs SET lease_until = now() - interval '1 s' WHERE id = '{job_id}'")
        await upkeep.rescue(platform, upkeep.Pulse())
    after = await row(platform, job_id)
    assert (after["state"], after["crash_count"], after["fence"]) == ("failed", MAX_CRASHES, 2)
    assert after["error_details"]["code"] == "worker_crashed"  # type: ignore[index]


async def under_way(platform: Platform, job_id: UUID) -> None:
    async def is_heard() -> bool:
        return (await row(platform, job_id))["segments_n"] != 0

    await eventually(is_heard)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_to_all_processes_of_a_worker_costs_a_suspect_nothing(
    platform: Platform, ward: Ward, number: signal.Signals
) -> None:
    job_id = await suspect(platform, "endless")
    attempt = asyncio.create_task(ward.quarantine.attempt(job_id))
    await under_way(platform, job_id)
    for process in (ward.nursery, *ward.cells()):
        process.send_signal(number)
    await attempt
    after = await row(platform, job_id)
    assert (after["state"], after["crash_count"], after["attempts"]) == ("queued", QUARANTINE_AFTER, 0)


async def test_an_attempt_that_cannot_be_begun_is_told_of(
    platform: Platform, surroundings: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    nowhere = {"DATABASE_URL": f"postgresql://nobody@127.0.0.1:{free_port()}/none"}
    with nursery(surroundings | nowhere) as (cells, _):
        await Quarantine(platform, cells).attempt(await suspect(platform, "gentle"))
    assert "an attempt could not be begun" in capfd.readouterr().err


async def test_a_worker_that_drains_gives_its_suspect_back_uncharged(platform: Platform, ward: Ward) -> None:
    job_id = await suspect(platform, "endless")
    attempt = asyncio.create_task(ward.quarantine.attempt(job_id))
    await under_way(platform, job_id)
    attempt.cancel()
    with suppress(asyncio.CancelledError):
        await attempt
    after = await row(platform, job_id)
    assert (after["state"], after["crash_count"], after["attempts"]) == ("queued", QUARANTINE_AFTER, 0)


async def test_where_no_cell_is_free_a_suspect_stays_in_the_queue(platform: Platform, ward: Ward) -> None:
    first_ids = [await suspect(platform, "endless") for _ in range(AT_ONCE)]
    last_id = await suspect(platform, "gentle")
    first = asyncio.gather(*(ward.quarantine.attempt(job_id) for job_id in first_ids))
    for job_id in first_ids:
        await under_way(platform, job_id)
    assert len(ward.cells()) == AT_ONCE, "each in a process of its own"
    await ward.quarantine.attempt(last_id)
    waiting = await row(platform, last_id)
    assert (waiting["state"], waiting["fence"], waiting["attempts"]) == ("queued", 0, 0)
    assert waiting["message"] == "waiting to be tried alone"
    assert waiting["run_at"] > waiting["updated_at"]  # type: ignore[operator]
    assert not first.done()
    first.cancel()
    with suppress(asyncio.CancelledError):
        await first
    await force(platform, f"UPDATE transcript_jobs SET run_at = now() WHERE id = '{last_id}'")
    await ward.quarantine.attempt(last_id)
    assert (await row(platform, last_id))["state"] == "completed"


async def test_a_worker_that_is_killed_with_all_its_group_leaves_its_suspects_uncharged(
    platform: Platform, surroundings: dict[str, str]
) -> None:
    job_id = await suspect(platform, "endless")
    with worker_with(surroundings, job_id) as worker:
        await under_way(platform, job_id)
        others = family(worker)
        os.killpg(worker.pid, signal.SIGKILL)
        await asyncio.to_thread(gone, others)
    after = await row(platform, job_id)
    assert (after["state"], after["crash_count"], after["attempts"]) == ("queued", QUARANTINE_AFTER, 0)


async def test_a_cell_that_gives_nothing_back_does_not_outlive_its_worker_for_long(
    platform: Platform, surroundings: dict[str, str]
) -> None:
    job_id = await suspect(platform, "stuck")
    with worker_with(surroundings, job_id) as worker:
        await under_way(platform, job_id)
        others = family(worker)
        await eventually(lambda: psutil.STATUS_STOPPED in {process.status() for process in others})
        worker.kill()
        await asyncio.to_thread(gone, others)
    assert (await row(platform, job_id))["state"] == "processing"


async def test_a_worker_that_drains_does_not_wait_for_a_cell_that_is_stuck(
    platform: Platform, ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells_module, "GIVE_BACK_SECONDS", 0.5)
    job_id = await suspect(platform, "stuck")
    attempt = asyncio.create_task(ward.quarantine.attempt(job_id))
    await under_way(platform, job_id)
    await eventually(lambda: psutil.STATUS_STOPPED in {process.status() for process in ward.cells()})
    attempt.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.wait_for(attempt, 30)
    await eventually(lambda: not ward.cells())


def family(worker: psutil.Process) -> list[psutil.Process]:
    found = worker.children(recursive=True)
    assert len(found) == 2, "the one that forks cells, and the cell"
    return found


def gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert not alive


async def test_without_the_process_that_forks_them_cells_end_and_the_worker_is_told(
    platform: Platform, surroundings: dict[str, str]
) -> None:
    job_id = await suspect(platform, "endless")
    with nursery(surroundings) as (cells, process):
        watching = asyncio.create_task(cells.watch())
        attempt = asyncio.create_task(cells.attempt(job_id))
        await under_way(platform, job_id)
        process.kill()
        assert await attempt == b""
        with pytest.raises(NoCells):
            await watching
        with pytest.raises(OSError, match="Broken pipe"):
            await cells.attempt(job_id)


async def test_a_worker_that_ends_leaves_no_process_behind(platform: Platform, surroundings: dict[str, str]) -> None:
    with nursery(surroundings) as (cells, process):
        await cells.attempt(await suspect(platform, "gentle"))
        await cells.close()
        assert await asyncio.to_thread(process.wait, 30) == 0
