"""The relay over the deaths of processes: nothing is lost, and what comes twice is the same to the byte."""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from domain.announcements import DeliveryState
from domain.lifecycle import JobState
from messaging.transport import Envelope, Outcome
from messaging.webhook_sender import WebhookAddress
from services import attempts, webhooks
from services.platform import Platform
from tests.conftest import ROOT
from tests.support.endpoints import OPEN, deliveries, endpoint, having, run_sql, sending
from tests.support.jobs import ME, NOBODY_HEARD, claimed, in_state
from tests.support.receiver import Answer, Received, Receiver, always, receiving, response
from tests.support.servers import PostgresServer
from tests.support.waiting import eventually
from workers.relay import MOST_FOR_ONE, Relay

RESULTS = int(os.environ.get("RELAY_RESULTS", "100"))
KILLS = int(os.environ.get("RELAY_KILLS", "4"))
"""Smoke; the promise is measured with more."""

MOST_IN_HAND = 2 * MOST_FOR_ONE - 1
"""Of one endpoint, by one relay."""


@pytest.fixture(scope="module")
def environ(environ: dict[str, str]) -> dict[str, str]:
    return {**environ, **OPEN, "WEBHOOK_TIMEOUT_SEC": "1"}


pytestmark = pytest.mark.usefixtures("nothing_owed")


@asynccontextmanager
async def relaying(platform: Platform) -> AsyncIterator[Relay]:
    """A relay in this process."""
    async with sending(platform) as sender:
        relay = Relay(platform, sender)
        running = asyncio.create_task(relay.run())
        try:
            yield relay
        finally:
            await relay.drain(10)
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


async def start_relay(environ: dict[str, str]) -> asyncio.subprocess.Process:
    """A relay in a process of its own, to be killed."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    command = [sys.executable, "-m", "tests.support.relay_process"]
    return await asyncio.create_subprocess_exec(*command, env={**kept, **environ}, cwd=ROOT)


async def end(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()


def killing(victims: list[asyncio.subprocess.Process], *, when: set[int]) -> Answer:
    """Take what comes; at those requests, kill the relay that waits for our answer, between its send and its commit."""
    seen = 0

    async def answer(_: Received) -> bytes:
        nonlocal seen
        seen += 1
        if seen in when:
            victims[-1].kill()
        return response(204)

    return answer


async def test_a_relay_that_dies_behind_the_answer_sends_the_same_again(
    platform: Platform, environ: dict[str, str], receiver: Receiver
) -> None:
    hook = await endpoint(platform, receiver.url)
    await in_state(platform, JobState.COMPLETED)
    relays = [await start_relay(environ)]
    receiver.answer = killing(relays, when={1})
    await relays[0].wait()
    (logged,) = await deliveries(platform, hook.id)
    assert (logged.delivery.state, logged.delivery.attempts) == (DeliveryState.PENDING, 0)
    async with relaying(platform):
        first, second = await receiver.has(2)
        await eventually(lambda: is_done(platform))
    assert (first.id, first.body) == (second.id, second.body)
    assert first.verified(hook.secret) == second.verified(hook.secret)


async def test_a_job_whose_worker_died_as_it_ended_is_announced_by_another(
    platform: Platform, receiver: Receiver
) -> None:
    """What is owed is in the job's own transaction, so there is no moment between the two."""
    hook = await endpoint(platform, receiver.url)
    attempt = await claimed(platform)
    await attempts.complete(platform, attempt, NOBODY_HEARD)
    async with relaying(platform):
        (received,) = await receiver.has(1)
    assert received.verified(hook.secret)["data"]["job_id"] == str(attempt.job_id)


async def is_done(platform: Platform) -> bool:
    return await run_sql(platform, "SELECT 1 FROM deliveries WHERE state <> 'delivered' LIMIT 1") == []


async def end_jobs(platform: Platform, count: int) -> set[str]:
    return {str(await in_state(platform, JobState.COMPLETED)) for _ in range(count)}


async def test_every_result_is_delivered_once_by_many_relays(platform: Platform, receiver: Receiver) -> None:
    hook = await endpoint(platform, receiver.url)
    async with relaying(platform), relaying(platform), relaying(platform):
        jobs = await end_jobs(platform, 40)
        await eventually(lambda: is_done(platform))
    told = [received.verified(hook.secret)["data"]["job_id"] for received in receiver.received]
    assert sorted(told) == sorted(jobs)
    assert len({received.id for received in receiver.received}) == len(jobs)


