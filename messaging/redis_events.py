"""Announcements over Redis pub/sub: channel `transcription:status:{id}`, and the latest in key `job:{id}:status`.

Publishing never waits for Redis: a pump sends what has gathered, and where Redis is away announcements are dropped.
Followers do not depend on them: durable events are in PostgreSQL, and every follower looks there too.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator
from uuid import UUID

from pydantic import ValidationError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from config.settings import RedisSettings
from domain.events import Event

log = logging.getLogger(__name__)

CHANNEL = "transcription:status:"
BACKLOG = 2_000
"""Announcements that wait for a slow Redis; beyond it the oldest go first."""

RECONNECT_SECONDS = 0.5

# Keep the newest of what is said about a job: a worker that has lost its lease must not speak over its successor,
# and a late progress report must not undo an end. Segments are only passed on: the key is for how a job stands.
# KEYS: status key, channel. ARGV: event, fence, type, TTL.
KEEP_AND_PUBLISH = """
local kept = redis.call('GET', KEYS[1])
if kept then
    local old = cjson.decode(kept)
    local fence = tonumber(ARGV[2])
    if fence < (old.fence or 0) then return 0 end
    local ended = old.status == 'completed' or old.status == 'failed' or old.status == 'cancelled'
    if ended and ARGV[3] ~= 'state' then return 0 end
end
if ARGV[3] ~= 'segment' then redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[4]) end
redis.call('PUBLISH', KEYS[2], ARGV[1])
return 1
"""


def status_key(job_id: UUID) -> str:
    return f"job:{job_id}:status"


class RedisEvents:
    """Implements `messaging.contract.Events`."""

    def __init__(self, settings: RedisSettings) -> None:
        url = settings.url.get_secret_value()
        self._ttl = settings.job_ttl_seconds
        self._redis: Redis = Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5, health_check_interval=15)
        # A subscription is silent while nothing happens, so reading it has no time-out; the ping notices death.
        self._subscriber: Redis = Redis.from_url(url, socket_connect_timeout=5, health_check_interval=15)
        self._waiting: deque[Event] = deque(maxlen=BACKLOG)
        self._news = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._pump: asyncio.Task[None] | None = None

    async def publish(self, event: Event) -> None:
        if self._waiting and event.type == "progress" and self._supersedes(event, self._waiting[-1]):
            self._waiting.pop()
        self._waiting.append(event)
        self._idle.clear()
        self._news.set()
        if self._pump is None:
            self._pump = asyncio.create_task(self._send_for_ever())

    @staticmethod
    def _supersedes(event: Event, last: Event) -> bool:
        return last.type == "progress" and last.job_id == event.job_id and last.fence == event.fence

    async def _send_for_ever(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
            try:
                await self._send(batch)
            except (RedisError, OSError) as error:
                log.warning("%d announcements dropped: redis is away (%s)", len(batch), type(error).__name__)
            if not self._waiting:
                self._idle.set()

    async def _send(self, batch: list[Event]) -> None:
        async with self._redis.pipeline(transaction=False) as pipe:
            for event in batch:
                keys = status_key(event.job_id), f"{CHANNEL}{event.job_id}"
                said = event.to_json(), str(event.fence or 0), event.type, str(self._ttl)
                # The script, not its hash, for which a pipeline would ask first whether Redis has it.
                pipe.eval(KEEP_AND_PUBLISH, len(keys), *keys, *said)
            await pipe.execute()

    async def latest(self, job_id: UUID) -> Event | None:
        try:
            kept = await self._redis.get(status_key(job_id))
        except (RedisError, OSError):
            return None
        return None if kept is None else _read(kept)

    async def listen(self) -> AsyncIterator[Event | None]:
        while True:
            try:
                async with self._subscriber.pubsub(ignore_subscribe_messages=True) as subscription:
                    await subscription.psubscribe(f"{CHANNEL}*")
                    yield None
                    async for message in subscription.listen():
                        if (event := _read(message["data"])) is not None:
                            yield event
            except (RedisError, OSError) as error:
                log.warning("redis is away (%s); followers look into PostgreSQL meanwhile", type(error).__name__)
                await asyncio.sleep(RECONNECT_SECONDS)

    async def forget(self, job_id: UUID) -> None:
        with contextlib.suppress(RedisError, OSError):
            await self._redis.delete(status_key(job_id))

    async def close(self) -> None:
        """Send what waits, within two seconds, and hang up."""
        if self._pump is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), 2)
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        await self._redis.aclose()
        await self._subscriber.aclose()


def _read(data: bytes | str) -> Event | None:
    try:
        return Event.model_validate_json(data)
    except ValidationError:
        log.warning("an announcement on our channel is not one of ours; ignored")
        return None
