"""What Prometheus scrapes."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from fastapi.responses import PlainTextResponse
from starlette.requests import HTTPConnection

from api.dependencies import CredentialDep, credential_of, having
from api.scrape import Scrape
from config.metrics import CONTENT_TYPE, is_shown
from domain.access import Scope

router = APIRouter(tags=["health"])

_administrator = having(Scope.ADMIN)


async def get_scrape(connection: HTTPConnection, _: CredentialDep = None) -> Scrape:
    """For whoever shows METRICS_TOKEN, else an administrator. Raises Unauthenticated, BadToken, MissingScope."""
    token = connection.app.state.platform.settings.telemetry.metrics_token
    credential = credential_of(connection) or ""
    if token is None or not is_shown(token.get_secret_value(), credential):
        await _administrator(connection)
    scrape: Scrape = connection.app.state.scrape
    return scrape


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(scrape: Annotated[Scrape, Depends(get_scrape)]) -> Response:
    """What all processes of this machine have measured and how the platform stands, for Prometheus."""
    return Response(await scrape.answer(), media_type=CONTENT_TYPE)
