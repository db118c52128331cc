"""Deliveries: taken up by one relay, tried by a schedule, given up and sent again."""

import asyncio
from datetime import timedelta

import pytest

import db.outbox
import db.webhooks
from domain.announcements import DeliveryState, EndpointState, next_try
from domain.lifecycle import JobState
from domain.webhook_errors import WebhookNotActive
from messaging.transport import Outcome
from services import outbox, webhooks
from services.platform import Platform
from services.webhooks import Change
from tests.support.endpoints import NO, OPEN, YES, deliveries, endpoint, having, make_due, relay_once, run_sql
from tests.support.jobs import ME, in_state
from tests.support.receiver import Receiver, always


@pytest.fixture(scope="module")
def environ(environ: dict[str, str]) -> dict[str, str]:
    return {**environ, **OPEN, "WEBHOOK_MAX_ENDPOINTS": "1000"}


pytestmark = pytest.mark.usefixtures("nothing_owed")


# Taking up


async def test_what_one_relay_is_taking_another_passes_over(platform: Platform) -> None:
    hook = await endpoint(platform)
    for _ in range(12):
        await webhooks.try_out(platform, ME, hook.id)
    async with platform.sessions.begin() as relay, asyncio.timeout(30):
        lease = timedelta(seconds=30)
        first = await db.outbox.take_up(relay, lease=lease, limit=3, share=4, busy=())
        second = await outbox.take_up(platform, limit=3, share=4, busy=())
    rest = await outbox.take_up(platform, limit=100, share=100, busy=())
    ids = [owed.delivery_id for batch in (first, second, rest) for owed in batch]
    assert (len(first), len(second), len(ids), len(set(ids))) == (3, 3, 12, 12)
    assert await outbox.take_up(platform, limit=100, share=100, busy=()) == []


async def test_an_endpoint_with_much_to_get_leaves_room_for_the_others(platform: Platform) -> None:
    much, little = await endpoint(platform), await endpoint(platform)
    for _ in range(10):
        await webhooks.try_out(platform, ME, much.id)
    await webhooks.try_out(platform, ME, little.id)
    taken = await outbox.take_up(platform, limit=8, share=3, busy=())
    assert sorted(owed.endpoint_id == little.id for owed in taken) == [False] * 3 + [True]
    assert await outbox.take_up(platform, limit=8, share=3, busy=[much.id]) == []


async def test_a_relay_that_comes_back_late_changes_nothing(platform: Platform) -> None:
    hook = await endpoint(platform)
    await webhooks.try_out(platform, ME, hook.id)
    (late,) = await outbox.take_up(platform, limit=1, share=1, busy=())
    await make_due(platform)
    (quick,) = await outbox.take_up(platform, limit=1, share=1, busy=())
    assert (quick.event_id, quick.body) == (late.event_id, late.body)
    await outbox.record(platform, quick, YES)
    await outbox.record(platform, late, Outcome(error="gone", status_code=410, latency_ms=1))
    (logged,) = await deliveries(platform, hook.id)
    assert (logged.delivery.state, logged.delivery.status_code) == (DeliveryState.DELIVERED, 204)
    assert (await webhooks.read(platform, ME, hook.id)).state == EndpointState.ACTIVE


# Trying


async def test_what_is_delivered_is_logged_and_done(platform: Platform, receiver: Receiver) -> None:
    hook = await endpoint(platform, receiver.url)
    job_id = await in_state(platform, JobState.COMPLETED)
    assert await relay_once(platform) == 1
    (received,) = receiver.received
    assert received.verified(hook.secret)["data"]["job_id"] == str(job_id)
    (logged,) = await deliveries(platform, hook.id)
    assert (logged.delivery.state, logged.delivery.status_code) == (DeliveryState.DELIVERED, 204)
    assert str(logged.event.id) == received.id
    assert [attempt.status_code for attempt in logged.attempts] == [204]
    await make_due(platform)
    assert await relay_once(platform) == 0


