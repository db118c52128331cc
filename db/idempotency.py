"""What was answered to submissions that may be sent again. The caller owns the transaction."""

from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import IdempotencyKey


async def take(session: AsyncSession, **values: Any) -> bool:
    """Keep an answer under its key, unless another has one there: waits for a transaction that is about to."""
    statement = insert(IdempotencyKey).values(values).on_conflict_do_nothing().returning(IdempotencyKey.owner)
    return await session.scalar(statement) is not None


async def answered(session: AsyncSession, *, owner: str, key_sha256: str) -> IdempotencyKey | None:
    return await session.get(IdempotencyKey, (owner, key_sha256))


async def forget(session: AsyncSession, *, older_than: timedelta) -> int:
    statement = delete(IdempotencyKey).where(IdempotencyKey.created_at < func.now() - older_than)
    return len((await session.scalars(statement.returning(IdempotencyKey.owner))).all())
