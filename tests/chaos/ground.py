"""The ground that a campaign fights on: a whole platform in real processes, with a lease that is short enough to wait
for, and every way to hurt it and to look behind its doors.

All of it is `escriba up`, but for Redis, which is ours so that it can stay away for as long as a fault is to last.
"""

import asyncio
import json
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any
from uuid import UUID

import asyncpg
import httpx
from redis.asyncio import Redis

from tests.chaos.checkout import environ_of
from tests.chaos.gates import Gates
from tests.support.audio import tone
from tests.support.servers import RedisServer
from tests.support.whole import Whole, whole_platform

LEASE_SECONDS = 1.5
GRACE_SECONDS = 2.0
WORKERS, SLOTS = 3, 4

FLOOR_SECONDS, PER_AUDIO_SECOND = 10.0, 60.0
"""The deadline: recordings of a second have over a minute, one of no length has what its decoding gets."""

SECOND = tone(1.0)
HARDLY_ANY = tone(0.02)

TERMINAL = ("completed", "failed", "cancelled")

ENVIRON = {
    "JOB_LEASE_SEC": str(LEASE_SECONDS),
    "WORKER_GRACE_SEC": str(GRACE_SECONDS),
    "WORKERS_COUNT": str(WORKERS),
    "MAX_CONCURRENT_JOBS": str(SLOTS),
    "JOB_DEADLINE_FLOOR_SEC": str(FLOOR_SECONDS),
    "JOB_DEADLINE_PER_AUDIO_SEC": str(PER_AUDIO_SECOND),
    "DIARIZER": "off",
    "API_SHUTDOWN_GRACE_SEC": "1",
    "LOG_LEVEL": "info",
    "WEBHOOK_ALLOW_HTTP": "1",
    "WEBHOOK_ALLOW_PRIVATE": "1",
    "WEBHOOK_TIMEOUT_SEC": "2",
    "WEBHOOK_CONNECT_TIMEOUT_SEC": "2",
    "WEBHOOK_RETRY_DELAYS_SEC": ",".join(["1"] * 30),
}


