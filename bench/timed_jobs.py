"""Jobs on the running platform, timed by their client and in the worker, and bare arq round trips beside them."""

import asyncio
import json
import random
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import time
from uuid import UUID, uuid4

from arq.connections import ArqRedis

from bench import bare_arq, stopwatch
from bench.connection import Connection, form
from bench.ends import Ends
from bench.plugin import installed
from bench.running import Running, running
from messaging.arq_queue import connect_arq
from workers.main import POLL_SECONDS

SUBMIT = "/api/transcribe/jobs/transcribe"


@dataclass(frozen=True, slots=True)
class Note:
    """Something that the worker timed: when it began, and how many seconds were spent waiting for it."""

    began: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Job:
    """One job as its client saw it and as the worker timed it; moments are seconds since 1970."""

    id: UUID
    sent: float
    answered: float
    ended: float
    decode: Note
    engine: Note
    model: Note | None = None
    """When it reached the model in the engine server's child, where that is a stub."""
    load: Note | None = None

    @property
    def overhead(self) -> float:
        return self.ended - self.sent - self.decode.seconds - self.engine.seconds


@dataclass(frozen=True, slots=True)
class Bench:
    """The running platform, a bare arq worker beside it, and the ways to time either."""

    platform: Running
    arq: ArqRedis
    ends: Ends
    notes: Path

    async def round_trip(self) -> float:
        """Seconds from ringing for bare arq to its noting the result."""
        await _at_any_moment()
        job_id, sent = uuid4().hex, time()
        await self.arq.enqueue_job(bare_arq.TASK, "argument", _job_id=job_id, _queue_name=bare_arq.QUEUE)
        return await self.ends.of(job_id) - sent

    async def job(self, connection: Connection, engine: str, recording: bytes) -> Job:
        """One recording, from its first byte sent to the news that its row has ended."""
        self.notes.write_text("")
        body = form(recording, engine=engine)
        await _at_any_moment()
        sent = time()
        answer = await connection.post(SUBMIT, body)
        answered = time()
        ended = await self.ends.of(answer["job_id"])
        noted = [json.loads(line) for line in self.notes.read_text().splitlines()]
        notes = {note["what"]: Note(note["began"], note["seconds"]) for note in noted}
        return Job(UUID(answer["job_id"]), sent, answered, ended, **notes)

    async def claims(self, jobs: Sequence[Job]) -> dict[UUID, float]:
        """When a worker claimed each job, by the clock of PostgreSQL, which is this machine's."""
        connection = await self.platform.connect()
        try:
            ids = [job.id for job in jobs]
            rows = await connection.fetch("SELECT id, started_at FROM transcript_jobs WHERE id = ANY($1)", ids)
        finally:
            await connection.close()
        return {row["id"]: row["started_at"].timestamp() for row in rows}


async def _at_any_moment() -> None:
    """Let each job come at another point between two polls: right behind the last end it would wait for a whole one."""
    await asyncio.sleep(random.uniform(0, POLL_SECONDS))


@asynccontextmanager
async def prepared() -> AsyncIterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="escriba-bench-") as folder, installed(stopwatch.SOURCE) as found:
        notes = Path(folder) / "notes"
        async with running({**found, "WORKERS_COUNT": "1", stopwatch.FILE: str(notes)}) as platform:
            redis = platform.embedded.settings.redis
            await platform.supervisor.start(bare_arq.child(redis))
            arq = connect_arq(redis)
            try:
                async with Ends.heard_at(redis.url.get_secret_value()) as ends:
                    yield Bench(platform, arq, ends, notes)
            finally:
                await arq.aclose(close_connection_pool=True)
