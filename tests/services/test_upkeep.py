"""The sweeper: lost workers, lost rings, spent budgets, and a machine that slept."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import func, select

from db.tables import Duty
from domain.access import Caller
from domain.errors import AudioDeleted, JobNotFound
from messaging.arq_queue import QUEUE_NAME
from services import attempts, ending, reading, retention, upkeep
from services.platform import Platform
from services.upkeep import Pulse
from storage import layout
from tests.support.jobs import ME, NOBODY_HEARD, body, claimed, force, make_job, row
from tests.support.servers import RedisServer


async def lose(platform: Platform, job_id: UUID) -> None:
    await force(platform, f"UPDATE transcript_jobs SET lease_until = now() - interval '1 s' WHERE id = '{job_id}'")


async def flush(platform: Platform) -> None:
    await platform.queue._arq.flushall()  # type: ignore[attr-defined]


async def rung(platform: Platform) -> set[str]:
    found = await platform.queue._arq.zrange(QUEUE_NAME, 0, -1)  # type: ignore[attr-defined]
    return {name.decode() for name in found}


async def test_the_job_of_a_lost_worker_is_queued_again_and_the_crash_counted(platform: Platform) -> None:
    attempt = await claimed(platform)
    await lose(platform, attempt.job_id)
    await upkeep.rescue(platform, Pulse())
    after = await row(platform, attempt.job_id)
    assert (after["state"], after["crash_count"], after["attempts"]) == ("queued", 1, 0)
    assert await attempts.heartbeat(platform, attempt) == attempts.Standing.LOST
    assert not await attempts.complete(platform, attempt, NOBODY_HEARD)


async def test_a_worker_that_keeps_its_lease_keeps_its_job(platform: Platform) -> None:
    attempt = await claimed(platform)
    await upkeep.rescue(platform, Pulse())
    assert (await row(platform, attempt.job_id))["state"] == "processing"


async def test_a_job_that_kills_its_workers_fails_at_the_third(platform: Platform) -> None:
    job_id = await make_job(platform)
    for _ in range(3):
        assert await attempts.claim(platform, job_id, worker="w")
        await lose(platform, job_id)
        await upkeep.rescue(platform, Pulse())
    after = await row(platform, job_id)
    assert (after["state"], after["crash_count"]) == ("failed", 3)
    assert after["error_details"]["code"] == "worker_crashed"  # type: ignore[index]


async def test_a_lost_job_whose_cancel_was_wished_for_is_cancelled(platform: Platform) -> None:
    attempt = await claimed(platform)
    await ending.cancel(platform, ME, attempt.job_id)
    await lose(platform, attempt.job_id)
    await upkeep.rescue(platform, Pulse())
    assert (await row(platform, attempt.job_id))["state"] == "cancelled"


async def test_after_a_pause_every_lease_is_renewed_and_nobody_charged(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = await claimed(platform)
    await lose(platform, attempt.job_id)
    pulse = Pulse()
    pulse.beat()
    monkeypatch.setattr(upkeep, "PAUSE_SECONDS", -1.0)
    await upkeep.rescue(platform, pulse)
    monkeypatch.undo()
    pulse.beat()
    await upkeep.rescue(platform, pulse)
    after = await row(platform, attempt.job_id)
    assert (after["state"], after["crash_count"]) == ("processing", 0)
    assert await attempts.heartbeat(platform, attempt) == attempts.Standing.OURS


async def test_a_ring_that_was_lost_is_rung_again_under_a_new_number(platform: Platform) -> None:
    job_id = await make_job(platform)
    await flush(platform)
    await force(platform, f"UPDATE transcript_jobs SET dispatched_at = now() - interval '1 min' WHERE id = '{job_id}'")
    await upkeep.redispatch(platform)
    assert f"{job_id}:2" in await rung(platform)


async def test_a_ring_that_a_worker_took_to_its_grave_is_rung_again(platform: Platform) -> None:
    job_id = await make_job(platform)
    await platform.queue._arq.set(f"arq:in-progress:{job_id}:1", "1")  # type: ignore[attr-defined]  # what arq leaves
    await force(platform, f"UPDATE transcript_jobs SET dispatched_at = now() - interval '1 min' WHERE id = '{job_id}'")
    await upkeep.redispatch(platform)
    assert {name for name in await rung(platform) if name.startswith(str(job_id))} == {f"{job_id}:2"}


async def test_a_job_that_waits_in_the_queue_is_not_rung_for_again(platform: Platform) -> None:
    job_id = await make_job(platform)
    await force(platform, f"UPDATE transcript_jobs SET dispatched_at = now() - interval '1 min' WHERE id = '{job_id}'")
    await upkeep.redispatch(platform)
    assert (await row(platform, job_id))["dispatch_no"] == 1


async def test_a_retry_is_rung_for_when_it_is_due_and_not_before(platform: Platform) -> None:
    job_id = await make_job(platform)
    await flush(platform)
    await force(platform, f"UPDATE transcript_jobs SET run_at = now() + interval '1 min' WHERE id = '{job_id}'")
    await upkeep.redispatch(platform)
    assert not {name for name in await rung(platform) if name.startswith(str(job_id))}
    await force(
        platform,
        f"UPDATE transcript_jobs SET run_at = now(), dispatched_at = now() - interval '1 s' WHERE id = '{job_id}'",
    )
    await upkeep.redispatch(platform)
    assert f"{job_id}:2" in await rung(platform)


async def test_a_thousand_lost_rings_are_found_in_one_round(platform: Platform) -> None:
    kept = [await make_job(platform) for _ in range(20)]
    await flush(platform)
    await force(platform, "UPDATE transcript_jobs SET dispatched_at = now() - interval '1 min' WHERE state = 'queued'")
    before = upkeep.BATCH
    upkeep.BATCH = 7
    try:
        await upkeep.redispatch(platform)
    finally:
        upkeep.BATCH = before
    names = await rung(platform)
    assert all(any(name.startswith(str(job_id)) for name in names) for job_id in kept)


async def test_one_worker_at_a_time_holds_the_duty(platform: Platform) -> None:
    assert await upkeep.take_duty(platform, Pulse(), holder="left")
    assert not await upkeep.take_duty(platform, Pulse(), holder="right")
    assert await upkeep.take_duty(platform, Pulse(), holder="left")
    await upkeep.hand_back_duties(platform, holder="left")
    assert await upkeep.take_duty(platform, Pulse(), holder="right")
    await upkeep.hand_back_duties(platform, holder="right")


async def test_whoever_holds_the_duty_makes_it_last_and_nobody_else_does(platform: Platform) -> None:
    async def left() -> timedelta:
        async with platform.sessions.begin() as session:
            found = await session.scalar(select(Duty.until - func.now()).where(Duty.name == upkeep.SWEEPER))
        assert found is not None
        return found

    nearly_over = "UPDATE duties SET until = now() + interval '2 seconds' WHERE name = 'sweeper'"
    assert await upkeep.take_duty(platform, Pulse(), holder="left")
    await force(platform, nearly_over)
    assert not await upkeep.take_duty(platform, Pulse(), holder="right")
    assert await left() <= timedelta(seconds=2)
    assert await upkeep.take_duty(platform, Pulse(), holder="left")
    assert await left() > timedelta(seconds=2)
    await upkeep.hand_back_duties(platform, holder="left")


async def test_a_duty_that_its_own_holder_let_lie_tells_of_a_pause(platform: Platform) -> None:
    pulse = Pulse()
    assert await upkeep.take_duty(platform, pulse, holder="left")
    assert not pulse.paused()
    await force(platform, "UPDATE duties SET until = now() - interval '10 seconds' WHERE name = 'sweeper'")
    assert await upkeep.take_duty(platform, pulse, holder="left")
    assert pulse.paused()
    await upkeep.hand_back_duties(platform, holder="left")


async def test_of_many_workers_that_claim_a_job_one_gets_it(platform: Platform) -> None:
    job_id = await make_job(platform)
    won = await asyncio.gather(*(attempts.claim(platform, job_id, worker=f"w{n}") for n in range(8)))
    assert len([attempt for attempt in won if attempt]) == 1


async def test_a_recording_is_deleted_once_its_time_is_over_and_not_before(platform: Platform) -> None:
    attempt = await claimed(platform)
    await attempts.complete(platform, attempt, NOBODY_HEARD)
    await retention.delete_expired_audio(platform)
    assert (await reading.audio(platform, ME, attempt.job_id)).size_bytes == 4
    day_old = f"UPDATE transcript_jobs SET completed_at = now() - interval '25 h' WHERE id = '{attempt.job_id}'"
    await force(platform, day_old)
    await retention.delete_expired_audio(platform)
    with pytest.raises(AudioDeleted):
        await reading.audio(platform, ME, attempt.job_id)
    assert (await reading.result(platform, ME, attempt.job_id)).heard == NOBODY_HEARD


async def test_an_object_that_no_job_points_to_goes_after_a_day(platform: Platform) -> None:
    settings = platform.settings.retention.model_copy(update={"orphan_hours": 1e-9})
    at_once = platform.__class__(
        platform.settings.model_copy(update={"retention": settings}),
        platform.sessions, platform.store, platform.queue, platform.events,
    )  # fmt: skip
    job_id = await make_job(platform)
    orphan = layout.result("local", job_id, 7)
    await platform.store.put(orphan, body(b"nobody's"))
    assert await retention.delete_orphans(platform) == 0
    assert await retention.delete_orphans(at_once) >= 1
    left = [found.key async for found in platform.store.list(layout.job_prefix("local", job_id))]
    assert left == [layout.source("local", job_id)]


async def test_erasing_a_job_that_a_worker_holds_ends_when_the_worker_lets_go(platform: Platform) -> None:
    attempt = await claimed(platform)
    receipt = await ending.erase(platform, ME, attempt.job_id)
    assert receipt.erased_at is None
    with pytest.raises(JobNotFound):
        await reading.status(platform, ME, attempt.job_id)
    assert await attempts.heartbeat(platform, attempt) == attempts.Standing.CANCEL
    assert await attempts.cancel(platform, attempt)
    await retention.finish_erasures(platform)
    after = await row(platform, attempt.job_id)
    assert (after["state"], after["source_key"], after["engine_params"]) == ("purged", None, {})
    assert [found.key async for found in platform.store.list(layout.job_prefix("local", attempt.job_id))] == []


async def test_nobody_erases_or_cancels_anothers_job(platform: Platform) -> None:
    job_id = await make_job(platform)
    for act in (ending.erase, ending.cancel):
        with pytest.raises(JobNotFound):
            await act(platform, Caller("somebody else"), job_id)
    assert (await row(platform, job_id))["state"] == "queued"


async def test_a_job_is_accepted_while_redis_is_away_and_rung_for_when_it_is_back(
    platform: Platform, redis: RedisServer
) -> None:
    redis.kill()
    try:
        job_id = await make_job(platform)
        assert await upkeep.redispatch(platform) == 0
    finally:
        redis.restart()
    await force(platform, f"UPDATE transcript_jobs SET dispatched_at = now() - interval '1 min' WHERE id = '{job_id}'")
    await upkeep.redispatch(platform)
    assert any(name.startswith(str(job_id)) for name in await rung(platform))
