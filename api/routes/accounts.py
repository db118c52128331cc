"""Accounts: making one, logging in, keys for machines, what was used; and what administrators see to."""

from datetime import date, timedelta
from ipaddress import ip_address, ip_network
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Cookie, Depends, Form, Query, Request, Response

from api.account_schemas import (
    Credentials,
    InviteBody,
    InviteView,
    KeyBody,
    Keys,
    KeyView,
    KeyWithSecret,
    LoginView,
    Me,
    PasswordChange,
    ProfileBody,
    ProfileView,
    Refresh,
    Registration,
    UsageLine,
    UsageView,
    UserChanges,
    Users,
    UserView,
)
from api.dependencies import (
    ACCESS_COOKIE,
    REFRESH_COOKIE,
    AccountDep,
    AdminDep,
    DoorkeeperDep,
    PlatformDep,
    credential_of,
    get_doorkeeper,
)
from api.errors import documented
from domain import account_errors, errors
from domain.text import Plain
from services import accounts, usage
from services.doorkeeper import Login

router = APIRouter(tags=["accounts"], dependencies=[Depends(get_doorkeeper)])

TRIES = (account_errors.TooManyTries, errors.DatabaseUnavailable)
REFRESH_PATH = "/auth"
"""The refresh cookie goes nowhere else."""


def _address(request: Request) -> str:
    """Of the caller; of IPv6 the network, as one caller has all the addresses in it."""
    host = request.client.host if request.client else ""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    return str(ip_network((address, 64), strict=False)) if address.version == 6 else host


# Coming in


@router.post(
    "/users",
    status_code=201,
    responses=documented(
        account_errors.RegistrationClosed, account_errors.BadInvite, account_errors.EmailTaken, errors.Invalid, *TRIES
    ),
)
async def register(body: Registration, request: Request, doorkeeper: DoorkeeperDep) -> UserView:
    """Make an account. REGISTRATION says who may; the first administrator is made by `escriba users add --admin`."""
    address = _address(request)
    return UserView.of(await doorkeeper.register(body.email, body.password, invite=body.invite, address=address))


@router.post("/auth/token", responses=documented(account_errors.BadCredentials, errors.Invalid, *TRIES))
async def token(
    request: Request,
    response: Response,
    doorkeeper: DoorkeeperDep,
    username: Annotated[Plain, Form(max_length=254, description="The email address.")],
    password: Annotated[str, Form(max_length=256)],
    profile: Annotated[Plain | None, Form(max_length=100, description="What jobs are counted under.")] = None,
) -> LoginView:
    """Log in: OAuth 2.0's password form. Send the access token as `Authorization: Bearer …`."""
    response.headers["Cache-Control"] = "no-store"
    email = username.strip().lower()
    return LoginView.of(await doorkeeper.log_in(email, password, address=_address(request), profile=profile))


@router.post("/auth/refresh", responses=documented(account_errors.BadToken, errors.DatabaseUnavailable))
async def refresh(body: Refresh, response: Response, doorkeeper: DoorkeeperDep) -> LoginView:
    """The next pair. A refresh token that is used twice ends the log-in: one of the two who had it had stolen it."""
    response.headers["Cache-Control"] = "no-store"
    return LoginView.of(await doorkeeper.refresh(body.refresh_token))


@router.post(
    "/auth/login", status_code=204, responses=documented(account_errors.BadCredentials, errors.Invalid, *TRIES)
)
async def log_in(body: Credentials, request: Request, doorkeeper: DoorkeeperDep) -> Response:
    """Log in as a web page does: the tokens go into cookies that no script can read."""
    login = await doorkeeper.log_in(body.email, body.password, address=_address(request))
    return _with_cookies(request, login)


@router.post(
    "/auth/login/refresh", status_code=204, responses=documented(account_errors.BadToken, errors.DatabaseUnavailable)
)
async def refresh_cookies(
    request: Request, doorkeeper: DoorkeeperDep, token: Annotated[str | None, Cookie(alias=REFRESH_COOKIE)] = None
) -> Response:
    """The same for a web page."""
    if token is None:
        raise account_errors.BadToken
    return _with_cookies(request, await doorkeeper.refresh(token))


def _with_cookies(request: Request, login: Login) -> Response:
    response = Response(status_code=204, headers={"Cache-Control": "no-store"})
    secure = request.url.scheme == "https"
    lasts = int(login.lasts.total_seconds())
    response.set_cookie(
        ACCESS_COOKIE, login.access_token, max_age=lasts, httponly=True, secure=secure, samesite="strict"
    )
    response.set_cookie(
        REFRESH_COOKIE,
        login.refresh_token,
        max_age=int(login.refresh_lasts.total_seconds()),
        path=REFRESH_PATH,
        httponly=True,
        secure=secure,
        samesite="strict",
    )
    return response


@router.post("/auth/logout", status_code=204, responses=documented(errors.DatabaseUnavailable))
async def log_out(
    request: Request, doorkeeper: DoorkeeperDep, token: Annotated[str | None, Cookie(alias=REFRESH_COOKIE)] = None
) -> Response:
    """End this log-in, by either of its tokens: here at once, everywhere within seconds, streams included."""
    await doorkeeper.log_out(access=credential_of(request), refresh=token)
    response = Response(status_code=204)
    response.delete_cookie(ACCESS_COOKIE)
    response.delete_cookie(REFRESH_COOKIE, path=REFRESH_PATH)
    return response


