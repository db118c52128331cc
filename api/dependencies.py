"""What routes ask for by type: the platform, the hub, and who is calling."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from api.engine_board import EngineBoard
from domain.access import LOCAL_OWNER, PUBLIC_OWNER, Caller
from services.following import Hub
from services.platform import Platform


def get_platform(connection: HTTPConnection) -> Platform:
    platform: Platform = connection.app.state.platform
    return platform


def get_hub(connection: HTTPConnection) -> Hub:
    hub: Hub = connection.app.state.hub
    return hub


def get_board(connection: HTTPConnection) -> EngineBoard:
    board: EngineBoard = connection.app.state.board
    return board


def get_caller(platform: Annotated[Platform, Depends(get_platform)]) -> Caller:
    return Caller(owner=PUBLIC_OWNER if platform.settings.api.insecure_no_auth else LOCAL_OWNER)


PlatformDep = Annotated[Platform, Depends(get_platform)]
BoardDep = Annotated[EngineBoard, Depends(get_board)]
HubDep = Annotated[Hub, Depends(get_hub)]
CallerDep = Annotated[Caller, Depends(get_caller)]
