"""The clock of the platform's duties."""

import pytest

from domain.errors import StorageUnavailable
from domain.lifecycle import JobState
from services import ending, retention, upkeep
from services.platform import Platform
from tests.support.jobs import ME, claimed, force, in_state, row
from workers.schedule import Sweeper


async def test_a_store_that_fails_keeps_no_lost_job_from_being_rescued(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_: str) -> None:
        raise StorageUnavailable

    erased = await in_state(platform, JobState.COMPLETED)
    sweeper = Sweeper(platform, worker="sweeper")
    with monkeypatch.context() as fault:
        fault.setattr(platform.store, "delete", away)
        with pytest.raises(StorageUnavailable):
            await ending.erase(platform, ME, erased)
        fault.setattr(upkeep, "PAUSE_SECONDS", 0.0)
        sweeper._pulse.beat()
        await sweeper.sweep()  # a pause, after which every worker gets its whole lease again
        fault.setattr(upkeep, "PAUSE_SECONDS", 60.0)
        lost = await claimed(platform)
        await force(
            platform, f"UPDATE transcript_jobs SET lease_until = now() - interval '1 s' WHERE id = '{lost.job_id}'"
        )
        await sweeper.sweep()
    assert (await row(platform, lost.job_id))["state"] == "queued"
    await upkeep.hand_back_duties(platform, holder="sweeper")
    assert await retention.finish_erasures(platform) >= 1
