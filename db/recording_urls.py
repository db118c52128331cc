"""Where recordings are to be fetched from, which may be a secret: kept until one is there, or its job has ended.

The caller owns the transaction. What ends a job forgets its URL: `db.moves`.
"""

from uuid import UUID

from sqlalchemy import bindparam, func, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from db.moves import FORGET_URL, HELD, change, table_of
from db.tables import Job, RecordingUrl

INSERT = insert(table_of(RecordingUrl))


async def keep(session: AsyncSession, job: Job, url: str) -> None:
    await session.execute(INSERT, {"job_id": job.id, "owner": job.owner, "url": url})


URL = select(RecordingUrl.url).where(RecordingUrl.job_id == bindparam("of_job"))


async def of_job(connection: AsyncConnection, job_id: UUID) -> str | None:
    url: str | None = await connection.scalar(URL, {"of_job": job_id})
    return url


UNPINNED = or_(Job.source_key.is_(None), Job.source_key == bindparam("same_key"))
PIN = change(*HELD, UNPINNED, updated_at=func.now(), returning=(Job.id,))


async def pin(session: AsyncSession, job_id: UUID, fence: int, *, key: str, size_bytes: int, sha256: str) -> bool:
    """From now on this object is the job's recording, whoever tries it; said again, it changes nothing.

    False: the job is no longer ours, or has another one.
    """
    found = {"source_key": key, "source_bytes": size_bytes, "source_sha256": sha256}
    pinned = await session.scalar(PIN, {"of_job": job_id, "held_fence": fence, "same_key": key, **found})
    if pinned is not None:
        await session.execute(FORGET_URL, {"of_job": job_id})
    return pinned is not None