# What is one's own


@router.get("/users/me", responses=documented(account_errors.UserNotFound, errors.DatabaseUnavailable))
async def me(platform: PlatformDep, caller: AccountDep) -> Me:
    user, profiles = await accounts.me(platform, caller)
    return Me(**UserView.of(user).model_dump(), profiles=[ProfileView.of(profile) for profile in profiles])


@router.post(
    "/users/me/password", status_code=204, responses=documented(account_errors.BadCredentials, errors.Invalid, *TRIES)
)
async def change_password(
    body: PasswordChange, request: Request, caller: AccountDep, doorkeeper: DoorkeeperDep
) -> Response:
    """Every log-in ends with it; API keys go on."""
    await doorkeeper.change_password(caller, body.old_password, body.new_password, address=_address(request))
    return Response(status_code=204)


@router.post(
    "/users/me/profiles",
    status_code=201,
    responses=documented(account_errors.ProfileTaken, account_errors.TooManyProfiles, errors.Invalid),
)
async def add_profile(body: ProfileBody, platform: PlatformDep, caller: AccountDep) -> ProfileView:
    """A name that jobs are counted under; log in with `profile`, or give it to an API key."""
    return ProfileView.of(await accounts.add_profile(platform, caller, body.name))


@router.delete("/users/me/profiles/{profile_id}", status_code=204, responses=documented(account_errors.ProfileNotFound))
async def delete_profile(profile_id: UUID, platform: PlatformDep, caller: AccountDep) -> Response:
    """Jobs stay, and stay counted, under no profile."""
    await accounts.delete_profile(platform, caller, profile_id)
    return Response(status_code=204)


@router.post(
    "/users/me/keys",
    status_code=201,
    responses=documented(
        account_errors.TooManyKeys, account_errors.MissingScope, account_errors.ProfileNotFound, errors.Invalid
    ),
)
async def add_key(body: KeyBody, platform: PlatformDep, caller: AccountDep) -> KeyWithSecret:
    """A key for a machine: `Authorization: Bearer esc_…`, or `X-API-Key`. It is shown once."""
    lasts = None if body.expires_in_days is None else timedelta(days=body.expires_in_days)
    made = await accounts.add_key(platform, caller, body.name, body.scopes, profile_id=body.profile_id, lasts=lasts)
    return KeyWithSecret.with_secret(made)


@router.get("/users/me/keys", responses=documented(errors.DatabaseUnavailable))
async def keys(platform: PlatformDep, caller: AccountDep) -> Keys:
    return Keys(keys=[KeyView.of(key) for key in await accounts.keys(platform, caller)])


@router.delete("/users/me/keys/{key_id}", status_code=204, responses=documented(account_errors.KeyNotFound))
async def revoke_key(key_id: UUID, platform: PlatformDep, caller: AccountDep) -> Response:
    await accounts.revoke_key(platform, caller, key_id)
    return Response(status_code=204)


@router.get("/users/me/usage", responses=documented(errors.DatabaseUnavailable))
async def used(
    platform: PlatformDep,
    caller: AccountDep,
    since: Annotated[date | None, Query(description="From this month on; left out: all.")] = None,
) -> UsageView:
    """Completed jobs and seconds of audio, by month, profile and engine."""
    quota = await usage.quota_of(platform, caller)
    return UsageView(
        lines=[
            UsageLine.model_validate(line, from_attributes=True)
            for line in await usage.lines(platform, caller, since=since)
        ],
        monthly_audio_hours=None if quota.audio_seconds is None else quota.audio_seconds / 3600,
        monthly_jobs=quota.jobs,
    )


# Administrators


@router.get("/users", responses=documented(account_errors.MissingScope, errors.DatabaseUnavailable))
async def list_users(
    platform: PlatformDep,
    _: AdminDep,
    limit: Annotated[int, Query(ge=1, le=accounts.LARGEST_PAGE)] = 50,
    after: Annotated[Plain | None, Query(description="The last email address of the page before.")] = None,
) -> Users:
    return Users(
        users=[UserView.of(user) for user in await accounts.users(platform.sessions, limit=limit, after=after)]
    )


@router.patch(
    "/users/{user_id}",
    responses=documented(
        account_errors.MissingScope, account_errors.UserNotFound, account_errors.LastAdmin, errors.Invalid
    ),
)
async def change_user(user_id: UUID, body: UserChanges, platform: PlatformDep, _: AdminDep) -> UserView:
    """Disable or enable a user, make an administrator, set quotas."""
    return UserView.of(await accounts.change_user(platform.sessions, user_id, body.as_changes()))


@router.post("/invites", status_code=201, responses=documented(account_errors.MissingScope, errors.DatabaseUnavailable))
async def invite(body: InviteBody, platform: PlatformDep, caller: AdminDep) -> InviteView:
    """Let one person make an account."""
    made = await accounts.invite(platform.sessions, platform.settings.accounts, caller.user_id, is_admin=body.is_admin)
    return InviteView(invite=made.token, expires_at=made.expires_at)
