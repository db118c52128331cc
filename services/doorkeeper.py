"""Who comes in: by password, by a token that a log-in was given, or by an API key.

A log-in or key that is revoked, and a user who is disabled, are out within seconds in every process, streams that are
open included: nobody is believed for longer than `BELIEVED_SECONDS` without a look into PostgreSQL.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import TypeVar
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncSession

from db import accounts
from db.account_tables import User
from db.accounts import Standing
from domain.access import FOR_KEYS, PERSONAL, Caller, Proof, Scope
from domain.account_errors import (
    BadCredentials,
    BadInvite,
    BadToken,
    EmailTaken,
    RegistrationClosed,
    TooManyTries,
    UserNotFound,
)
from domain.errors import DatabaseUnavailable
from services.passwords import Passwords
from services.platform import Platform
from services.tokens import Tokens

Item = TypeVar("Item")

KEY_PREFIX = "esc_"

BELIEVED_SECONDS = 5.0
LOOK_SECONDS = 15.0
"""How often an open stream asks whether its reader may still read."""
MOST_BELIEVED = 10_000

TRIES_OF_ACCOUNT_AND_ADDRESS, TRIES_OF_ACCOUNT, TRIES_OF_ADDRESS = 10, 100, 60
"""Within a minute. Many addresses may not guess at one account, nor one address at many accounts."""

DEFAULT_PROFILE = "default"


@dataclass(frozen=True, slots=True)
class Login:
    access_token: str
    refresh_token: str
    lasts: timedelta
    """The access token."""
    refresh_lasts: timedelta
    """The refresh token, which is good once."""


class Doorkeeper:
    """One of a process."""

    def __init__(self, platform: Platform) -> None:
        self._platform, self._settings = platform, platform.settings.accounts
        self._tokens, self._passwords = Tokens(self._settings), Passwords()
        self._believed: OrderedDict[Proof, tuple[float, Standing]] = OrderedDict()

    def close(self) -> None:
        self._passwords.close()

    # Coming in

    async def admit(self, credential: str) -> Caller:
        """Whoever shows an access token or an API key. Raises BadToken."""
        if credential.startswith(KEY_PREFIX):
            return await self._stand(Proof("key", sha256(credential)))
        return await self._stand(Proof("login", str(self._tokens.read(credential).login_id)))

    async def while_good(self, proof: Proof, items: AsyncGenerator[Item]) -> AsyncGenerator[Item]:
        """The items, until the log-in or key is good no more."""
        refused = asyncio.create_task(self._until_refused(proof))
        try:
            async with aclosing(items):
                while (item := await _next(items, refused)) is not None:
                    yield item
        finally:
            refused.cancel()

    async def _until_refused(self, proof: Proof) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._stand(proof)
            except BadToken:
                return
            except DatabaseUnavailable:  # nobody knows; they were let in when it did
                continue

    async def _stand(self, proof: Proof) -> Caller:
        at, standing = self._believed.get(proof, (float("-inf"), None))
        if standing is None or monotonic() - at > BELIEVED_SECONDS:
            standing = await self._look(proof)
        personal = PERSONAL if standing.scopes is None else FOR_KEYS & frozenset(map(Scope, standing.scopes))
        admin = {Scope.ADMIN} if standing.is_admin and Scope.ADMIN in (standing.scopes or Scope) else frozenset[Scope]()
        return Caller(str(standing.user_id), personal | admin, standing.user_id, standing.profile_id, proof)

    async def _look(self, proof: Proof) -> Standing:
        at = monotonic()
        async with self._platform.sessions.begin() as session:
            if proof.kind == "key":
                standing = await accounts.standing_of_key(session, proof.name)
            else:
                standing = await accounts.standing_of_login(session, UUID(proof.name))
        if standing is None:
            self._believed.pop(proof, None)
            raise BadToken
        self._believed[proof] = (at, standing)
        self._believed.move_to_end(proof)
        if len(self._believed) > MOST_BELIEVED:
            self._believed.popitem(last=False)
        return standing

    # Logging in

    async def register(self, email: str, password: str, *, invite: str | None, address: str) -> User:
        """Make an account. Raises RegistrationClosed, BadInvite, EmailTaken, TooManyTries."""
        await self._count(("address", address, TRIES_OF_ADDRESS))
        return await self._make_user(email, password, invite)

    async def _make_user(self, email: str, password: str, invite: str | None) -> User:
        """Nobody is an administrator for having come first: an invitation says so, or whoever runs the machine."""
        password_hash, registration = await self._passwords.hashed(password), self._settings.registration
        async with self._platform.sessions.begin() as session:
            if registration == "closed" or (registration == "invite" and invite is None):
                raise RegistrationClosed
            taken = None if invite is None else await accounts.take_invite(session, sha256(invite))
            if invite is not None and taken is None:
                raise BadInvite
            is_admin = taken is not None and taken.is_admin
            return await make_user(session, email, password_hash, is_admin=is_admin)

    async def log_in(self, email: str, password: str, *, address: str, profile: str | None = None) -> Login:
        """Raises BadCredentials, TooManyTries."""
        await self._count(
            ("address", address, TRIES_OF_ADDRESS),
            ("pair", f"{address} {email}", TRIES_OF_ACCOUNT_AND_ADDRESS),
            ("account", email, TRIES_OF_ACCOUNT),
        )
        async with self._platform.sessions.alone() as session:
            user = await accounts.user_by_email(session, email)
        if not await self._passwords.fits(password, None if user is None else user.password_hash):
            raise BadCredentials
        if user is None or user.disabled_at is not None:
            raise BadCredentials
        return await self._begin(user, profile)

    async def refresh(self, token: str) -> Login:
        """The next pair. A token that was used before was stolen, or its successor was: the log-in ends.

        Of two tabs that send the same one within seconds, both are told the same. Raises BadToken.
        """
        login_id, generation = self._tokens.read_refresh(token)
        async with self._platform.sessions.begin() as session:
            found = await accounts.lock_login(session, login_id)
            if found is None:
                raise BadToken
            login, lately = found
            now = login.generation
            again = lately and generation == now - 1
            if generation == now:
                await accounts.rotate_login(session, login.id, lasts=self._refresh_lasts)
            elif not again:
                await accounts.revoke_login(session, login.id)
        if generation != now and not again:
            raise BadToken
        return self._login(login.user_id, login.id, generation + 1)

    async def log_out(self, *, access: str | None, refresh: str | None) -> None:
        """End the log-in that either token is of; tokens that are good no more end nothing."""
        for token, read in ((access, lambda token: self._tokens.read(token).login_id), (refresh, self._refreshes)):
            with suppress(BadToken):
                if token is not None:
                    login_id = read(token)
                    async with self._platform.sessions.alone() as session:
                        await accounts.revoke_login(session, login_id)
                    self._believed.pop(Proof("login", str(login_id)), None)

    def _refreshes(self, token: str) -> UUID:
        return self._tokens.read_refresh(token)[0]

    async def change_password(self, caller: Caller, old: str, new: str, *, address: str) -> None:
        """Every log-in of the caller's ends with it. Raises BadCredentials, TooManyTries, UserNotFound."""
        if caller.user_id is None:
            raise UserNotFound
        await self._count(("password", f"{address} {caller.user_id}", TRIES_OF_ACCOUNT_AND_ADDRESS))
        async with self._platform.sessions.alone() as session:
            user = await accounts.user(session, caller.user_id)
        if user is None or not await self._passwords.fits(old, user.password_hash):
            raise BadCredentials
        password_hash = await self._passwords.hashed(new)
        async with self._platform.sessions.begin() as session:
            if not await accounts.change_password(session, user.id, user.password_hash, password_hash):
                raise BadCredentials
            await accounts.revoke_logins(session, user.id)
        self._believed.clear()

    async def _begin(self, user: User, profile: str | None) -> Login:
        login_id = uuid4()
        async with self._platform.sessions.begin() as session:
            if not await accounts.still_has(session, user.id, user.password_hash):
                raise BadCredentials  # changed, or disabled, while it was being looked at
            found = await accounts.profiles(session, user.id)
            named = next((each for each in found if each.name == (profile or DEFAULT_PROFILE)), None)
            if profile is not None and named is None:
                raise BadCredentials
            profile_id = None if named is None else named.id
            await accounts.insert_login(
                session, id=login_id, user_id=user.id, profile_id=profile_id, lasts=self._refresh_lasts
            )
        return self._login(user.id, login_id, 1)

    def _login(self, user_id: UUID, login_id: UUID, generation: int) -> Login:
        refresh_token = self._tokens.refresh_token(login_id, generation)
        return Login(self._tokens.issue(user_id, login_id), refresh_token, self._tokens.lasts, self._refresh_lasts)

    @property
    def _refresh_lasts(self) -> timedelta:
        return timedelta(days=self._settings.refresh_days)

    async def _count(self, *buckets: tuple[str, str, int]) -> None:
        """Count a try before anything is looked up, and no further than to the first bucket that is full: one address
        that is over its own limit uses up nobody's. Raises TooManyTries.
        """
        for kind, name, most in buckets:
            async with self._platform.sessions.alone() as session:
                tries, seconds = await accounts.count_try(session, sha256(f"{kind} {name}"))
            if tries > most:
                raise TooManyTries(max(1, seconds))


async def make_user(session: AsyncSession, email: str, password_hash: str, *, is_admin: bool) -> User:
    """With a profile that jobs are counted under. Raises EmailTaken."""
    values = {"id": uuid4(), "email": email, "password_hash": password_hash, "is_admin": is_admin}
    user = await accounts.insert_user(session, **values)
    if user is None:
        raise EmailTaken
    await accounts.insert_profile(session, id=uuid4(), user_id=user.id, name=DEFAULT_PROFILE)
    return user


async def forget_old(platform: Platform) -> None:
    """Tries of minutes that are over, and log-ins that nobody has come back to."""
    async with platform.sessions.begin() as session:
        await accounts.forget_tries(session)
        await accounts.forget_logins(session)


async def _next(items: AsyncGenerator[Item], refused: asyncio.Task[None]) -> Item | None:
    """None at the end, and once `refused` is done, whatever there may be to tell."""
    coming = asyncio.ensure_future(anext(items, None))
    try:
        await asyncio.wait({coming, refused}, return_when=asyncio.FIRST_COMPLETED)
        return None if refused.done() else coming.result()
    finally:
        if not coming.done():  # refused, or whoever reads has left: what is running cannot be closed
            coming.cancel()
            await asyncio.wait({coming})


def sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
