"""When jobs have ended, pushed by Redis: no bench asks again and again on a machine whose processor it measures."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import time
from typing import Any, Self
from uuid import UUID

from redis.asyncio import Redis

from bench.bare_arq import ENDED
from domain.events import Event
from domain.lifecycle import JobState
from messaging.redis_events import CHANNEL

PATIENCE_SECONDS = 300


class Ends:
    """Ends of the platform's jobs, told after the commit, and of bare arq's, told after the result was noted."""

    def __init__(self) -> None:
        self._ends: defaultdict[str, asyncio.Future[float]] = defaultdict(asyncio.get_running_loop().create_future)
        self._listening: asyncio.Task[None] | None = None

    @classmethod
    @asynccontextmanager
    async def heard_at(cls, url: str, *jobs: UUID) -> AsyncIterator[Self]:
        """Of all jobs, or of these and bare arq's alone: to hear of a thousand would cost what is to be measured."""
        ends = cls()
        async with Redis.from_url(url) as redis, redis.pubsub() as subscription:
            await subscription.psubscribe(ENDED, *(f"{CHANNEL}{job}" for job in jobs or ("*",)))
            ends._listening = asyncio.create_task(ends._listen(subscription))
            try:
                yield ends
            finally:
                ends._listening.cancel()
                await asyncio.gather(ends._listening, return_exceptions=True)

    async def of(self, job_id: str) -> float:
        """Waits for the end of a job: seconds since 1970. Raises RuntimeError where it has not ended well."""
        assert self._listening is not None
        end = self._ends[job_id]
        either: set[asyncio.Future[Any]] = {end, self._listening}
        await asyncio.wait(either, timeout=PATIENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        del self._ends[job_id]
        if end.done():
            return end.result()
        if self._listening.done():
            self._listening.result()
        raise TimeoutError("a job has not ended")

    async def _listen(self, subscription: Any) -> None:
        async for message in subscription.listen():
            if message["type"] != "pmessage":
                continue
            if message["channel"].decode() == ENDED:
                self._ends[message["data"].decode()].set_result(time())
            elif (event := Event.model_validate_json(message["data"])).terminal:
                self._end(event)

    def _end(self, event: Event) -> None:
        end = self._ends[str(event.job_id)]
        if event.status == JobState.COMPLETED:
            end.set_result(time())
        else:
            end.set_exception(RuntimeError(f"a job ended as {event.status}: {event.message}"))
