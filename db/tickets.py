"""Tickets for streams. The caller owns the transaction."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, func, insert
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import StreamTicket


async def issue(session: AsyncSession, *, ticket_sha256: str, job_id: UUID, owner: str, lasts: timedelta) -> None:
    """Keep a ticket; those that nobody used in time go."""
    await session.execute(delete(StreamTicket).where(StreamTicket.expires_at < func.now()))
    row = {"ticket_sha256": ticket_sha256, "job_id": job_id, "owner": owner, "expires_at": func.now() + lasts}
    await session.execute(insert(StreamTicket).values(row))


async def redeem(session: AsyncSession, *, ticket_sha256: str, job_id: UUID) -> str | None:
    """Whose the ticket is; it is gone with this, so of two who hold it one is let in."""
    statement = (
        delete(StreamTicket)
        .where(StreamTicket.ticket_sha256 == ticket_sha256, StreamTicket.job_id == job_id)
        .where(StreamTicket.expires_at >= func.now())
        .returning(StreamTicket.owner)
    )
    return await session.scalar(statement)
