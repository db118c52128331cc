"""The doorbell on arq. Only ids travel, as JSON: arguments are logged, and a pickle from Redis would be code."""

import json
import logging
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from arq.connections import ArqRedis
from arq.constants import in_progress_key_prefix, job_key_prefix, retry_key_prefix
from redis.asyncio import ConnectionPool
from redis.exceptions import RedisError

from config.settings import RedisSettings

log = logging.getLogger(__name__)

TASK = "transcribe"
QUEUE_NAME = "arq:queue"
EXPIRES_MS = 30 * 24 * 3600 * 1000
"""arq drops a job that waited longer than this (its own default is a day); the sweeper would ring again anyway."""

SOCKET_TIMEOUT_SECONDS = 5.0


def serialize(value: dict[str, Any]) -> bytes:
    return json.dumps(value, default=str).encode()


def connect_arq(settings: RedisSettings) -> ArqRedis:
    """A client that opens its connections when it needs them, so that a process may start before Redis."""
    pool = ConnectionPool.from_url(
        settings.url.get_secret_value(),
        socket_timeout=SOCKET_TIMEOUT_SECONDS,
        socket_connect_timeout=SOCKET_TIMEOUT_SECONDS,
        health_check_interval=15,
    )
    return ArqRedis(
        pool,
        job_serializer=serialize,
        job_deserializer=json.loads,
        default_queue_name=QUEUE_NAME,
        expires_extra_ms=EXPIRES_MS,
    )


def hint(job_id: UUID, dispatch_no: int) -> str:
    """arq's id for one ring. A new number gets past a ring that was swallowed half-way."""
    return f"{job_id}:{dispatch_no}"


class ArqQueue:
    """Implements `messaging.contract.Queue`."""

    def __init__(self, settings: RedisSettings) -> None:
        self._arq = connect_arq(settings)

    async def ring(self, job_id: UUID, dispatch_no: int) -> bool:
        try:
            if dispatch_no > 1:
                await self._forget(hint(job_id, dispatch_no - 1))
            await self._arq.enqueue_job(TASK, str(job_id), _job_id=hint(job_id, dispatch_no))
        except (RedisError, OSError) as error:
            log.warning("the queue is away (%s); the sweeper will ring for the job", type(error).__name__)
            return False
        return True

    async def waiting(self, jobs: Iterable[tuple[UUID, int]]) -> set[UUID] | None:
        pairs = list(jobs)
        if not pairs:
            return set()
        hints = [hint(job_id, number) for job_id, number in pairs]
        try:
            scores = await self._arq.zmscore(QUEUE_NAME, hints)
            taken = await self._arq.mget([in_progress_key_prefix + each for each in hints])
        except (RedisError, OSError):
            return None
        found = zip(pairs, scores, taken, strict=True)
        return {job_id for (job_id, _), score, mark in found if score is not None and mark is None}

    async def _forget(self, earlier: str) -> None:
        """Take back an earlier ring: arq leaves one whose worker died in the queue, marked as taken, for a week."""
        async with self._arq.pipeline(transaction=True) as pipe:
            pipe.zrem(QUEUE_NAME, earlier)
            pipe.delete(*(prefix + earlier for prefix in (job_key_prefix, in_progress_key_prefix, retry_key_prefix)))
            await pipe.execute()

    async def close(self) -> None:
        await self._arq.aclose(close_connection_pool=True)
