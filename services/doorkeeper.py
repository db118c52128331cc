"""Who comes in: by password, by a token that a log-in was given, or by an API key.

A log-in or key that is revoked, and a user who is disabled, are out within seconds in every process, streams that are
open included: nobody is believed for longer than `BELIEVED_SECONDS` without a look into PostgreSQL.
"""

import asyncio
import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import TypeVar
from uuid import UUID, uuid4

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
    """The access token; the refresh token lasts for as long as the settings say, and is good once."""


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
                while True:
                    coming = asyncio.ensure_future(anext(items, None))
                    await asyncio.wait({coming, refused}, return_when=asyncio.FIRST_COMPLETED)
                    if not coming.done():
                        coming.cancel()
                        await asyncio.wait({coming})
                        return
                    item = coming.result()
                    if item is None:
                        return
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
        await self._count((address, TRIES_OF_ADDRESS))
        return await self.make_user(email, password, invite=invite, registration=self._settings.registration)

    async def make_user(
        self, email: str, password: str, *, invite: str | None = None, registration: str = "open", admin: bool = False
    ) -> User:
        """The first user is the administrator. Raises RegistrationClosed, BadInvite, EmailTaken."""
        password_hash = await self._passwords.hashed(password)
        async with self._platform.sessions.begin() as session:
            is_admin = admin or await accounts.is_first(session)
            if not is_admin and registration != "open":
                if registration == "closed" or invite is None:
                    raise RegistrationClosed
                taken = await accounts.take_invite(session, sha256(invite))
                if taken is None:
                    raise BadInvite
                is_admin = taken.is_admin
            values = {"id": uuid4(), "email": email, "password_hash": password_hash, "is_admin": is_admin}
            user = await accounts.insert_user(session, **values)
            if user is None:
                raise EmailTaken
            await accounts.insert_profile(session, id=uuid4(), user_id=user.id, name=DEFAULT_PROFILE)
        return user

    async def log_in(self, email: str, password: str, *, address: str, profile: str | None = None) -> Login:
        """Raises BadCredentials, TooManyTries."""
        await self._count(
            (f"{email} {address}", TRIES_OF_ACCOUNT_AND_ADDRESS), (email, TRIES_OF_ACCOUNT), (address, TRIES_OF_ADDRESS)
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

        Raises BadToken.
        """
        login_id, _, secret = token.partition(".")
        if not _is_uuid(login_id):
            raise BadToken
        async with self._platform.sessions.begin() as session:
            found = await accounts.lock_login(session, UUID(login_id))
            if found is None:
                raise BadToken
            login, lately = found
            told, mine = sha256(secret), login.refresh_sha256
            again = lately and login.previous_sha256 is not None and hmac.compare_digest(told, login.previous_sha256)
            good = hmac.compare_digest(told, mine) or again
            fresh = secrets.token_urlsafe(32)
            if good:
                await accounts.rotate_login(session, login.id, refresh_sha256=sha256(fresh), lasts=self._refresh_lasts)
            else:
                await accounts.revoke_login(session, login.id)
        if not good:
            raise BadToken
        return self._login(login.user_id, login.id, fresh)

    async def log_out(self, caller: Caller) -> None:
        """End the log-in that the caller has shown."""
        if caller.proof is None or caller.proof.kind != "login":
            return
        async with self._platform.sessions.alone() as session:
            await accounts.revoke_login(session, UUID(caller.proof.name))
        self._believed.pop(caller.proof, None)

    async def change_password(self, caller: Caller, old: str, new: str, *, address: str) -> None:
        """Every log-in of the caller's ends with it. Raises BadCredentials, TooManyTries, UserNotFound."""
        if caller.user_id is None:
            raise UserNotFound
        await self._count((f"{caller.user_id} {address}", TRIES_OF_ACCOUNT_AND_ADDRESS))
        async with self._platform.sessions.alone() as session:
            user = await accounts.user(session, caller.user_id)
        if user is None or not await self._passwords.fits(old, user.password_hash):
            raise BadCredentials
        password_hash = await self._passwords.hashed(new)
        async with self._platform.sessions.begin() as session:
            await accounts.change_password(session, user.id, password_hash)
            await accounts.revoke_logins(session, user.id)
        self._believed.clear()

    async def _begin(self, user: User, profile: str | None) -> Login:
        login_id, secret = uuid4(), secrets.token_urlsafe(32)
        async with self._platform.sessions.begin() as session:
            found = await accounts.profiles(session, user.id)
            named = next((each for each in found if each.name == (profile or DEFAULT_PROFILE)), None)
            if profile is not None and named is None:
                raise BadCredentials
            await accounts.insert_login(
                session,
                id=login_id,
                user_id=user.id,
                profile_id=None if named is None else named.id,
                refresh_sha256=sha256(secret),
                lasts=self._refresh_lasts,
            )
        return self._login(user.id, login_id, secret)

    def _login(self, user_id: UUID, login_id: UUID, secret: str) -> Login:
        return Login(self._tokens.issue(user_id, login_id), f"{login_id}.{secret}", self._tokens.lasts)

    @property
    def _refresh_lasts(self) -> timedelta:
        return timedelta(days=self._settings.refresh_days)

    async def _count(self, *buckets: tuple[str, int]) -> None:
        """Count a try before anything is looked up. Raises TooManyTries."""
        async with self._platform.sessions.begin() as session:
            await accounts.forget_tries(session)
            counted = [(await accounts.count_try(session, sha256(bucket)), most) for bucket, most in buckets]
        for (tries, seconds), most in counted:
            if tries > most:
                raise TooManyTries(max(1, seconds))


def sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
