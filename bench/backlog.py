"""Jobs by the thousand, put straight into PostgreSQL and Redis, as what makes them is not what is measured.

The rows are those that a submission leaves, the rings those that arq itself writes; all rings of a call arrive at once.
"""

import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self
from uuid import UUID, uuid4

import asyncpg
from arq.connections import ArqRedis
from arq.constants import job_key_prefix
from arq.jobs import serialize_job

from bench import stubs
from bench.ends import Ends
from bench.running import Running
from domain.access import LOCAL_OWNER
from messaging.arq_queue import EXPIRES_MS, QUEUE_NAME, TASK, connect_arq, hint, serialize
from storage import layout, open_store
from tests.support.audio import tone

TRANSCRIPTS = "INSERT INTO transcripts (id) SELECT id FROM unnest($1::uuid[]) AS id"
JOBS = """
INSERT INTO transcript_jobs (id, transcript_id, engine, engine_params, source_key, source_bytes, source_sha256, owner,
                             run_at)
SELECT id, id, $2, jsonb_build_object('engine', $2::text), $3, $4, $5, ($6::text[])[1 + n % cardinality($6::text[])],
       now() - (cardinality($1::uuid[]) - n) * interval '1 microsecond'
FROM unnest($1::uuid[]) WITH ORDINALITY AS made (id, n)
"""
EVENTS = """
INSERT INTO job_events (job_id, seq, event)
SELECT id, 1, jsonb_build_object('type', 'state', 'job_id', id, 'transcript_id', id, 'status', 'queued', 'progress', 0,
                                 'seq', 1, 'fence', 0)
FROM unnest($1::uuid[]) AS id
"""
FINISHED = """
INSERT INTO transcript_jobs (id, transcript_id, engine, engine_params, source_key, source_bytes, source_sha256,
                             owner, state, seq, fence, result_key, started_at, completed_at)
SELECT id, id, $2, jsonb_build_object('engine', $2::text), $3, $4, $5, ($6::text[])[1 + n % cardinality($6::text[])],
       'completed', 3, 1, 'o/none', now(), now()
FROM unnest($1::uuid[]) WITH ORDINALITY AS made (id, n)
"""
ENDS = "SELECT count(*), max(completed_at) FROM transcript_jobs WHERE id = ANY($1) AND state = 'completed'"
BEGUN = "SELECT min(started_at) FROM transcript_jobs WHERE id = ANY($1)"

LEFT = "SELECT id FROM transcript_jobs WHERE state IN ('queued', 'processing')"

RECORDING = tone(1.0)


@dataclass(frozen=True, slots=True)
class Backlog:
    """Works beside the running platform; every job has the same recording, a tone of a second."""

    sql: asyncpg.Connection
    """As the owner of the schema."""
    arq: ArqRedis
    source_key: str
    source_sha256: str

    @classmethod
    @asynccontextmanager
    async def beside(cls, platform: Running) -> AsyncIterator[Self]:
        settings = platform.embedded.settings
        store = await open_store(settings.storage)
        stored = await store.put(layout.source(LOCAL_OWNER, uuid4()), _recording())
        arq, sql = connect_arq(settings.redis), await platform.connect()
        try:
            yield cls(sql, arq, stored.key, stored.sha256)
        finally:
            await sql.close()
            await arq.aclose(close_connection_pool=True)
            await store.close()

    async def add(self, count: int, *, rows: str = JOBS, owners: Sequence[str] = (LOCAL_OWNER,)) -> list[UUID]:
        """Rows of queued jobs that nobody has rung for yet, in the order in which they go; the owners take turns."""
        jobs = [uuid4() for _ in range(count)]
        async with self.sql.transaction():
            await self.sql.execute(TRANSCRIPTS, jobs)
            about = (stubs.ENGINE, self.source_key, len(RECORDING), self.source_sha256, list(owners))
            await self.sql.execute(rows, jobs, *about)
            await self.sql.execute(EVENTS, jobs)
        return jobs

    async def ring(self, jobs: Sequence[UUID]) -> None:
        await self.ring_arq(QUEUE_NAME, TASK, [(hint(job, 1), str(job)) for job in jobs])

    async def ring_arq(self, queue: str, task: str, jobs: Iterable[tuple[str, str]]) -> None:
        """Ring for arq jobs, each an id and an argument, all in one transaction of Redis."""
        now = int(1000 * time.time())
        async with self.arq.pipeline(transaction=True) as pipe:
            for number, (job_id, argument) in enumerate(jobs):
                body = serialize_job(task, (argument,), {}, None, now, serializer=serialize)
                pipe.psetex(job_key_prefix + job_id, EXPIRES_MS, body)
                pipe.zadd(queue, {job_id: now - 3_600_000 + number})  # first in, first out
            await pipe.execute()

    async def add_finished(self, count: int) -> None:
        """Rows of jobs that were done long ago, and the statistics that PostgreSQL plans with."""
        for _ in range(count // 10_000):
            await self.add(10_000, rows=FINISHED)
        await self.sql.execute("VACUUM ANALYZE")

    async def ended(self, jobs: Sequence[UUID]) -> float:
        """When the last of them completed, seconds since 1970. Raises RuntimeError where some have not."""
        count, last = await self.sql.fetchrow(ENDS, jobs)
        if count != len(jobs):
            raise RuntimeError(f"of {len(jobs)} jobs {count} have completed")
        return float(last.timestamp())

    async def begun(self, jobs: Sequence[UUID]) -> float:
        """When the first of them was claimed, seconds since 1970."""
        return float((await self.sql.fetchval(BEGUN, jobs)).timestamp())

    async def unfinished(self, job: UUID) -> bool:
        """Had it not ended when this was asked?"""
        state = await self.sql.fetchval("SELECT state FROM transcript_jobs WHERE id = $1", job)
        return state in ("queued", "processing")

    async def completed(self) -> int:
        return int(await self.sql.fetchval("SELECT count(*) FROM transcript_jobs WHERE state = 'completed'"))

    async def clear(self) -> None:
        """Take back what still waits: the rows become cancelled, Redis forgets everything."""
        await self.arq.flushall()
        await self.sql.execute("UPDATE transcript_jobs SET state = 'cancelled', seq = seq + 1 WHERE state = 'queued'")

    async def rest(self, redis_url: str) -> None:
        """Waits until no job is queued or held. Raises RuntimeError where one has not ended well."""
        left = [row["id"] for row in await self.sql.fetch(LEFT)]
        async with Ends.heard_at(redis_url, *left) as ends:
            for job in left:
                if await self.unfinished(job):
                    await ends.of(str(job))


async def _recording() -> AsyncIterator[bytes]:
    yield RECORDING