async def test_what_fails_is_tried_again_with_the_same_id_and_bytes(platform: Platform, receiver: Receiver) -> None:
    hook = await endpoint(platform, receiver.url)
    await in_state(platform, JobState.COMPLETED)
    receiver.answer = always(500)
    await relay_once(platform)
    assert await relay_once(platform) == 0  # not due
    (logged,) = await deliveries(platform, hook.id)
    assert (logged.delivery.state, logged.delivery.error) == (DeliveryState.PENDING, "status")
    receiver.answer = always(200)
    await make_due(platform)
    await relay_once(platform)
    first, second = receiver.received
    assert (first.id, first.body) == (second.id, second.body)
    (logged,) = await deliveries(platform, hook.id)
    assert logged.delivery.state == DeliveryState.DELIVERED
    assert [attempt.error for attempt in logged.attempts] == ["status", None]


async def test_a_delivery_is_given_up_when_its_schedule_is_spent(platform: Platform) -> None:
    short = having(platform, retry_delays_seconds=(1, 2))
    hook = await endpoint(platform)
    await webhooks.try_out(platform, ME, hook.id)
    waits = []
    for _ in range(3):
        (owed,) = await outbox.take_up(platform, limit=1, share=1, busy=())
        await outbox.record(short, owed, NO)
        waits.append(
            (await run_sql(platform, "SELECT extract(epoch FROM next_at - now())::float FROM deliveries"))[0][0]
        )
        await make_due(platform)
    assert 0.5 < waits[0] < 1.3
    assert 1.3 < waits[1] < 2.5
    (logged,) = await deliveries(platform, hook.id)
    assert (logged.delivery.state, logged.delivery.attempts) == (DeliveryState.FAILED, 3)


def test_the_schedule_is_that_of_standard_webhooks(platform: Platform) -> None:
    delays = platform.settings.webhooks.retry_delays_seconds
    hours = [
        None if (wait := next_try(n, delays, spread=1.0)) is None else wait.total_seconds() / 3600 for n in range(1, 11)
    ]
    assert hours == [5 / 3600, 300 / 3600, 0.5, 2, 5, 10, 14, 20, 24, None]


def test_a_receiver_can_make_the_wait_longer_but_neither_shorter_nor_endless() -> None:
    waits = [next_try(2, (5, 300), spread=1.0, asked=asked) for asked in (10, 900, 1e9)]
    assert [wait and wait.total_seconds() for wait in waits] == [300, 900, 86_400]


async def test_an_endpoint_that_asks_for_time_gets_it_for_all_that_is_owed_to_it(platform: Platform) -> None:
    hook = await endpoint(platform)
    for _ in range(3):
        await webhooks.try_out(platform, ME, hook.id)
    (owed,) = await outbox.take_up(platform, limit=1, share=1, busy=())
    await outbox.record(platform, owed, Outcome(error="status", status_code=429, latency_ms=1, retry_after=60))
    assert await outbox.take_up(platform, limit=10, share=10, busy=()) == []


async def test_gone_disables_the_endpoint(platform: Platform, receiver: Receiver) -> None:
    hook = await endpoint(platform, receiver.url)
    for _ in range(2):
        await webhooks.try_out(platform, ME, hook.id)
    receiver.answer = always(410)
    await relay_once(platform, limit=1)
    after = await webhooks.read(platform, ME, hook.id)
    assert (after.state, after.reason) == (EndpointState.DISABLED, outbox.GONE)
    states = sorted(logged.delivery.state for logged in await deliveries(platform, hook.id))
    assert states == [DeliveryState.FAILED, DeliveryState.PAUSED]
    await in_state(platform, JobState.COMPLETED)
    assert len(await deliveries(platform, hook.id)) == 2
    with pytest.raises(WebhookNotActive):
        await webhooks.try_out(platform, ME, hook.id)