@dataclass(frozen=True, slots=True)
class Ground:
    whole: Whole
    redis_server: RedisServer
    redis: Redis
    sql: asyncpg.Pool
    http: httpx.AsyncClient
    gates: Gates
    switches: Path

    # What a client does

    async def post(
        self, engine: str, *, key: str | None = None, session: UUID | None = None, audio: bytes = SECOND, **options: Any
    ) -> httpx.Response:
        """Submit once. Raises httpx.TransportError where the API dies of it."""
        fields = {"engine": engine} | ({"options": json.dumps(options)} if options else {})
        fields |= {"session_id": str(session)} if session else {}
        return await self.http.post(
            "/api/transcribe/jobs/transcribe",
            data=fields,
            files={"file": ("a.wav", audio)},
            headers={"Idempotency-Key": key} if key else {},
        )

    async def submit(self, engine: str, *, audio: bytes = SECOND, **options: Any) -> UUID:
        answer = await self.post(engine, audio=audio, **options)
        assert answer.status_code == 202, answer.text
        return UUID(answer.json()["job_id"])

    async def cancel(self, job_id: UUID) -> int:
        return (await self.http.post(f"/api/transcribe/jobs/{job_id}/cancel")).status_code

    # What stands behind the doors

    async def states(self, jobs: Iterable[UUID]) -> dict[UUID, str]:
        rows = await self.sql.fetch("SELECT id, state FROM transcript_jobs WHERE id = ANY($1::uuid[])", list(jobs))
        return {row["id"]: row["state"] for row in rows}

    async def unended(self, jobs: Sequence[UUID]) -> list[UUID]:
        states = await self.states(jobs)
        return [job for job in jobs if states.get(job) not in TERMINAL]

    async def all_end(self, jobs: Sequence[UUID], *, patience: float = 30.0) -> list[UUID]:
        """Wait until all have ended, or for `patience` seconds in vain for one more; those that have not."""
        left, since = await self.unended(jobs), monotonic()
        while left and monotonic() - since < patience:
            await asyncio.sleep(0.1)
            now = await self.unended(left)
            if len(now) < len(left):
                left, since = now, monotonic()
        return left

    async def moments(self, job: UUID, status: str) -> list[float]:
        """When the job came into a state, by PostgreSQL's clock, which is this machine's; Unix seconds."""
        said = "SELECT extract(epoch FROM at)::float FROM job_events WHERE job_id = $1 AND event->>'status' = $2"
        return [row[0] for row in await self.sql.fetch(f"{said} ORDER BY seq", job, status)]

    async def first_claim_after(self, moment: float, *, within: float = 30.0) -> float:
        """When the first job was taken that was taken after `moment`; infinity where none was in time."""
        asked = (
            "SELECT min(extract(epoch FROM at))::float FROM job_events"
            " WHERE event->>'status' = 'processing' AND at > to_timestamp($1)"
        )

        async def found() -> bool:
            return await self.sql.fetchval(asked, moment) is not None

        await so(found, within=within)
        claimed = await self.sql.fetchval(asked, moment)
        return float("inf") if claimed is None else float(claimed)

    def objects(self, job: UUID) -> dict[str, tuple[int, int]]:
        """The objects of a job: size and time of the last write of each, by name."""
        folder = self.whole.home / "objects"
        found = [path for path in folder.glob(f"**/{job}/**/*") if path.is_file()]
        return {str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns) for path in found}

    def all_objects(self) -> set[str]:
        """The names of all objects there are: for many jobs, one walk in place of one for each."""
        folder = self.whole.home / "objects"
        return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}

    def said_in_logs(self, job: UUID, words: str) -> int:
        """In how many lines the workers have said `words` of the job."""
        lines = (line for log in self._worker_logs() for line in log.read_text().splitlines())
        return sum(str(job) in line and words in line for line in lines)

    def _worker_logs(self) -> list[Path]:
        return list((self.whole.home / "logs").glob("worker*.log*"))

    async def story(self, job: UUID) -> str:
        """All that can be known of a job and of who might have it, for whoever has waited for it in vain."""
        row = await self.sql.fetchrow("SELECT * FROM transcript_jobs WHERE id = $1", job)
        events = await self.sql.fetch("SELECT seq, at, event FROM job_events WHERE job_id = $1 ORDER BY seq", job)
        waiting = await self.sql.fetch(
            "SELECT pid, state, wait_event_type, xact_start, left(query, 90) AS query FROM pg_stat_activity"
            " WHERE state <> 'idle' AND pid <> pg_backend_pid()"
        )
        hints = [await self.redis.zrange("arq:queue", 0, -1, withscores=True), await self.redis.keys(f"arq:*{job}*")]
        workers = {process.pid: process.status() for process in self.whole.processes("worker")}
        said = [line for log in self._worker_logs() for line in log.read_text().splitlines() if str(job) in line]
        found = {"row": dict(row) if row else None, "sweeper": await self.sweeper(), "workers": workers, "redis": hints}
        parts = [f"{name}: {what}" for name, what in found.items()]
        return "\n".join([*parts, *map(str, map(dict, events)), *map(str, map(dict, waiting)), *said[-20:]])

    # Ways to hurt it

    def workers(self) -> list[int]:
        """Worker processes; not the cells in which they try suspects."""
        return [process.pid for process in self.whole.processes("worker")]

    async def all_workers(self) -> list[int]:
        """The workers, once all of them are there and may be counted on."""
        asked = "SELECT count(DISTINCT worker_id) FROM engine_reports WHERE worker_id LIKE ANY($1::text[])"

        async def ready() -> bool:
            pids = self.workers()
            patterns = [f"%-{pid}-%" for pid in pids]
            return len(pids) == WORKERS and await self.sql.fetchval(asked, patterns) == WORKERS

        assert await so(ready, within=60), "the workers do not come back"
        return self.workers()

    async def sweeper(self) -> int | None:
        """The worker that sweeps now."""
        holder = await self.sql.fetchval("SELECT holder FROM duties WHERE name = 'sweeper'")
        return None if holder is None else int(holder.split("-")[-2])

    def random_worker(self, chance: random.Random, *, but: Iterable[int] = ()) -> int | None:
        left = [pid for pid in self.workers() if pid not in set(but)]
        return chance.choice(left) if left else None

    def resume_all(self) -> None:
        """Nobody stays stopped, whatever happened to who stopped them."""
        for pid in self.workers():
            send(pid, signal.SIGCONT)

    async def answers(self) -> None:
        """Returns once the API answers."""
        assert await so(lambda: asyncio.to_thread(self.whole.answers), within=60), "the API does not come back"

    @asynccontextmanager
    async def locked(self, table: str, mode: str) -> AsyncIterator[None]:
        """Hold everybody else up. Raises asyncpg.LockNotAvailableError where the lock cannot be had within a second."""
        async with self.sql.acquire() as connection, connection.transaction():
            await connection.execute("SET LOCAL lock_timeout = '1s'")
            await connection.execute(f"LOCK TABLE {table} IN {mode} MODE")
            yield

    @asynccontextmanager
    async def lossy(self, share: float) -> AsyncIterator[None]:
        """Meanwhile, this share of what workers announce gets lost."""
        switch = self.switches / "lost-announcements"
        switch.write_text(str(share))
        try:
            yield
        finally:
            switch.unlink()


async def so(condition: Callable[[], Awaitable[bool]], *, within: float) -> bool:
    """Does `condition` come true in time?"""
    end = monotonic() + within
    while not await condition():
        if monotonic() > end:
            return False
        await asyncio.sleep(0.03)
    return True


def send(pid: int, number: signal.Signals) -> bool:
    """Signal a process; False where it is gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


@asynccontextmanager
async def ground(code: Path, **environ: str) -> AsyncIterator[Ground]:
    """Start everything from the copy of the code at `code`; it is gone with the end."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="escriba-chaos-", ignore_cleanup_errors=True)))
        redis_server = stack.enter_context(RedisServer())
        switches = folder / "switches"
        switches.mkdir()
        gates = await stack.enter_async_context(Gates.at(folder / "gates"))
        ours = {
            "REDIS_URL": redis_server.url,
            "CHAOS_GATES": str(folder / "gates"),
            "CHAOS_SWITCHES": str(switches),
        }
        whole = stack.enter_context(whole_platform(folder / "home", **(ENVIRON | environ_of(code) | ours | environ)))
        sql = await stack.enter_async_context(asyncpg.create_pool(_database(whole), min_size=1, max_size=4))
        redis = Redis.from_url(redis_server.url)
        stack.push_async_callback(redis.aclose)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)  # a kept connection dies with its API
        client = httpx.AsyncClient(base_url=whole.url, timeout=60, limits=limits, trust_env=False)
        http = await stack.enter_async_context(client)
        yield Ground(whole, redis_server, redis, sql, http, gates, switches)


def _database(whole: Whole) -> str:
    """The embedded database, as its superuser: no rule of the platform hides anything from the campaign."""
    server = whole.processes("postgres")[0]  # a backend that has just been forked looks like its server
    (port,) = (word.removeprefix("port=") for word in server.cmdline() if word.startswith("port="))
    password = json.loads((whole.home / "secrets.json").read_text())["postgres"]
    return f"postgresql://postgres:{password}@127.0.0.1:{port}/escriba"
