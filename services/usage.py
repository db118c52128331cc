"""What callers have used, and how much of it they may."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from db import accounts, usage
from db.usage import Line
from domain.access import Caller
from domain.account_errors import QuotaExceeded
from services.platform import Platform


@dataclass(frozen=True, slots=True)
class Quota:
    """Of a month; None: any."""

    jobs: int | None
    audio_seconds: float | None


async def quota_of(platform: Platform, caller: Caller) -> Quota:
    """The user's own, else that of the settings; nobody counts where nobody is asked who they are."""
    if caller.user_id is None:
        return Quota(None, None)
    async with platform.sessions.alone(owner=caller.owner) as session:
        user = await accounts.user(session, caller.user_id)
    settings = platform.settings.accounts
    hours = settings.monthly_audio_hours
    return Quota(
        jobs=user.monthly_jobs if user and user.monthly_jobs is not None else settings.monthly_jobs,
        audio_seconds=user.monthly_audio_seconds
        if user and user.monthly_audio_seconds is not None
        else None
        if hours is None
        else 3600 * hours,
    )


async def refuse_early(platform: Platform, caller: Caller, *, besides: UUID | None) -> None:
    """Before a recording is read in vain; `check_quota` has the last word. Raises QuotaExceeded."""
    quota = await quota_of(platform, caller)
    if quota != Quota(None, None):
        async with platform.sessions.begin(owner=caller.owner) as session:
            await check_quota(session, caller, quota, besides=besides)


async def check_quota(
    session: AsyncSession, caller: Caller, quota: Quota, *, besides: UUID | None = None, more: int = 1
) -> None:
    """Is there anything left of the month, besides what is under way? In the transaction that makes a job.

    `besides` is a job that waits to be run and is counted already; `more` are those that are to be made.
    How long a recording is, nobody knows before it is decoded, so the one that uses a quota up is still done.
    Raises QuotaExceeded.
    """
    if quota == Quota(None, None):
        return
    waiting, being_heard = await usage.under_way(session, caller.owner, besides=besides)
    jobs, seconds, ends_at = await usage.of_this_month(session, caller.owner)
    left = max(1, int((ends_at - datetime.now(UTC)).total_seconds()))
    if quota.jobs is not None and jobs + waiting + more > quota.jobs:
        raise QuotaExceeded("jobs", left)
    if quota.audio_seconds is not None and seconds + being_heard >= quota.audio_seconds:
        raise QuotaExceeded("audio", left)


async def lines(platform: Platform, caller: Caller, *, since: date | None) -> Sequence[Line]:
    async with platform.sessions.alone(owner=caller.owner) as session:
        return await usage.lines(session, caller.owner, since=since)
