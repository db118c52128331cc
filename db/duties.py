"""Duties that one process at a time does for the whole platform."""

from datetime import timedelta

from sqlalchemy import Select, bindparam, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from db.moves import after, table_of
from db.tables import Duty

DUTIES = table_of(Duty)


def _renew() -> Select[bool, bool]:
    held = (DUTIES.c.name == bindparam("duty"), DUTIES.c.until >= func.now())
    is_ours = DUTIES.c.holder == bindparam("us")
    renewed = update(DUTIES).where(*held, is_ours).values(until=after("lease")).returning(DUTIES.c.name).cte("renewed")
    return select(exists(select(renewed.c.name)), exists().where(*held, ~is_ours))


RENEW = _renew()
"""Built once, as every worker asks every second."""


async def renew(connection: AsyncConnection, name: str, *, holder: str, lease: timedelta) -> bool | None:
    """Renew a duty that `holder` has (True), or see that another has it (False); None where it is to be taken."""
    renewed, is_anothers = (await connection.execute(RENEW, {"duty": name, "us": holder, "lease": lease})).one()
    return True if renewed else False if is_anothers else None


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
