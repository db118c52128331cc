"""What whoever runs the machine does about accounts: they hold the database, so nobody asks them who they are."""

from db import accounts
from db.account_tables import User
from db.session import Sessions
from domain.account_errors import UserNotFound
from services.doorkeeper import make_user
from services.passwords import HASHER


async def add_user(sessions: Sessions, email: str, password: str, *, is_admin: bool) -> User:
    """Whatever REGISTRATION says. Raises EmailTaken."""
    password_hash = HASHER.hash(password)  # in no transaction, and in no thread: nobody else waits for this process
    async with sessions.begin() as session:
        return await make_user(session, email, password_hash, is_admin=is_admin)


async def user_named(sessions: Sessions, email: str) -> User:
    """Raises UserNotFound."""
    async with sessions.alone() as session:
        found = await accounts.user_by_email(session, email)
    if found is None:
        raise UserNotFound
    return found


async def reset_password(sessions: Sessions, email: str, password: str) -> None:
    """Every log-in of theirs ends with it; API keys go on. Raises UserNotFound."""
    user, password_hash = await user_named(sessions, email), HASHER.hash(password)
    async with sessions.begin() as session:
        await accounts.set_password(session, user.id, password_hash)
        await accounts.revoke_logins(session, user.id)


async def has_admin(sessions: Sessions) -> bool:
    async with sessions.alone() as session:
        return await accounts.has_admin(session)
