"""Jobs that have cost workers their lives, in real processes of their own."""

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import pytest

from config.load import load_settings
from config.settings import Settings
from domain.lifecycle import QUARANTINE_AFTER
from services import reading, upkeep
from services.platform import Platform
from tests.support.audio import tone
from tests.support.jobs import ME, force, make_job, row
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
    await Quarantine().attempt(job_id)
    heard = (await reading.result(platform, ME, job_id)).heard
    assert heard.text != str(os.getpid())
    assert (await row(platform, job_id))["state"] == "completed"


async def test_a_poisonous_job_takes_nobody_along_and_is_failed(platform: Platform) -> None:
    job_id = await suspect(platform, "poison")
    await Quarantine().attempt(job_id)
    assert (await row(platform, job_id))["state"] == "processing"  # nobody was left to say more
    await force(platform, f"UPDATE transcript_jobs SET lease_until = now() - interval '1 s' WHERE id = '{job_id}'")
    await upkeep.rescue(platform, upkeep.Pulse())
    after = await row(platform, job_id)
    assert (after["state"], after["crash_count"], after["fence"]) == ("failed", 3, 1)
    assert after["error_details"]["code"] == "worker_crashed"  # type: ignore[index]


async def test_a_worker_that_drains_gives_its_suspect_back_uncharged(platform: Platform) -> None:
    job_id = await suspect(platform, "endless")
    attempt = asyncio.create_task(Quarantine().attempt(job_id))
    while (await row(platform, job_id))["segments_n"] == 0:
        await asyncio.sleep(0.05)
        assert not attempt.done()
    attempt.cancel()
    with suppress(asyncio.CancelledError):
        await attempt
    after = await row(platform, job_id)
    assert (after["state"], after["crash_count"], after["attempts"]) == ("queued", QUARANTINE_AFTER, 0)


async def test_one_suspect_is_tried_at_a_time(platform: Platform) -> None:
    quarantine = Quarantine()
    first = asyncio.create_task(quarantine.attempt(await suspect(platform, "endless")))
    second_id = await suspect(platform, "gentle")
    await asyncio.sleep(0)
    second = asyncio.create_task(quarantine.attempt(second_id))
    done, _ = await asyncio.wait({second}, timeout=1.0)
    assert not done
    assert (await row(platform, second_id))["fence"] == 0
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await second
    assert (await row(platform, second_id))["state"] == "completed"
