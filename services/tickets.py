"""Tickets that open one stream, once: so that no token has to stand in a URL, where logs and histories keep it.

They lie in PostgreSQL and not in Redis, so that a stream can be opened while Redis is away.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from db import tickets
from db.session import EVERYBODY
from domain.access import Caller, Proof, Scope
from domain.errors import BadTicket
from services import reading
from services.platform import Platform

LASTS = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Ticket:
    token: str
    lasts: timedelta


async def issue(platform: Platform, caller: Caller, job_id: UUID) -> Ticket:
    """Raises JobNotFound."""
    await reading.find(platform, caller, job_id)
    token = secrets.token_urlsafe(32)
    proof = None if caller.proof is None else str(caller.proof)
    values = {"ticket_sha256": _hashed(token), "job_id": job_id, "owner": caller.owner, "proof": proof}
    async with platform.sessions.begin(owner=caller.owner) as session:
        await tickets.issue(session, lasts=LASTS, **values)
    return Ticket(token, LASTS)


async def redeem(platform: Platform, token: str, job_id: UUID) -> Caller:
    """Who the ticket was given to, as a reader. Raises BadTicket."""
    async with platform.sessions.begin(owner=EVERYBODY) as session:
        found = await tickets.redeem(session, ticket_sha256=_hashed(token), job_id=job_id)
    if found is None:
        raise BadTicket
    owner, proof = found
    return Caller(owner, frozenset({Scope.READ}), proof=None if proof is None else Proof.parse(proof))


async def forget_old(platform: Platform) -> None:
    async with platform.sessions.begin(owner=EVERYBODY) as session:
        await tickets.forget_old(session)


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
