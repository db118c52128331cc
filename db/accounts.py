"""Users and what they prove themselves with. The caller owns the transaction; time is PostgreSQL's."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Integer, and_, case, delete, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from db.account_tables import ApiKey, Invite, LoginSession, LoginTries, Profile, User

TRIES_WINDOW = timedelta(minutes=1)
USED_TO_THE = timedelta(hours=1)


GOOD_LOGIN = (
    LoginSession.revoked_at.is_(None),
    LoginSession.expires_at > func.now(),
    User.disabled_at.is_(None),
)


@dataclass(frozen=True, slots=True)
class Standing:
    """Who stands behind a log-in or a key, as far as that is good now."""

    user_id: UUID
    profile_id: UUID | None
    is_admin: bool
    scopes: tuple[str, ...] | None
    """Of a key; None for a person, who may do everything that is theirs."""


# Users


async def insert_user(session: AsyncSession, **values: Any) -> User | None:
    """None where the address is taken."""
    statement = insert(User).values(values).on_conflict_do_nothing(index_elements=["email"]).returning(User)
    return (await session.scalars(statement)).one_or_none()


async def user(session: AsyncSession, user_id: UUID) -> User | None:
    return await session.get(User, user_id)


async def user_by_email(session: AsyncSession, email: str) -> User | None:
    return (await session.scalars(select(User).where(User.email == email))).one_or_none()


async def users(session: AsyncSession, *, limit: int, after: str | None) -> Sequence[User]:
    statement = select(User).order_by(User.email).limit(limit)
    return (await session.scalars(statement if after is None else statement.where(User.email > after))).all()


async def still_has(session: AsyncSession, user_id: UUID, password_hash: str) -> bool:
    """Is this the user's password, until the transaction ends? Nobody can change it or disable them before."""
    same = (User.id == user_id, User.password_hash == password_hash, User.disabled_at.is_(None))
    return await session.scalar(select(User.id).where(*same).with_for_update(read=True)) is not None


async def set_password(session: AsyncSession, user_id: UUID, password_hash: str) -> None:
    await session.execute(update(User).where(User.id == user_id).values(password_hash=password_hash))


async def change_password(session: AsyncSession, user_id: UUID, old_hash: str, new_hash: str) -> bool:
    """False where it has been changed meanwhile."""
    mine = (User.id == user_id, User.password_hash == old_hash)
    statement = update(User).where(*mine).values(password_hash=new_hash).returning(User.id)
    return await session.scalar(statement) is not None


async def lock_user(session: AsyncSession, user_id: UUID) -> None:
    """Whoever counts what a user has, counts alone."""
    await session.execute(select(User.id).where(User.id == user_id).with_for_update())


async def change_user(session: AsyncSession, user_id: UUID, *, disabled: bool | None, **values: Any) -> User:
    """`disabled` None leaves that as it is; the user must be there."""
    if disabled is not None:
        values["disabled_at"] = func.coalesce(User.disabled_at, func.now()) if disabled else None
    statement = update(User).where(User.id == user_id).values(id=user_id, **values).returning(User)
    return (await session.scalars(statement, execution_options={"populate_existing": True})).one()


async def has_admin(session: AsyncSession) -> bool:
    """Is there anybody who can let others in?"""
    statement = select(exists().where(User.is_admin, User.disabled_at.is_(None)))
    return bool(await session.scalar(statement))


async def other_admins(session: AsyncSession, user_id: UUID) -> int:
    """How many administrators there are besides, each locked, so that two cannot step down at once."""
    others = select(User.id).where(User.is_admin, User.disabled_at.is_(None)).order_by(User.id).with_for_update()
    return len([found for found in (await session.scalars(others)).all() if found != user_id])


# Invitations


async def insert_invite(session: AsyncSession, *, lasts: timedelta, **values: Any) -> datetime:
    """Until when it holds."""
    await session.execute(delete(Invite).where(Invite.expires_at < func.now()))
    statement = insert(Invite).values(expires_at=func.now() + lasts, **values).returning(Invite.expires_at)
    return (await session.scalars(statement)).one()


async def take_invite(session: AsyncSession, token_sha256: str) -> Invite | None:
    """An invitation is good for one person: it is gone with this."""
    statement = delete(Invite).where(Invite.token_sha256 == token_sha256, Invite.expires_at >= func.now())
    return (await session.scalars(statement.returning(Invite))).one_or_none()


# Profiles


async def profiles(session: AsyncSession, user_id: UUID) -> Sequence[Profile]:
    statement = select(Profile).where(Profile.user_id == user_id).order_by(Profile.created_at, Profile.id)
    return (await session.scalars(statement)).all()


async def insert_profile(session: AsyncSession, **values: Any) -> Profile | None:
    """None where the user has one of this name."""
    statement = insert(Profile).values(values).on_conflict_do_nothing(constraint="profiles_once").returning(Profile)
    return (await session.scalars(statement)).one_or_none()


async def delete_profile(session: AsyncSession, profile_id: UUID, *, user_id: UUID) -> bool:
    statement = delete(Profile).where(Profile.id == profile_id, Profile.user_id == user_id).returning(Profile.id)
    return await session.scalar(statement) is not None


