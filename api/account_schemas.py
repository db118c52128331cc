"""What is said about accounts over HTTP."""

from datetime import date, datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.schemas import View, example
from db.account_tables import ApiKey, Profile, User
from domain.access import Scope
from domain.credentials import Email, NewPassword
from domain.text import Plain
from services.accounts import NewKey
from services.doorkeeper import Login

USER_ID = "8f2c1f4e-6f0f-4a55-9a53-0d1f6a1b7c11"
NOW = "2026-11-20T10:00:00Z"


Name = Annotated[Plain, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
KeyScope = Literal[Scope.READ, Scope.WRITE, Scope.INTERACTIVE, Scope.SETTINGS, Scope.ADMIN]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Registration(Body):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"email": "ana@example.org", "password": "correct horse"}]},
    )

    email: Email
    password: NewPassword
    invite: str | None = Field(default=None, max_length=100, description="The token of an invitation.")


class ProfileView(View):
    profile_id: UUID
    name: str

    @classmethod
    def of(cls, profile: Profile) -> Self:
        return cls(profile_id=profile.id, name=profile.name)


class UserView(View):
    model_config = example(
        user_id=USER_ID,
        email="ana@example.org",
        is_admin=False,
        disabled=False,
        monthly_audio_hours=None,
        monthly_jobs=None,
        created_at=NOW,
    )

    user_id: UUID
    email: str
    is_admin: bool
    disabled: bool
    monthly_audio_hours: float | None = Field(description="This user's own quota; null: that of the settings.")
    monthly_jobs: int | None
    created_at: datetime

    @classmethod
    def of(cls, user: User) -> Self:
        seconds = user.monthly_audio_seconds
        return cls(
            user_id=user.id,
            email=user.email,
            is_admin=user.is_admin,
            disabled=user.disabled_at is not None,
            monthly_audio_hours=None if seconds is None else seconds / 3600,
            monthly_jobs=user.monthly_jobs,
            created_at=user.created_at,
        )


class Me(UserView):
    profiles: list[ProfileView]


class Users(View):
    users: list[UserView]


class UserChanges(Body):
    """What is left out stays as it is; a quota that is null is that of the settings."""

    disabled: bool | None = None
    is_admin: bool | None = None
    monthly_audio_hours: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    monthly_jobs: Annotated[int, Field(gt=0, le=2**31 - 1)] | None = None

    def as_changes(self) -> dict[str, Any]:
        said = self.model_dump(exclude_unset=True)
        if "monthly_audio_hours" in said:
            hours = said.pop("monthly_audio_hours")
            said["monthly_audio_seconds"] = None if hours is None else 3600 * hours
        flags = {name: said.pop(name) for name in ("disabled", "is_admin") if name in said}
        return said | {name: value for name, value in flags.items() if value is not None}


class LoginView(View):
    """As OAuth 2.0 has it (RFC 6749 §5.1)."""

    model_config = example(access_token="eyJ…", token_type="bearer", expires_in=900, refresh_token="9b1c….kq…")  # noqa: S106

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105  # no secret
    expires_in: int = Field(description="Seconds.")
    refresh_token: str = Field(description="Good once, for the next pair: POST /auth/refresh.")

    @classmethod
    def of(cls, login: Login) -> Self:
        lasts = int(login.lasts.total_seconds())
        return cls(access_token=login.access_token, expires_in=lasts, refresh_token=login.refresh_token)


class Credentials(Body):
    email: Email
    password: str = Field(max_length=256)


class Refresh(Body):
    refresh_token: str = Field(max_length=200)


class PasswordChange(Body):
    old_password: str = Field(max_length=256)
    new_password: NewPassword


class ProfileBody(Body):
    name: Name


class KeyBody(Body):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "the clinic's app", "scopes": ["jobs:read"]}]}
    )

    name: Name
    scopes: list[KeyScope] = Field(default=[Scope.READ, Scope.WRITE], min_length=1, max_length=len(Scope))
    profile_id: UUID | None = Field(default=None, description="What its jobs are counted under.")
    expires_in_days: Annotated[float, Field(gt=0, le=3650)] | None = None


class KeyView(View):
    key_id: UUID
    name: str
    hint: str = Field(description="The key's first characters.")
    scopes: list[str]
    profile_id: UUID | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="To the hour.")

    @classmethod
    def of(cls, key: ApiKey) -> Self:
        return cls(
            key_id=key.id,
            name=key.name,
            hint=key.hint,
            scopes=list(key.scopes),
            profile_id=key.profile_id,
            created_at=key.created_at,
            expires_at=key.expires_at,
            last_used_at=key.last_used_at,
        )


class KeyWithSecret(KeyView):
    key: str = Field(description="Shown once: keep it.")

    @classmethod
    def with_secret(cls, made: NewKey) -> Self:
        return cls(**KeyView.of(made.row).model_dump(), key=made.key)


class Keys(View):
    keys: list[KeyView]


class InviteBody(Body):
    is_admin: bool = False


class InviteView(View):
    invite: str = Field(description="For POST /users; good for one account.")
    expires_at: datetime


class UsageLine(View):
    month: date = Field(description="Its first day, in UTC.")
    profile: str | None = Field(description="Null: none, or one that is gone.")
    engine: str
    jobs: int = Field(description="Completed ones, and cancelled ones of which something was heard.")
    audio_seconds: float


class UsageView(View):
    lines: list[UsageLine]
    monthly_audio_hours: float | None = Field(description="The quota that holds; null: none.")
    monthly_jobs: int | None
