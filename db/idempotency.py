"""What was answered to submissions that may be sent again. The caller owns the transaction."""

from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import IdempotencyKey


async def take(session: AsyncSession, *, lasts: timedelta, **values: Any) -> bool:
    """Keep an answer under its key, unless another has one there that is younger than `lasts`.

    Waits for a transaction that is about to. With no time to last, this answer takes the place of any.
    """
    anew = {**values, "created_at": func.now()}
    # Asked of no time at all, a row of a transaction that began after this one would be younger than nothing.
    outlived = IdempotencyKey.created_at <= func.now() - lasts if lasts else None
    statement = (
        insert(IdempotencyKey)
        .values(values)
        .on_conflict_do_update(index_elements=["owner", "key_sha256"], set_=anew, where=outlived)
        .returning(IdempotencyKey.owner)
    )
    return await session.scalar(statement) is not None


async def answered(session: AsyncSession, *, owner: str, key_sha256: str, lasts: timedelta) -> IdempotencyKey | None:
    of_key = (IdempotencyKey.owner == owner, IdempotencyKey.key_sha256 == key_sha256)
    young = IdempotencyKey.created_at > func.now() - lasts
    return (await session.scalars(select(IdempotencyKey).where(*of_key, young))).one_or_none()


async def forget(session: AsyncSession, *, older_than: timedelta) -> int:
    statement = delete(IdempotencyKey).where(IdempotencyKey.created_at < func.now() - older_than)
    return len((await session.scalars(statement.returning(IdempotencyKey.owner))).all())
