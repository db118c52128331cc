"""What is owed when a job ends, and for how long that is kept."""

import asyncio
import json
from uuid import UUID

import pytest

import db.outbox
import db.webhooks
from domain.access import Caller
from domain.announcements import Announced, DeliveryState, EndpointState
from domain.errors import NoAudio
from domain.lifecycle import JobState
from domain.transcript import Segment, Transcript
from domain.webhook_errors import DeliveryErased
from services import attempts, ending, outbox, retention, upkeep, webhooks
from services.platform import Platform
from services.upkeep import Pulse
from services.webhooks import Change
from tests.support.endpoints import OPEN, YES, deliveries, endpoint, relay_once, run_sql
from tests.support.jobs import ME, NOBODY_HEARD, claimed, force, in_state, make_job
from tests.support.receiver import Receiver
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def environ(environ: dict[str, str]) -> dict[str, str]:
    return {**environ, **OPEN, "WEBHOOK_MAX_ENDPOINTS": "1000"}


pytestmark = pytest.mark.usefixtures("nothing_owed")


async def bodies(platform: Platform, endpoint_id: UUID) -> list[dict[str, object]]:
    found = await deliveries(platform, endpoint_id)
    return [json.loads(logged.event.body) for logged in found if logged.event.body is not None]


# What is owed


@pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED])
async def test_the_end_of_a_job_is_owed_once_and_says_no_word_of_it(platform: Platform, state: JobState) -> None:
    hook = await endpoint(platform)
    job_id = await in_state(platform, state)
    (body,) = await bodies(platform, hook.id)
    assert body["type"] == f"job.{state}"
    data = body["data"]
    assert isinstance(data, dict)
    assert data.keys() == {"job_id", "transcript_id", "status", "engine"}
    assert (data["job_id"], data["status"]) == (str(job_id), str(state))


async def test_the_full_payload_says_where_the_result_is_and_what_it_is_like(platform: Platform) -> None:
    thin, full = await endpoint(platform), await endpoint(platform, payload="full")
    attempt = await claimed(platform)
    heard = Transcript(
        language="en",
        duration=3.0,
        engine="test",
        engine_reason="asked",
        segments=(Segment(start=0, end=3, text="metoprolol"),),
    )
    await attempts.complete(platform, attempt, heard)
    (body,) = await bodies(platform, full.id)
    data = body["data"]
    assert isinstance(data, dict)
    assert data["result_path"] == f"/api/transcribe/jobs/result/{attempt.job_id}"
    assert (data["language"], data["duration"], data["engine"]) == ("en", 3.0, "test")
    for told in (body, *await bodies(platform, thin.id)):
        assert "metoprolol" not in json.dumps(told)
        assert "a.wav" not in json.dumps(told)


async def test_the_full_payload_of_a_failure_says_why(platform: Platform) -> None:
    hook = await endpoint(platform, payload="full")
    attempt = await claimed(platform)
    await attempts.fail(platform, attempt, NoAudio("there is no sound in it"), retryable=False)
    (body,) = await bodies(platform, hook.id)
    assert body["data"]["error"] == {"code": "media_no_audio", "message": "there is no sound in it"}  # type: ignore[index]


async def test_of_one_id_there_is_one_body(platform: Platform) -> None:
    hooks = [await endpoint(platform), await endpoint(platform), await endpoint(platform, payload="full")]
    await in_state(platform, JobState.COMPLETED)
    told = [(await deliveries(platform, hook.id))[0].event for hook in hooks]
    assert told[0].id == told[1].id != told[2].id
    assert told[0].body == told[1].body != told[2].body


async def test_only_what_was_asked_for_is_owed_and_only_to_the_jobs_owner(platform: Platform) -> None:
    failures = await endpoint(platform, events=[Announced.FAILED])
    others = await endpoint(platform, owner=Caller("somebody else"))
    await in_state(platform, JobState.COMPLETED)
    assert await deliveries(platform, failures.id) == []
    assert await deliveries(platform, others.id, owner=Caller("somebody else")) == []