# Log-ins


async def insert_login(session: AsyncSession, *, lasts: timedelta, **values: Any) -> None:
    await session.execute(insert(LoginSession).values(expires_at=func.now() + lasts, **values))


async def lock_login(session: AsyncSession, login_id: UUID) -> tuple[LoginSession, bool] | None:
    """A log-in that is good, and whether it was refreshed within the last seconds."""
    lately = LoginSession.refreshed_at > func.now() - timedelta(seconds=10)
    statement = (
        select(LoginSession, lately)
        .join(User, User.id == LoginSession.user_id)
        .where(LoginSession.id == login_id, *GOOD_LOGIN)
        .with_for_update(of=LoginSession)
    )
    row = (await session.execute(statement)).one_or_none()
    return None if row is None else (row[0], row[1])


async def rotate_login(session: AsyncSession, login_id: UUID, *, lasts: timedelta) -> None:
    values = {
        "generation": LoginSession.generation + 1,
        "refreshed_at": func.now(),
        "expires_at": func.now() + lasts,
    }
    await session.execute(update(LoginSession).where(LoginSession.id == login_id).values(values))


async def revoke_login(session: AsyncSession, login_id: UUID) -> None:
    values = {"revoked_at": func.coalesce(LoginSession.revoked_at, func.now())}
    await session.execute(update(LoginSession).where(LoginSession.id == login_id).values(values))


async def revoke_logins(session: AsyncSession, user_id: UUID) -> None:
    """Every log-in of a user's."""
    mine = (LoginSession.user_id == user_id, LoginSession.revoked_at.is_(None))
    await session.execute(update(LoginSession).where(*mine).values(revoked_at=func.now()))


async def standing_of_login(session: AsyncSession, login_id: UUID) -> Standing | None:
    statement = (
        select(User.id, LoginSession.profile_id, User.is_admin)
        .join(User, User.id == LoginSession.user_id)
        .where(LoginSession.id == login_id, *GOOD_LOGIN)
    )
    row = (await session.execute(statement)).one_or_none()
    return None if row is None else Standing(*row, scopes=None)


# Keys


async def insert_key(session: AsyncSession, *, lasts: timedelta | None, **values: Any) -> ApiKey:
    expires_at = None if lasts is None else func.now() + lasts
    return (await session.scalars(insert(ApiKey).values(expires_at=expires_at, **values).returning(ApiKey))).one()


async def keys(session: AsyncSession, user_id: UUID) -> Sequence[ApiKey]:
    """Those that are not revoked, oldest first."""
    mine = select(ApiKey).where(ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None))
    return (await session.scalars(mine.order_by(ApiKey.created_at, ApiKey.id))).all()


async def revoke_key(session: AsyncSession, key_id: UUID, *, user_id: UUID) -> bool:
    mine = (ApiKey.id == key_id, ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None))
    statement = update(ApiKey).where(*mine).values(revoked_at=func.now()).returning(ApiKey.id)
    return await session.scalar(statement) is not None


async def standing_of_key(session: AsyncSession, key_sha256: str) -> Standing | None:
    """Whose key it is, where it is good; notes, to the hour, that it was used."""
    good = and_(ApiKey.revoked_at.is_(None), or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.now()))
    stale = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < func.now() - USED_TO_THE)
    statement = (
        select(ApiKey.id, stale, User.id, ApiKey.profile_id, User.is_admin, ApiKey.scopes)
        .join(User, User.id == ApiKey.user_id)
        .where(ApiKey.key_sha256 == key_sha256, good, User.disabled_at.is_(None))
    )
    row = (await session.execute(statement)).one_or_none()
    if row is None:
        return None
    key_id, is_stale, user_id, profile_id, is_admin, scopes = row
    if is_stale:
        await session.execute(update(ApiKey).where(ApiKey.id == key_id).values(last_used_at=func.now()))
    return Standing(user_id, profile_id, is_admin, tuple(scopes))


# Tries


async def count_try(session: AsyncSession, bucket_sha256: str) -> tuple[int, int]:
    """Count a try: how many there were within the minute, this one included, and seconds until it is over."""
    over = LoginTries.since < func.now() - TRIES_WINDOW
    again = {
        "tries": case((over, 1), else_=LoginTries.tries + 1),
        "since": case((over, func.now()), else_=LoginTries.since),
    }
    left = func.ceil(func.extract("epoch", LoginTries.since + TRIES_WINDOW - func.now())).cast(Integer)
    statement = insert(LoginTries).values(bucket_sha256=bucket_sha256)
    counted = statement.on_conflict_do_update(index_elements=["bucket_sha256"], set_=again)
    tries, seconds = (await session.execute(counted.returning(LoginTries.tries, left))).one()
    return tries, seconds


async def forget_logins(session: AsyncSession) -> None:
    await session.execute(delete(LoginSession).where(LoginSession.expires_at < func.now()))


async def forget_tries(session: AsyncSession) -> None:
    await session.execute(delete(LoginTries).where(LoginTries.since < func.now() - TRIES_WINDOW))
