"""Duties that one process at a time does for the whole platform."""

from datetime import timedelta

from sqlalchemy import delete, func, or_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import Duty


async def take(session: AsyncSession, name: str, *, holder: str, lease: timedelta) -> bool:
    """Take or renew a duty; False where another holds it."""
    statement = insert(Duty).values(name=name, holder=holder, until=func.now() + lease)
    free = or_(Duty.until < func.now(), Duty.holder == holder)
    renewed = statement.on_conflict_do_update(
        index_elements=["name"], set_={"holder": holder, "until": func.now() + lease}, where=free
    ).returning(Duty.name)
    return (await session.execute(renewed)).one_or_none() is not None


async def hand_back(session: AsyncSession, *, holder: str) -> None:
    """Let go of everything that `holder` holds, so that a successor need not wait."""
    await session.execute(delete(Duty).where(Duty.holder == holder))
