"""Who may come in, and for how long that holds."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr, field_validator

from config.fields import AnyCase, Secrets, Section, env

LEAST_KEY_BYTES = 32
"""Of HS256 (RFC 7518 §3.2)."""


class AccountSettings(Section):
    """Accounts."""

    registration: Annotated[Literal["open", "invite", "closed"], AnyCase] = env(
        "REGISTRATION",
        "Who may make an account over HTTP: anybody, whoever was invited, or nobody. `escriba users add` always can.",
        default="invite",
    )
    jwt_key: SecretStr | None = env(
        "JWT_SECRET_KEY",
        "Signs access tokens, at least 32 bytes; needed with AUTH=required, made and kept by `escriba up`.",
        default=None,
        aliases=("GRABADORA_JWT_SECRET_KEY",),
    )
    jwt_previous_keys: Secrets = env(
        "JWT_PREVIOUS_SECRET_KEYS",
        "Keys that signed until lately: their tokens are taken until they expire.",
        default=(),
    )
    access_minutes: Annotated[float, Field(gt=0, le=15)] = env(
        "ACCESS_TOKEN_MIN", "How long an access token holds; a refresh token gets the next.", default=15.0
    )
    refresh_days: PositiveFloat = env(
        "REFRESH_TOKEN_DAYS", "How long somebody stays logged in who does not come back.", default=30.0
    )
    invite_days: PositiveFloat = env("INVITE_DAYS", "How long an invitation holds.", default=7.0)
    max_keys: PositiveInt = env("API_KEYS_MAX", "API keys that one user may have.", default=50)
    monthly_audio_hours: PositiveFloat | None = env(
        "QUOTA_AUDIO_HOURS", "Hours of audio that a user may have transcribed in a month; left out: any.", default=None
    )
    monthly_jobs: PositiveInt | None = env(
        "QUOTA_JOBS", "Jobs that a user may have done in a month; left out: any.", default=None
    )

    @field_validator("jwt_key")
    @classmethod
    def _is_long(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None:
            check_key(key)
        return key

    @field_validator("jwt_previous_keys")
    @classmethod
    def _are_long(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for key in keys:
            check_key(key)
        return keys


def check_key(key: SecretStr) -> None:
    """Raises ValueError where a key can be guessed."""
    value = key.get_secret_value()
    if len(value.encode()) < LEAST_KEY_BYTES:
        raise ValueError(f"is too short to be safe: give it at least {LEAST_KEY_BYTES} random bytes")
    if len(set(value)) < 10:  # "change-me-change-me…" and the like; a random one has some twenty
        raise ValueError("can be guessed: take a random one, as `openssl rand -base64 48` makes it")
