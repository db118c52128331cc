"""Jobs in the state that a test needs, made by the moves that the platform itself makes."""

from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
from sqlalchemy import text

from domain.access import Caller
from domain.errors import NoAudio
from domain.lanes import Lane
from domain.lifecycle import JobOptions, JobState
from domain.transcript import Transcript
from services import attempts, ending, submission, uploads
from services.attempts import Attempt
from services.platform import Platform

ME = Caller("local")
NOBODY_HEARD = Transcript(language="en", duration=1.0, engine="test", engine_reason="a test asked for it")


async def body(content: bytes = b"RIFF") -> AsyncIterator[bytes]:
    yield content


async def make_job(
    platform: Platform,
    *,
    engine: str = "auto",
    owner: Caller = ME,
    content: bytes = b"RIFF",
    lane: Lane | None = None,
) -> UUID:
    kept = await submission.keep(platform, owner, body(content))
    wanted = submission.Submission(JobOptions(engine=engine), lane=lane)
    return (await submission.submit(platform, owner, wanted, kept, filename="a.wav")).job_id


async def waiting(platform: Platform, *, owner: Caller = ME, content: bytes = b"RIFF") -> UUID:
    """A job whose recording waits to be run."""
    kept = await submission.keep(platform, owner, body(content))
    return (await uploads.receive(platform, owner, kept, filename="a.wav")).job_id


async def nobody_waits(platform: Platform) -> None:
    """What tests before have left in the queue, or in hand, is over."""
    await force(platform, "UPDATE transcript_jobs SET state = 'cancelled' WHERE state IN ('queued', 'processing')")


async def aged(platform: Platform, job_id: UUID, by: str) -> None:
    await force(platform, f"UPDATE transcript_jobs SET created_at = now() - interval '{by}' WHERE id = '{job_id}'")


async def claimed(platform: Platform, *, worker: str = "worker") -> Attempt:
    attempt = await attempts.claim(platform, await make_job(platform), worker=worker)
    assert attempt is not None
    return attempt


async def in_state(platform: Platform, state: JobState) -> UUID:
    """A job that has come to `state`."""
    if state in (JobState.PENDING, JobState.EXPIRED):
        job_id = await waiting(platform)
        if state == JobState.EXPIRED:
            await aged(platform, job_id, "1 year")
            await uploads.expire(platform)
        return job_id
    if state == JobState.QUEUED:
        return await make_job(platform)
    attempt = await claimed(platform)
    if state == JobState.COMPLETED:
        assert await attempts.complete(platform, attempt, NOBODY_HEARD)
    if state == JobState.FAILED:
        assert await attempts.fail(platform, attempt, NoAudio("there is no sound in it"), retryable=False)
    if state == JobState.CANCELLED:
        await ending.cancel(platform, ME, attempt.job_id)
        assert await attempts.cancel(platform, attempt)
    if state == JobState.PURGED:
        assert await attempts.complete(platform, attempt, NOBODY_HEARD)
        assert (await ending.erase(platform, ME, attempt.job_id)).erased_at is not None
    return attempt.job_id


async def force(platform: Platform, statement: str) -> None:
    """Change a row past the trigger, which only the superuser may, for the world that a test begins in."""
    url = platform.settings.database.url.get_secret_value().replace("escriba_app@", "postgres@")
    connection = await asyncpg.connect(url)
    await connection.execute(f"SET session_replication_role = replica; {statement}")
    await connection.close()


async def row(platform: Platform, job_id: UUID) -> dict[str, object]:
    async with platform.sessions.begin() as session:
        found = await session.execute(text("SELECT * FROM transcript_jobs WHERE id = :id"), {"id": job_id})
        return dict(found.mappings().one())
