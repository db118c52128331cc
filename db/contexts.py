"""Queries on vocabularies. The caller owns the transaction."""

from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import Context


async def insert(session: AsyncSession, context: Context) -> Context:
    session.add(context)
    await session.flush()
    await session.refresh(context)
    return context


async def get(session: AsyncSession, context_id: UUID, *, owner: str) -> Context | None:
    statement = select(Context).where(Context.id == context_id, Context.owner == owner)
    return (await session.scalars(statement)).one_or_none()


async def listed(session: AsyncSession, *, owner: str, limit: int, after: str | None) -> list[Context]:
    """By name; `after` is the name behind which to go on."""
    statement = select(Context).where(Context.owner == owner).order_by(Context.name, Context.id).limit(limit)
    if after is not None:
        statement = statement.where(Context.name > after)
    return list((await session.scalars(statement)).all())


async def replace(
    session: AsyncSession, context_id: UUID, *, owner: str, name: str, terms: list[dict[str, Any]]
) -> Context | None:
    statement = (
        update(Context)
        .where(Context.id == context_id, Context.owner == owner)
        .values(name=name, terms=terms, version=Context.version + 1, updated_at=func.now())
        .returning(Context)
    )
    return (await session.scalars(statement, execution_options={"populate_existing": True})).one_or_none()


async def remove(session: AsyncSession, context_id: UUID, *, owner: str) -> bool:
    statement = delete(Context).where(Context.id == context_id, Context.owner == owner).returning(Context.id)
    return (await session.scalars(statement)).one_or_none() is not None
