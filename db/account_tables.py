"""Who may come in: users, what they prove themselves with, and what they have used."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.tables import NOW, Base


class User(Base):
    """Somebody with an account. What they own carries their id as its `owner`."""

    __tablename__ = "users"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    """In lower case."""
    password_hash: Mapped[str]
    is_admin: Mapped[bool] = mapped_column(server_default=text("false"))
    disabled_at: Mapped[datetime | None]
    monthly_audio_seconds: Mapped[float | None]
    monthly_jobs: Mapped[int | None]
    """Quotas of this user's own; None: those of the settings."""
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class Profile(Base):
    """A hat that a user wears, under which jobs are counted: a clinic, a podcast."""

    __tablename__ = "profiles"
    __table_args__ = (UniqueConstraint("user_id", "name", name="profiles_once"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class LoginSession(Base):
    """One log-in, for as long as it is refreshed. Nothing that it could be forged with is kept."""

    __tablename__ = "login_sessions"
    __table_args__ = (
        Index("login_sessions_of", "user_id"),
        Index("login_sessions_by_end", "expires_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    profile_id: Mapped[UUID | None] = mapped_column(ForeignKey("profiles.id", ondelete="SET NULL"))
    generation: Mapped[int] = mapped_column(server_default="1")
    """Of the refresh token that is good now."""
    refreshed_at: Mapped[datetime] = mapped_column(server_default=NOW)
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class ApiKey(Base):
    """What a machine proves itself with. A random key of 256 bits needs no slow hash."""

    __tablename__ = "api_keys"
    __table_args__ = (Index("api_keys_of", "user_id", "created_at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    profile_id: Mapped[UUID | None] = mapped_column(ForeignKey("profiles.id", ondelete="SET NULL"))
    name: Mapped[str]
    key_sha256: Mapped[str] = mapped_column(unique=True)
    hint: Mapped[str]
    """The key's first characters, by which its owner knows it again."""
    scopes: Mapped[list[str]]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    """To the hour."""
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class Invite(Base):
    """Lets one person make an account."""

    __tablename__ = "invites"

    token_sha256: Mapped[str] = mapped_column(primary_key=True)
    invited_by: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    is_admin: Mapped[bool] = mapped_column(server_default=text("false"))
    expires_at: Mapped[datetime]


class LoginTries(Base):
    """How often somebody has tried a password within a minute. Hashed: nobody needs to know whose."""

    __tablename__ = "login_tries"

    bucket_sha256: Mapped[str] = mapped_column(primary_key=True)
    since: Mapped[datetime] = mapped_column(server_default=NOW)
    tries: Mapped[int] = mapped_column(server_default="1")


class Usage(Base):
    """What one completed job has used; written in the transaction that completes it, and kept when it is erased."""

    __tablename__ = "usage"
    __table_args__ = (Index("usage_of", "owner", "month"),)

    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    owner: Mapped[str]
    profile_id: Mapped[UUID | None]
    engine: Mapped[str]
    month: Mapped[date]
    """Its first day, in UTC."""
    audio_seconds: Mapped[float]
