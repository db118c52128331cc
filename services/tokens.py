"""Access tokens: JWTs signed and read by nobody but us, which is why there is one algorithm and no choice of it."""

import base64
import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import jwt

from config.account_settings import AccountSettings
from domain.account_errors import BadToken

ALGORITHM = "HS256"
NAME = "escriba"
ACCESS = "access"
CLAIMS = ("exp", "nbf", "iat", "aud", "iss", "sub", "jti", "typ", "sid")
LARGEST_GENERATION = 2**31 - 1
LONGEST = 4096
"""Characters; ours have some 450."""


@dataclass(frozen=True, slots=True)
class Claims:
    login_id: UUID
    expires_at: datetime


class Tokens:
    """Issues with the first key, and takes what any of the keys has signed."""

    def __init__(self, settings: AccountSettings) -> None:
        assert settings.jwt_key is not None, "the settings see to it"
        keys = [key.get_secret_value().encode() for key in (settings.jwt_key, *settings.jwt_previous_keys)]
        self._keys = {_name(key): key for key in keys}
        self._signs = _name(keys[0])
        self.lasts = timedelta(minutes=settings.access_minutes)

    def issue(self, user_id: UUID, login_id: UUID) -> str:
        now = datetime.now(UTC)
        claims = {
            "iss": NAME,
            "aud": NAME,
            "sub": str(user_id),
            "sid": str(login_id),
            "jti": uuid4().hex,
            "typ": ACCESS,
            "iat": now,
            "nbf": now,
            "exp": now + self.lasts,
        }
        return jwt.encode(claims, self._keys[self._signs], ALGORITHM, headers={"kid": self._signs})

    def refresh_token(self, login_id: UUID, generation: int) -> str:
        """The same whenever it is asked for, so that two tabs that refresh at once are told the same."""
        return f"{login_id}.{generation}.{_mac(self._keys[self._signs], login_id, generation)}"

    def read_refresh(self, token: str) -> tuple[UUID, int]:
        """The log-in, and how many times it had been refreshed. Raises BadToken."""
        try:
            login, number, mac = token.split(".")
            login_id, generation = UUID(login), int(number)
        except ValueError as error:
            raise BadToken from error
        good = [
            hmac.compare_digest(mac.encode(), _mac(key, login_id, generation).encode()) for key in self._keys.values()
        ]
        if not any(good) or generation > LARGEST_GENERATION:
            raise BadToken
        return login_id, generation

    def read(self, token: str) -> Claims:
        """Raises BadToken."""
        try:
            claims = self._verified(token)
            return Claims(UUID(claims["sid"]), datetime.fromtimestamp(claims["exp"], UTC))
        except (jwt.InvalidTokenError, ValueError, TypeError, AttributeError) as error:
            raise BadToken from error

    def _verified(self, token: str) -> dict[str, Any]:
        if len(token) > LONGEST:
            raise jwt.InvalidTokenError
        header = jwt.get_unverified_header(token)
        key = self._keys.get(header.get("kid", ""))
        if key is None or header.keys() != {"alg", "kid", "typ"}:  # no jku, no jwk, no crit
            raise jwt.InvalidTokenError
        claims = jwt.decode(
            token, key, algorithms=[ALGORITHM], audience=NAME, issuer=NAME, options={"require": list(CLAIMS)}
        )
        if claims["typ"] != ACCESS:
            raise jwt.InvalidTokenError
        return claims


def _mac(key: bytes, login_id: UUID, generation: int) -> str:
    said = hmac.digest(key, f"refresh {login_id} {generation}".encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(said).decode().rstrip("=")


def _name(key: bytes) -> str:
    """Of a key, the same in every process, and no help in guessing it."""
    return hashlib.sha256(b"kid:" + key).hexdigest()[:8]