async def test_an_endpoint_that_fails_for_days_is_paused_and_told_why(platform: Platform) -> None:
    hook = await endpoint(platform)
    for _ in range(3):
        await webhooks.try_out(platform, ME, hook.id)
    for _ in range(2):
        assert (await webhooks.read(platform, ME, hook.id)).state == EndpointState.ACTIVE
        (owed,) = await outbox.take_up(platform, limit=1, share=1, busy=())
        await outbox.record(platform, owed, NO)
        past = "failing_since = failing_since - interval '5 days'"
        await run_sql(platform, f"UPDATE webhook_endpoints SET {past} WHERE id = '{hook.id}'")
    after = await webhooks.read(platform, ME, hook.id)
    assert (after.state, after.reason) == (EndpointState.PAUSED, "it has failed for 5.0 days without one success")
    assert {logged.delivery.state for logged in await deliveries(platform, hook.id)} == {DeliveryState.PAUSED}


async def test_an_endpoint_that_is_given_up_on_again_and_again_is_paused(platform: Platform) -> None:
    hopeless = having(platform, retry_delays_seconds=(), pause_after_given_up=3)
    hook = await endpoint(platform)
    for outcome in (NO, NO, YES, NO, NO, NO):
        assert (await webhooks.read(platform, ME, hook.id)).state == EndpointState.ACTIVE
        await webhooks.try_out(platform, ME, hook.id)
        (owed,) = await outbox.take_up(platform, limit=1, share=1, busy=())
        await outbox.record(hopeless, owed, outcome)
    assert (await webhooks.read(platform, ME, hook.id)).state == EndpointState.PAUSED


async def test_what_ends_while_an_endpoint_is_paused_is_sent_when_it_is_active_again(
    platform: Platform, receiver: Receiver
) -> None:
    hook = await endpoint(platform, receiver.url)
    await webhooks.try_out(platform, ME, hook.id)
    await webhooks.change(platform, ME, hook.id, Change(state=EndpointState.PAUSED))
    await in_state(platform, JobState.COMPLETED)
    assert await relay_once(platform) == 0
    resumed = await webhooks.change(platform, ME, hook.id, Change(state=EndpointState.ACTIVE))
    assert (resumed.state, resumed.reason, resumed.failing_since) == (EndpointState.ACTIVE, None, None)
    assert await relay_once(platform) == 2
    assert {received.verified(hook.secret)["type"] for received in receiver.received} == {"ping", "job.completed"}


async def test_a_failure_while_its_endpoint_is_being_paused_leaves_it_paused(platform: Platform) -> None:
    hook = await endpoint(platform)
    await webhooks.try_out(platform, ME, hook.id)
    (owed,) = await outbox.take_up(platform, limit=1, share=1, busy=())
    await webhooks.change(platform, ME, hook.id, Change(state=EndpointState.PAUSED))
    await outbox.record(platform, owed, NO)
    (logged,) = await deliveries(platform, hook.id)
    assert logged.delivery.state == DeliveryState.PAUSED


async def test_a_replay_has_the_same_id_and_bytes(platform: Platform, receiver: Receiver) -> None:
    hook = await endpoint(platform, receiver.url)
    await in_state(platform, JobState.COMPLETED)
    await relay_once(platform)
    (told,) = await deliveries(platform, hook.id)
    again = await webhooks.replay(platform, ME, hook.id, told.delivery.id)
    assert again.delivery.state == DeliveryState.PENDING
    await relay_once(platform)
    first, second = receiver.received
    assert (first.id, first.body) == (second.id, second.body)


async def test_the_log_of_a_delivery_that_is_replayed_for_ever_is_bounded(platform: Platform) -> None:
    hook = await endpoint(platform)
    delivery_id = (await webhooks.try_out(platform, ME, hook.id)).delivery.id
    for _ in range(53):
        (owed,) = await outbox.take_up(platform, limit=1, share=1, busy=())
        await outbox.record(platform, owed, YES)
        await webhooks.replay(platform, ME, hook.id, delivery_id)
    (logged,) = await deliveries(platform, hook.id)
    assert len(logged.attempts) == 50
