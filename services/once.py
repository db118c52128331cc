"""Submissions that may be sent again: they get the answer of the first time, and make no second job."""

import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

from sqlalchemy.ext.asyncio import AsyncSession

from db import idempotency
from domain.access import Caller
from domain.errors import IdempotencyKeyReused, Invalid
from services.platform import Platform

KEPT = timedelta(days=7)
"""How long an answer is remembered; whoever retries, does so within hours."""

LONGEST_KEY = 255


class AnsweredBefore(Exception):
    """Another request with this key was first; raised in a transaction, which it undoes."""


@dataclass(frozen=True, slots=True)
class Key:
    """An Idempotency-Key. Callers choose it and may put a name into it, so only its hash goes any further."""

    sha256: str
    lasts: timedelta = KEPT
    """For how long an answer is given again. No time: never, but this one takes the place of whatever is there."""

    @classmethod
    def parse(cls, key: str) -> Self:
        """Raises Invalid."""
        if not 0 < len(key) <= LONGEST_KEY or not key.isascii() or not key.isprintable():
            said = f"an Idempotency-Key has 1 to {LONGEST_KEY} printable ASCII characters; a UUID is a good one"
            raise Invalid(said, field="Idempotency-Key")
        return cls(hashlib.sha256(key.encode()).hexdigest())


def fingerprint(**request: Any) -> str:
    """What makes two requests the same."""
    return hashlib.sha256(json.dumps(request, sort_keys=True, default=str).encode()).hexdigest()


async def is_known(platform: Platform, caller: Caller, key: Key) -> bool:
    async with platform.sessions.alone(owner=caller.owner) as session:
        return (
            await idempotency.answered(session, owner=caller.owner, key_sha256=key.sha256, lasts=key.lasts) is not None
        )


async def answer_before(platform: Platform, caller: Caller, key: Key, request: str) -> dict[str, Any] | None:
    """The answer that `request` got the first time, if there was one. Raises IdempotencyKeyReused."""
    async with platform.sessions.alone(owner=caller.owner) as session:
        found = await idempotency.answered(session, owner=caller.owner, key_sha256=key.sha256, lasts=key.lasts)
    if found is not None and found.request_sha256 != request:
        raise IdempotencyKeyReused
    return None if found is None else found.receipt


async def remember(session: AsyncSession, caller: Caller, key: Key, request: str, receipt: dict[str, Any]) -> None:
    """Keep the answer in the transaction that makes it true. Raises AnsweredBefore."""
    kept = {"owner": caller.owner, "key_sha256": key.sha256, "request_sha256": request, "receipt": receipt}
    if not await idempotency.take(session, lasts=key.lasts, **kept):
        raise AnsweredBefore


async def forget_old(platform: Platform) -> int:
    async with platform.sessions.begin() as session:
        return await idempotency.forget(session, older_than=KEPT)
