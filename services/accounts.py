"""What users have besides what they know: profiles, API keys, invitations; and what administrators see to."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from config.account_settings import AccountSettings
from db import accounts
from db.account_tables import ApiKey, Profile, User
from db.session import Sessions
from domain.access import FOR_KEYS, Caller, Scope
from domain.account_errors import (
    KeyNotFound,
    LastAdmin,
    MissingScope,
    ProfileNotFound,
    ProfileTaken,
    TooManyKeys,
    TooManyProfiles,
    UserNotFound,
)
from services.doorkeeper import KEY_PREFIX, sha256
from services.platform import Platform

LARGEST_PAGE = 200
MOST_PROFILES = 50
HINT_LENGTH = len(KEY_PREFIX) + 6


@dataclass(frozen=True, slots=True)
class NewKey:
    row: ApiKey
    key: str
    """Shown once; only its hash is kept."""


@dataclass(frozen=True, slots=True)
class NewInvite:
    token: str
    expires_at: datetime


async def me(platform: Platform, caller: Caller) -> tuple[User, Sequence[Profile]]:
    """Raises UserNotFound."""
    async with platform.sessions.begin() as session:
        found = await accounts.user(session, _user_id(caller))
        if found is None:
            raise UserNotFound
        return found, await accounts.profiles(session, found.id)


async def add_profile(platform: Platform, caller: Caller, name: str) -> Profile:
    """Raises ProfileTaken, TooManyProfiles."""
    user_id = _user_id(caller)
    async with platform.sessions.begin() as session:
        await accounts.lock_user(session, user_id)
        if len(await accounts.profiles(session, user_id)) >= MOST_PROFILES:
            raise TooManyProfiles(MOST_PROFILES)
        made = await accounts.insert_profile(session, id=uuid4(), user_id=user_id, name=name)
    if made is None:
        raise ProfileTaken
    return made


async def delete_profile(platform: Platform, caller: Caller, profile_id: UUID) -> None:
    """What was counted under it stays counted. Raises ProfileNotFound."""
    async with platform.sessions.begin() as session:
        if not await accounts.delete_profile(session, profile_id, user_id=_user_id(caller)):
            raise ProfileNotFound


async def add_key(
    platform: Platform,
    caller: Caller,
    name: str,
    scopes: Sequence[Scope],
    *,
    profile_id: UUID | None,
    lasts: timedelta | None,
) -> NewKey:
    """A key that may do no more than its maker. Raises TooManyKeys, MissingScope, ProfileNotFound."""
    for scope in scopes:
        if scope not in caller.scopes or scope not in FOR_KEYS | {Scope.ADMIN}:
            raise MissingScope(scope)
    key, user_id, most = KEY_PREFIX + secrets.token_urlsafe(32), _user_id(caller), platform.settings.accounts.max_keys
    async with platform.sessions.begin() as session:
        await accounts.lock_user(session, user_id)
        if len(await accounts.keys(session, user_id)) >= most:
            raise TooManyKeys(most)
        if profile_id is not None and profile_id not in [each.id for each in await accounts.profiles(session, user_id)]:
            raise ProfileNotFound
        row = await accounts.insert_key(
            session,
            id=uuid4(),
            user_id=user_id,
            profile_id=profile_id,
            name=name,
            key_sha256=sha256(key),
            hint=key[:HINT_LENGTH],
            scopes=[str(scope) for scope in scopes],
            lasts=lasts,
        )
    return NewKey(row, key)


async def keys(platform: Platform, caller: Caller) -> Sequence[ApiKey]:
    async with platform.sessions.begin() as session:
        return await accounts.keys(session, _user_id(caller))


async def revoke_key(platform: Platform, caller: Caller, key_id: UUID) -> None:
    """Raises KeyNotFound."""
    async with platform.sessions.begin() as session:
        if not await accounts.revoke_key(session, key_id, user_id=_user_id(caller)):
            raise KeyNotFound


async def invite(sessions: Sessions, settings: AccountSettings, by: UUID | None, *, is_admin: bool) -> NewInvite:
    """`by` None: whoever runs the machine."""
    token, lasts = secrets.token_urlsafe(24), timedelta(days=settings.invite_days)
    async with sessions.begin() as session:
        expires_at = await accounts.insert_invite(
            session, token_sha256=sha256(token), invited_by=by, is_admin=is_admin, lasts=lasts
        )
    return NewInvite(token, expires_at)


async def users(sessions: Sessions, *, limit: int, after: str | None) -> Sequence[User]:
    async with sessions.begin() as session:
        return await accounts.users(session, limit=limit, after=after)


async def change_user(sessions: Sessions, user_id: UUID, changes: Mapping[str, Any]) -> User:
    """Set `disabled`, `is_admin`, `monthly_audio_seconds`, `monthly_jobs`: those that are there.

    A user who is disabled is out within seconds. Raises UserNotFound, LastAdmin.
    """
    async with sessions.begin() as session:
        found = await accounts.user(session, user_id)
        if found is None:
            raise UserNotFound
        steps_down = found.is_admin and (changes.get("disabled") or changes.get("is_admin") is False)
        if steps_down and not await accounts.other_admins(session, user_id):
            raise LastAdmin
        if changes.get("disabled"):
            await accounts.revoke_logins(session, user_id)
        return await accounts.change_user(session, user_id, **{"disabled": None, **changes})


def _user_id(caller: Caller) -> UUID:
    if caller.user_id is None:  # nobody has an account where nobody is asked
        raise UserNotFound
    return caller.user_id
