"""Requests by message, and whether they have been answered. The caller owns the transaction."""

from collections.abc import Collection
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, case, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import AmqpRequest


async def take(session: AsyncSession, **values: Any) -> bool:
    """Keep a request, unless another has its key: waits for a transaction that is about to."""
    statement = insert(AmqpRequest).values(values).on_conflict_do_nothing().returning(AmqpRequest.id)
    return await session.scalar(statement) is not None


async def known(session: AsyncSession, *, owner: str, key_sha256: str) -> AmqpRequest | None:
    statement = select(AmqpRequest).where(AmqpRequest.owner == owner, AmqpRequest.key_sha256 == key_sha256)
    return (await session.scalars(statement)).one_or_none()


async def get(session: AsyncSession, request_id: UUID) -> AmqpRequest | None:
    """Whoever's it is: for the platform itself, never for a caller."""
    return await session.get(AmqpRequest, request_id)


async def let_go(session: AsyncSession, request_id: UUID, *, owner: str) -> None:
    """Let the same words be another request."""
    statement = update(AmqpRequest).where(AmqpRequest.id == request_id, AmqpRequest.owner == owner)
    await session.execute(statement.values(key_sha256=None))


async def note_acked(session: AsyncSession, request_id: UUID, *, owner: str) -> None:
    """The broker will not send it again."""
    statement = update(AmqpRequest).where(AmqpRequest.id == request_id, AmqpRequest.owner == owner)
    await session.execute(statement.values(acked_at=func.now(), key_sha256=_key_once(AmqpRequest.answered_at)))


async def note_answered(session: AsyncSession, request_ids: Collection[UUID]) -> None:
    """The last word on these has been delivered, and so on the tries before them."""
    firsts = select(AmqpRequest.first_id).where(AmqpRequest.id.in_(request_ids))
    statement = update(AmqpRequest).where(AmqpRequest.first_id.in_(firsts))
    values = {"answered_at": func.now(), "key_sha256": _key_once(AmqpRequest.acked_at)}
    await session.execute(statement.values(values), execution_options={"synchronize_session": False})


def _key_once(other: Any) -> ColumnElement[Any]:
    """The key, which goes where a request without a name is both acknowledged and answered."""
    return case((and_(~AmqpRequest.named, other.is_not(None)), None), else_=AmqpRequest.key_sha256)


async def forget_old(session: AsyncSession, *, older_than: timedelta) -> int:
    """Forget what was answered so long ago; how many."""
    statement = delete(AmqpRequest).where(AmqpRequest.answered_at < func.now() - older_than)
    return len((await session.scalars(statement.returning(AmqpRequest.id))).all())