async def test_a_job_that_goes_back_to_the_queue_is_no_news(platform: Platform) -> None:
    hook = await endpoint(platform)
    await attempts.fail(platform, await claimed(platform), NoAudio("not yet"), retryable=True)
    await attempts.release(platform, await claimed(platform), reason="the worker shuts down")
    assert await deliveries(platform, hook.id) == []


async def test_a_job_that_the_sweeper_ends_is_owed_like_any_other(platform: Platform) -> None:
    hook = await endpoint(platform)
    attempt = await claimed(platform)
    lost = "lease_until = now() - interval '1 s', crash_count = 2"
    await force(platform, f"UPDATE transcript_jobs SET {lost} WHERE id = '{attempt.job_id}'")
    await upkeep.rescue(platform, Pulse())
    assert [body["type"] for body in await bodies(platform, hook.id)] == ["job.failed"]


async def test_what_is_owed_stands_and_falls_with_the_move(platform: Platform) -> None:
    """A completion that comes too late owes nothing."""
    hook = await endpoint(platform)
    attempt = await claimed(platform)
    await ending.cancel(platform, ME, attempt.job_id)
    assert not await attempts.complete(platform, attempt, NOBODY_HEARD)
    assert await deliveries(platform, hook.id) == []


# Erasing


async def test_erasing_takes_back_what_is_owed_and_empties_what_was_told(
    platform: Platform, receiver: Receiver
) -> None:
    hook = await endpoint(platform, receiver.url)
    job_id = await in_state(platform, JobState.COMPLETED)
    await relay_once(platform)
    waiting = await endpoint(platform, "http://127.0.0.1:9/")
    other = await in_state(platform, JobState.COMPLETED)
    for each in (job_id, other):
        assert (await ending.erase(platform, ME, each)).erased_at is not None
    told, *rest = await deliveries(platform, hook.id)
    assert (told.delivery.state, told.event.body, told.event.job_id) == (DeliveryState.DELIVERED, None, job_id)
    assert {logged.event.type for logged in (*rest, *await deliveries(platform, waiting.id))} == {"job.erased"}
    assert [body["data"] for body in await bodies(platform, waiting.id)] == [
        {"job_id": str(each), "transcript_id": await transcript_of(platform, each), "status": "erased"}
        for each in (job_id, other)
    ]


async def transcript_of(platform: Platform, job_id: UUID) -> str:
    (found,) = await run_sql(platform, f"SELECT transcript_id FROM transcript_jobs WHERE id = '{job_id}'")
    return str(found[0])


async def test_what_was_told_of_an_erased_job_is_not_told_again(platform: Platform, receiver: Receiver) -> None:
    hook = await endpoint(platform, receiver.url, events=[Announced.COMPLETED])
    job_id = await in_state(platform, JobState.COMPLETED)
    await relay_once(platform)
    await ending.erase(platform, ME, job_id)
    (told,) = await deliveries(platform, hook.id)
    with pytest.raises(DeliveryErased):
        await webhooks.replay(platform, ME, hook.id, told.delivery.id)


async def test_a_replay_beside_an_erasure_leaves_nothing_that_could_be_sent(platform: Platform) -> None:
    hook = await endpoint(platform, events=[Announced.COMPLETED])
    for _ in range(20):
        job_id = await in_state(platform, JobState.COMPLETED)
        (owed,) = await outbox.take_up(platform, limit=1, share=1, busy=())
        await outbox.record(platform, owed, YES)
        erasing, replaying = (
            ending.erase(platform, ME, job_id),
            webhooks.replay(platform, ME, hook.id, owed.delivery_id),
        )
        await asyncio.gather(erasing, replaying, return_exceptions=True)
        assert await deliveries(platform, hook.id, state=DeliveryState.PENDING) == []


