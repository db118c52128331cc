"""What routes ask for by type: the platform, the hub, and who is calling.

Who may call is decided here and nowhere else: `CallerDep` takes the scope to read for a GET and a WebSocket, and the
scope to write for everything else; other scopes have dependencies of their own. A route that names none is for
everybody, and tests/api/test_identities.py lists those.

All of them are coroutines, though most wait for nothing: FastAPI sends a plain function to a thread.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Annotated, TypeVar
from uuid import UUID

from fastapi import Depends, Security
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection

from api.engine_board import EngineBoard
from config.settings import ApiSettings
from domain.access import LOCAL_OWNER, PERSONAL, PUBLIC_OWNER, Caller, Scope
from domain.account_errors import MissingScope, Unauthenticated
from domain.errors import NotFound
from services import tickets
from services.doorkeeper import Doorkeeper
from services.following import Hub
from services.platform import Platform

Item = TypeVar("Item")

ACCESS_COOKIE, REFRESH_COOKIE = "escriba_access", "escriba_refresh"


async def get_platform(connection: HTTPConnection) -> Platform:
    platform: Platform = connection.app.state.platform
    return platform


async def get_hub(connection: HTTPConnection) -> Hub:
    hub: Hub = connection.app.state.hub
    return hub


async def get_board(connection: HTTPConnection) -> EngineBoard:
    board: EngineBoard = connection.app.state.board
    return board


async def get_doorkeeper(connection: HTTPConnection) -> Doorkeeper:
    """Raises NotFound where nobody is asked who they are."""
    return _doorkeeper(connection)


def _doorkeeper(connection: HTTPConnection) -> Doorkeeper:
    doorkeeper: Doorkeeper | None = connection.app.state.doorkeeper
    if doorkeeper is None:
        raise NotFound("there are no accounts here: the platform runs with AUTH=off")
    return doorkeeper


PlatformDep = Annotated[Platform, Depends(get_platform)]
BoardDep = Annotated[EngineBoard, Depends(get_board)]
HubDep = Annotated[Hub, Depends(get_hub)]
DoorkeeperDep = Annotated[Doorkeeper, Depends(get_doorkeeper)]


async def admitted(connection: HTTPConnection) -> Caller:
    """Whoever calls, whatever they may. Raises Unauthenticated, BadToken."""
    settings: ApiSettings = connection.app.state.platform.settings.api
    if settings.auth == "off":
        public = settings.insecure_no_auth
        return Caller(PUBLIC_OWNER) if public else Caller(LOCAL_OWNER, PERSONAL | {Scope.ADMIN})
    credential = credential_of(connection)
    if not credential:
        raise Unauthenticated
    return await _doorkeeper(connection).admit(credential)


def credential_of(connection: HTTPConnection) -> str | None:
    """From a header, else from the cookie of a browser. Never from the URL, which logs and histories keep."""
    scheme, _, bearer = connection.headers.get("Authorization", "").partition(" ")
    if scheme:
        return bearer.strip() if scheme.lower() == "bearer" else None
    return connection.headers.get("X-API-Key") or connection.cookies.get(ACCESS_COOKIE)


def by_method(connection: HTTPConnection) -> Scope:
    reads = connection.scope["type"] == "websocket" or connection.scope["method"] in ("GET", "HEAD")
    return Scope.READ if reads else Scope.WRITE


class Credential(SecurityBase):
    """Says in the OpenAPI document that a route asks who calls. What was shown is read elsewhere."""

    model = HTTPBearer(bearerFormat="JWT, or an API key", description="Needed with AUTH=required.")
    scheme_name = "credential"

    async def __call__(self) -> None: ...


CredentialDep = Annotated[None, Security(Credential())]


def having(scope: Scope | None = None) -> Callable[..., Awaitable[Caller]]:
    """A caller with this scope, or with the one that the method takes."""

    async def get_caller(connection: HTTPConnection, _: CredentialDep = None) -> Caller:
        caller, needed = await admitted(connection), scope or by_method(connection)
        if needed not in caller.scopes:
            raise MissingScope(needed)
        return caller

    return get_caller


get_caller = having()


def while_allowed(connection: HTTPConnection, caller: Caller, items: AsyncGenerator[Item]) -> AsyncGenerator[Item]:
    """What a caller is told over a long time, until their log-in or key is good no more."""
    return items if caller.proof is None else _doorkeeper(connection).while_good(caller.proof, items)


CallerDep = Annotated[Caller, Depends(get_caller)]


async def get_follower(
    connection: HTTPConnection, job_id: UUID, _: CredentialDep = None, ticket: str | None = None
) -> Caller:
    """Who may follow a job: whoever the ticket was given to, else the caller."""
    if ticket is None:
        return await get_caller(connection)
    return await tickets.redeem(connection.app.state.platform, ticket, job_id)


FollowerDep = Annotated[Caller, Depends(get_follower)]
ReaderDep = Annotated[Caller, Depends(having(Scope.READ))]
SettingsCallerDep = Annotated[Caller, Depends(having(Scope.SETTINGS))]
AccountDep = Annotated[Caller, Depends(having(Scope.ACCOUNT))]
AdminDep = Annotated[Caller, Depends(having(Scope.ADMIN))]
