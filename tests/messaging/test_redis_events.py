"""Announcements over real Redis: what redis-cli shows, and that a zombie does not speak over its successor."""

import asyncio
import json
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from config.settings import RedisSettings
from domain.events import Event
from domain.lifecycle import JobState
from messaging.redis_events import RedisEvents
from tests.support.servers import RedisServer


@pytest.fixture
async def events(redis: RedisServer) -> AsyncIterator[RedisEvents]:
    events = RedisEvents(RedisSettings(url=redis.url, job_ttl_seconds=60))  # type: ignore[arg-type]
    yield events
    await events.close()


@pytest.fixture
async def cli(redis: RedisServer) -> AsyncIterator[Redis]:
    """What an operator would see with redis-cli."""
    client = Redis.from_url(redis.url)
    yield client
    await client.aclose()


def said(job_id: UUID, status: JobState = JobState.PROCESSING, *, fence: int = 1, progress: int = 0) -> Event:
    kind = "progress" if status == JobState.PROCESSING else "state"
    return Event(type=kind, job_id=job_id, status=status, progress=progress, fence=fence)  # type: ignore[arg-type]


async def test_the_key_and_the_channel_are_there_to_watch(events: RedisEvents, cli: Redis) -> None:
    job_id = uuid4()
    async with cli.pubsub(ignore_subscribe_messages=True) as watching:
        await watching.subscribe(f"transcription:status:{job_id}")
        await events.publish(said(job_id, progress=45))
        heard = [json.loads(message["data"]) async for message in first(watching.listen(), 1)]
    kept = json.loads(await cli.get(f"job:{job_id}:status"))
    assert heard == [kept]
    assert (kept["status"], kept["progress"]) == ("processing", 45)
    assert 0 < await cli.ttl(f"job:{job_id}:status") <= 60


async def test_a_worker_that_lost_its_lease_is_not_heard(events: RedisEvents) -> None:
    job_id = uuid4()
    await events.publish(said(job_id, fence=2, progress=10))
    await events.publish(said(job_id, fence=1, progress=90))
    await events.publish(said(job_id, JobState.COMPLETED, fence=1, progress=100))
    await settled(events)
    latest = await events.latest(job_id)
    assert latest is not None
    assert (latest.fence, latest.progress) == (2, 10)


async def test_a_late_report_does_not_undo_an_end(events: RedisEvents) -> None:
    job_id = uuid4()
    await events.publish(said(job_id, JobState.COMPLETED, progress=100))
    await events.publish(said(job_id, progress=50))
    await settled(events)
    latest = await events.latest(job_id)
    assert latest is not None
    assert latest.status == JobState.COMPLETED


async def test_a_listener_hears_every_job_over_an_absence_of_redis(events: RedisEvents, redis: RedisServer) -> None:
    listening = events.listen()
    assert await anext(listening) is None
    redis.kill()
    await events.publish(said(uuid4()))
    redis.restart()
    assert await anext(listening) is None, "a new connection says that something may have been missed"
    job_id = uuid4()
    await events.publish(said(job_id))
    event = await anext(listening)
    assert event is not None
    assert event.job_id == job_id
    await listening.aclose()  # type: ignore[attr-defined]


async def test_what_is_not_ours_on_our_channel_is_ignored(events: RedisEvents, cli: Redis) -> None:
    listening = events.listen()
    assert await anext(listening) is None
    await cli.publish("transcription:status:x", "rubbish")
    job_id = uuid4()
    await events.publish(said(job_id))
    event = await anext(listening)
    assert event is not None
    assert event.job_id == job_id
    await listening.aclose()  # type: ignore[attr-defined]


async def settled(events: RedisEvents) -> None:
    await asyncio.wait_for(events._idle.wait(), 10)


async def first(stream: AsyncIterator[dict[str, str]], count: int) -> AsyncIterator[dict[str, str]]:
    async for item in stream:
        yield item
        count -= 1
        if not count:
            return