async def test_a_job_is_erased_while_its_webhook_fails(platform: Platform) -> None:
    """The two lock the same rows; neither waits for the other in a circle."""
    hook = await endpoint(platform)
    job_id = await in_state(platform, JobState.COMPLETED)
    (owed,) = await outbox.take_up(platform, limit=1, share=1, busy=())
    async with platform.sessions.begin() as relay:
        await db.webhooks.get(relay, hook.id, owner=None, lock=True)
        erasing = asyncio.create_task(ending.erase(platform, ME, job_id))
        await eventually(lambda: somebody_waits(platform))
        async with asyncio.timeout(30):
            kept = await db.outbox.note_failed(
                relay, owed, again_in=None, status_code=500, latency_ms=1, error="status"
            )
    assert kept
    assert (await erasing).erased_at is not None


async def somebody_waits(platform: Platform) -> bool:
    return await run_sql(platform, "SELECT 1 FROM pg_locks WHERE NOT granted") != []


async def test_an_endpoint_is_deleted_with_what_is_owed_to_it(platform: Platform) -> None:
    hook = await endpoint(platform)
    await in_state(platform, JobState.COMPLETED)
    await webhooks.delete(platform, ME, hook.id)
    assert await run_sql(platform, "SELECT 1 FROM deliveries") == []


async def test_jobs_end_while_their_endpoints_come_and_go(platform: Platform) -> None:
    async def come_and_go() -> None:
        for _ in range(20):
            hook = await endpoint(platform)
            await webhooks.change(platform, ME, hook.id, Change(state=EndpointState.PAUSED))
            await webhooks.delete(platform, ME, hook.id)

    async def work() -> None:
        for _ in range(10):
            assert await attempts.complete(platform, await claimed(platform), NOBODY_HEARD)

    await asyncio.gather(come_and_go(), work(), work())


# Keeping


async def test_the_log_is_kept_for_its_time_and_no_longer(platform: Platform) -> None:
    hook = await endpoint(platform)
    old = [(await webhooks.try_out(platform, ME, hook.id)).delivery.id for _ in range(2)]
    for owed in await outbox.take_up(platform, limit=1, share=1, busy=()):
        await outbox.record(platform, owed, YES)
    month_old = "created_at = created_at - interval '31 days'"
    await run_sql(platform, f"UPDATE deliveries SET {month_old}")
    await run_sql(platform, f"UPDATE outbox_events SET {month_old}")
    await webhooks.try_out(platform, ME, hook.id)
    await outbox.forget_old(platform)
    left = {logged.delivery.id for logged in await deliveries(platform, hook.id)}
    assert len(left) == 2  # the new one, and the old one that is still owed
    assert len(left & set(old)) == 1
    assert await outbox.forget_old(platform) == 0


async def test_an_erasure_that_waited_for_a_worker_is_announced_when_it_is_done(platform: Platform) -> None:
    hook = await endpoint(platform, events=[Announced.ERASED])
    attempt = await claimed(platform)
    assert (await ending.erase(platform, ME, attempt.job_id)).erased_at is None
    assert await deliveries(platform, hook.id) == []
    await attempts.cancel(platform, attempt)
    await retention.finish_erasures(platform)
    assert [body["type"] for body in await bodies(platform, hook.id)] == ["job.erased"]


async def test_word_of_a_job_that_nobody_wants_told_of_leaves_no_rows(platform: Platform) -> None:
    await make_job(platform)
    before = await run_sql(platform, "SELECT count(*) FROM outbox_events")
    await in_state(platform, JobState.COMPLETED)
    assert await run_sql(platform, "SELECT count(*) FROM outbox_events") == before


async def test_a_tombstone_goes_though_its_announcement_is_still_in_the_log(platform: Platform) -> None:
    hook = await endpoint(platform, events=[Announced.ERASED])
    job_id = await in_state(platform, JobState.PURGED)
    await run_sql(platform, f"UPDATE transcript_jobs SET erased_at = now() - interval '9 years' WHERE id = '{job_id}'")
    assert await retention.forget_tombstones(platform) >= 1
    assert [body["type"] for body in await bodies(platform, hook.id)] == ["job.erased"]
