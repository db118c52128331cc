"""Queries on webhook endpoints. The caller owns the transaction.

Whoever locks an endpoint and deliveries of it, locks the endpoint first.
"""

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from db.webhook_tables import WebhookEndpoint
from domain.announcements import EndpointState

WITHOUT_SYNC = {"synchronize_session": False}

WELL: dict[str, Any] = {"failing_since": None, "given_up": 0}
UNHARMED: dict[str, Any] = {"state": EndpointState.ACTIVE, "reason": None, **WELL}


async def count(session: AsyncSession, *, owner: str) -> int:
    """How many an owner has, with the right to make the next one: others of the same owner's wait for us."""
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtext(f"webhook_endpoints {owner}"))))
    statement = select(func.count()).select_from(WebhookEndpoint).where(WebhookEndpoint.owner == owner)
    return int(await session.scalar(statement) or 0)


async def insert(session: AsyncSession, endpoint: WebhookEndpoint) -> WebhookEndpoint:
    session.add(endpoint)
    await session.flush()
    await session.refresh(endpoint)
    return endpoint


async def get(
    session: AsyncSession, endpoint_id: UUID, *, owner: str | None, lock: bool = False
) -> WebhookEndpoint | None:
    """`owner=None` is for the relay, never for a caller."""
    statement = select(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id)
    if owner is not None:
        statement = statement.where(WebhookEndpoint.owner == owner)
    if lock:
        statement = statement.with_for_update(key_share=True)
    return (await session.scalars(statement)).one_or_none()


async def listed(session: AsyncSession, *, owner: str) -> list[WebhookEndpoint]:
    statement = select(WebhookEndpoint).where(WebhookEndpoint.owner == owner)
    newest_last = statement.order_by(WebhookEndpoint.created_at, WebhookEndpoint.id)
    return list((await session.scalars(newest_last)).all())


async def change(session: AsyncSession, endpoint_id: UUID, *, owner: str, **values: Any) -> WebhookEndpoint | None:
    return await _update(session, endpoint_id, owner, values)


async def rotate(
    session: AsyncSession, endpoint_id: UUID, *, owner: str, secret: str, overlap: timedelta
) -> WebhookEndpoint | None:
    """Sign with `secret` from now on, and for a while with the one before as well."""
    values = {
        "previous_secret": WebhookEndpoint.secret,
        "previous_secret_until": func.now() + overlap,
        "secret": secret,
    }
    return await _update(session, endpoint_id, owner, values)


async def remove(session: AsyncSession, endpoint_id: UUID, *, owner: str) -> bool:
    """With everything that is or was owed to it."""
    statement = delete(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id, WebhookEndpoint.owner == owner)
    return await session.scalar(statement.returning(WebhookEndpoint.id)) is not None


async def note_success(session: AsyncSession, endpoint_id: UUID) -> None:
    await _update(session, endpoint_id, None, WELL)


async def note_failure(session: AsyncSession, endpoint_id: UUID, *, gave_up: bool) -> tuple[timedelta, int]:
    """For how long the endpoint has been failing now, and how many deliveries have been given up since."""
    since = func.coalesce(WebhookEndpoint.failing_since, func.now())
    values = {"failing_since": since, "given_up": WebhookEndpoint.given_up + int(gave_up)}
    statement = update(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id).values(values)
    found = statement.returning(func.now(), WebhookEndpoint.failing_since, WebhookEndpoint.given_up)
    now, began, given_up = (await session.execute(found, execution_options=WITHOUT_SYNC)).one()
    assert began is not None
    return now - began, given_up


async def stop(session: AsyncSession, endpoint_id: UUID, state: EndpointState, reason: str) -> None:
    """By the relay; an endpoint that its owner has stopped stays as it is."""
    statement = update(WebhookEndpoint).where(
        WebhookEndpoint.id == endpoint_id, WebhookEndpoint.state == EndpointState.ACTIVE
    )
    values = {"state": state, "reason": reason, "updated_at": func.now()}
    await session.execute(statement.values(values), execution_options=WITHOUT_SYNC)


async def _update(
    session: AsyncSession, endpoint_id: UUID, owner: str | None, values: dict[str, Any]
) -> WebhookEndpoint | None:
    statement = update(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id)
    if owner is not None:
        statement = statement.where(WebhookEndpoint.owner == owner)
    changed = statement.values(updated_at=func.now(), **values).returning(WebhookEndpoint)
    options = {"populate_existing": True, **WITHOUT_SYNC}
    return (await session.scalars(changed, execution_options=options)).one_or_none()