async def test_over_kills_of_the_relay_no_result_is_lost_and_few_come_twice(
    platform: Platform, environ: dict[str, str], receiver: Receiver
) -> None:
    hook = await endpoint(platform, receiver.url)
    jobs = await end_jobs(platform, RESULTS)
    relays = [await start_relay(environ)]
    receiver.answer = killing(relays, when={RESULTS * n // (KILLS + 1) for n in range(1, KILLS + 1)})
    for _ in range(KILLS):
        await relays[-1].wait()
        relays.append(await start_relay(environ))
    await eventually(lambda: is_done(platform), within=120)
    await end(relays[-1])
    copies = Counter(received.id for received in receiver.received)
    told = {received.id: received for received in receiver.received}
    assert {received.verified(hook.secret)["data"]["job_id"] for received in told.values()} == jobs
    assert len(told) == len(jobs)
    assert all(received.body == told[received.id].body for received in receiver.received)
    doubled = sum(copies.values()) - len(copies)
    print(f"{len(jobs)} results, {KILLS} kills: {doubled} came twice")
    assert KILLS <= doubled <= KILLS * MOST_IN_HAND


async def test_an_outcome_is_kept_though_postgresql_was_away_as_it_came(
    platform: Platform, receiver: Receiver, postgres: PostgresServer
) -> None:
    hook = await endpoint(platform, receiver.url)
    await webhooks.try_out(platform, ME, hook.id)

    async def restart_first(_: Received) -> bytes:
        await asyncio.to_thread(postgres.kill)
        restarting.append(asyncio.create_task(asyncio.to_thread(postgres.restart)))
        return response(204)

    restarting: list[asyncio.Task[None]] = []
    receiver.answer = restart_first
    patient = having(platform, timeout_seconds=30)
    async with relaying(patient):
        await receiver.has(1)
        await eventually(lambda: bool(restarting))
        await restarting[0]
        await eventually(lambda: is_done(platform))
    assert len(receiver.received) == 1


async def test_an_endpoint_that_hangs_holds_up_no_other(platform: Platform, receiver: Receiver) -> None:
    let_go = asyncio.Event()

    async def hang(_: Received) -> bytes:
        await let_go.wait()
        return response(204)

    async with receiving() as hanging:
        hanging.answer = hang
        stuck, well = await endpoint(platform, hanging.url), await endpoint(platform, receiver.url)
        for _ in range(3 * MOST_FOR_ONE):
            await webhooks.try_out(platform, ME, stuck.id)
        async with relaying(having(platform, timeout_seconds=30)):
            await hanging.has(MOST_FOR_ONE)
            for _ in range(20):
                await webhooks.try_out(platform, ME, well.id)
            await receiver.has(20)
            assert len(hanging.received) == MOST_FOR_ONE
            let_go.set()
            await hanging.has(3 * MOST_FOR_ONE)


async def test_a_relay_that_is_drained_ends_what_it_has_begun_and_begins_no_more(
    platform: Platform, receiver: Receiver
) -> None:
    let_go = asyncio.Event()

    async def wait(_: Received) -> bytes:
        await let_go.wait()
        return response(204)

    receiver.answer = wait
    hook = await endpoint(platform, receiver.url)
    await webhooks.try_out(platform, ME, hook.id)
    async with relaying(having(platform, timeout_seconds=30)) as relay:
        await receiver.has(1)
        draining = asyncio.create_task(relay.drain(30))
        await asyncio.sleep(0)
        await webhooks.try_out(platform, ME, hook.id)
        let_go.set()
        await draining
    states = [logged.delivery.state for logged in await deliveries(platform, hook.id)]
    assert states == [DeliveryState.DELIVERED, DeliveryState.PENDING]
    assert len(receiver.received) == 1


async def test_a_bug_in_one_delivery_stops_no_other(platform: Platform) -> None:
    class Odd:
        """A transport with a bug for one of its addresses."""

        def __init__(self) -> None:
            self.sent: list[str] = []

        async def send(self, envelope: Envelope, to: WebhookAddress) -> Outcome:
            if to.url.endswith("/bug"):
                raise KeyError(envelope.id)
            self.sent.append(envelope.id)
            return Outcome(error=None, status_code=200, latency_ms=1)

        async def close(self) -> None:
            return None

    odd = Odd()
    for url in ("http://127.0.0.1:9/bug", "http://127.0.0.1:9/fine"):
        hook = await endpoint(platform, url)
        await webhooks.try_out(platform, ME, hook.id)
    relay = Relay(platform, odd)
    await relay.relay()
    assert len(odd.sent) == 1
    assert await run_sql(platform, "SELECT count(*) FROM deliveries WHERE state = 'pending'") == [(1,)]


async def test_what_fails_is_tried_again_by_itself_when_it_is_due(platform: Platform, receiver: Receiver) -> None:
    receiver.answer = always(500)
    quick = having(platform, retry_delays_seconds=(1, 1))
    hook = await endpoint(platform, receiver.url)
    await webhooks.try_out(platform, ME, hook.id)
    async with relaying(quick):
        await receiver.has(3)
    (logged,) = await deliveries(platform, hook.id)
    assert logged.delivery.state == DeliveryState.FAILED
    assert len({received.id for received in receiver.received}) == 1
