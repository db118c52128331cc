"""Jobs that have cost workers their lives, in real processes of their own."""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import psutil
import pytest

from config.load import load_settings
from config.settings import Settings
from domain.lifecycle import QUARANTINE_AFTER
from services import reading, upkeep
from services.platform import Platform
from tests.support.audio import tone
from tests.support.jobs import ME, force, make_job, row
from tests.support.servers import free_port
from tests.support.waiting import eventually
from workers.quarantine import Quarantine

PLUGINS = Path(__file__).parent.parent / "support" / "plugins"


@pytest.fixture(scope="module")
def settings(environ: dict[str, str]) -> Settings:
    return load_settings(environ)


@pytest.fixture(autouse=True)
def surroundings(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What the process of its own finds: the platform of the test, and the test's engines."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(PLUGINS), str(PLUGINS.parents[2])]))


async def suspect(platform: Platform, engine: str) -> UUID:
    job_id = await make_job(platform, content=tone(1.0))
    await force(
        platform,
        f"UPDATE transcript_jobs SET crash_count = {QUARANTINE_AFTER}, engine = '{engine}',"
        f""" engine_params = '{{"engine": "{engine}"}}' WHERE id = '{job_id}'""",
    )
    return job_id


async def test_an_innocent_suspect_completes_in_a_process_of_its_own(platform: Platform) -> None:
    job_id = await suspect(platform, "gentle")
    await Quarantine(platform).attempt(job_id)
    heard = (await reading.result(platform, ME, job_id)).heard
    assert heard.text != str(os.getpid())
    assert (await row(platform, job_id))["state"] == "completed"


async def test_a_poisonous_job_takes_nobody_along_and_is_failed(platform: Platform) -> None:
    job_id = await suspect(platform, "poison")
    await Quarantine(platform).attempt(job_id)
    assert (await row(platform, job_id))["state"] == "processing"  # nobody was left to say more
    await force(platform, f"UPDATE transcript_jobs SET lease_until = now() - interval '1 s' WHERE id = '{job_id}'")
    await upkeep.rescue(platform, upkeep.Pulse())
    after = await row(platform, job_id)
    assert (after["state"], after["crash_count"], after["fence"]) == ("failed", 3, 1)
    assert after["error_details"]["code"] == "worker_crashed"  # type: ignore[index]


async def under_way(platform: Platform, job_id: UUID) -> None:
    async def is_heard() -> bool:
        return (await row(platform, job_id))["segments_n"] != 0

    await eventually(is_heard)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_to_all_processes_of_a_worker_costs_a_suspect_nothing(
    platform: Platform, number: signal.Signals
) -> None:
    job_id = await suspect(platform, "endless")
    attempt = asyncio.create_task(Quarantine(platform).attempt(job_id))
    await under_way(platform, job_id)
    (child,) = (each for each in psutil.Process().children() if str(job_id) in each.cmdline())
    child.send_signal(number)
    await attempt
    after = await row(platform, job_id)
    assert (after["state"], after["crash_count"], after["attempts"]) == ("queued", QUARANTINE_AFTER, 0)


async def test_an_attempt_that_cannot_be_begun_is_told_of(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://nobody@127.0.0.1:{free_port()}/none")
    await Quarantine(platform).attempt(await suspect(platform, "gentle"))
    assert "an attempt could not be begun" in capfd.readouterr().err


async def test_a_worker_that_drains_gives_its_suspect_back_uncharged(platform: Platform) -> None:
    job_id = await suspect(platform, "endless")
    attempt = asyncio.create_task(Quarantine(platform).attempt(job_id))
    await under_way(platform, job_id)
    attempt.cancel()
    with suppress(asyncio.CancelledError):
        await attempt
    after = await row(platform, job_id)
    assert (after["state"], after["crash_count"], after["attempts"]) == ("queued", QUARANTINE_AFTER, 0)


async def test_one_suspect_is_tried_at_a_time_and_the_next_stays_in_the_queue(platform: Platform) -> None:
    quarantine = Quarantine(platform)
    first_id, second_id = await suspect(platform, "endless"), await suspect(platform, "gentle")
    first = asyncio.create_task(quarantine.attempt(first_id))
    await under_way(platform, first_id)
    await quarantine.attempt(second_id)
    waiting = await row(platform, second_id)
    assert (waiting["state"], waiting["fence"], waiting["attempts"]) == ("queued", 0, 0)
    assert waiting["message"] == "waiting to be tried alone"
    assert waiting["run_at"] > waiting["updated_at"]  # type: ignore[operator]
    assert not first.done()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await force(platform, f"UPDATE transcript_jobs SET run_at = now() WHERE id = '{second_id}'")
    await quarantine.attempt(second_id)
    assert (await row(platform, second_id))["state"] == "completed"
