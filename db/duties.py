"""Duties that one process at a time does for the whole platform."""

from datetime import timedelta

from sqlalchemy import func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import Duty


async def take(session: AsyncSession, name: str, *, holder: str, lease: timedelta) -> timedelta | None:
    """Take or renew a duty: for how long nobody had held it before; None where another holds it."""
    idle = func.greatest(func.now() - Duty.until, timedelta(0))
    before = await session.scalar(select(idle).where(Duty.name == name).with_for_update())
    statement = insert(Duty).values(name=name, holder=holder, until=func.now() + lease)
    free = or_(Duty.until < func.now(), Duty.holder == holder)
    renewed = statement.on_conflict_do_update(
        index_elements=["name"], set_={"holder": holder, "until": func.now() + lease}, where=free
    ).returning(Duty.name)
    taken = (await session.execute(renewed)).one_or_none() is not None
    return (before or timedelta(0)) if taken else None


async def hand_back(session: AsyncSession, *, holder: str) -> None:
    """Let go of everything that `holder` holds, so that a successor need not wait, and knows since when."""
    past = func.now() - timedelta(microseconds=1)
    await session.execute(update(Duty).where(Duty.holder == holder, Duty.until > past).values(until=past))
