"""Tickets for streams. The caller owns the transaction."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, insert
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import StreamTicket


async def issue(session: AsyncSession, *, lasts: timedelta, **values: Any) -> None:
    await session.execute(insert(StreamTicket).values(expires_at=func.now() + lasts, **values))


async def forget_old(session: AsyncSession) -> None:
    """Those that nobody used in time."""
    await session.execute(delete(StreamTicket).where(StreamTicket.expires_at < func.now()))


async def redeem(session: AsyncSession, *, ticket_sha256: str, job_id: UUID) -> tuple[str, str | None] | None:
    """Whose the ticket is, and what they had shown; it is gone with this, so of two who hold it one is let in."""
    statement = (
        delete(StreamTicket)
        .where(StreamTicket.ticket_sha256 == ticket_sha256, StreamTicket.job_id == job_id)
        .where(StreamTicket.expires_at >= func.now())
        .returning(StreamTicket.owner, StreamTicket.proof)
    )
    row = (await session.execute(statement)).one_or_none()
    return None if row is None else (row[0], row[1])
