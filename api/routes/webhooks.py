"""Webhooks over HTTP: endpoints, their secrets, and the log of what was delivered."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from api.dependencies import PlatformDep, SettingsCallerDep
from api.errors import documented
from api.webhook_schemas import (
    DeliveryPage,
    DeliveryView,
    WebhookBody,
    WebhookChanges,
    Webhooks,
    WebhookView,
    WebhookWithSecret,
)
from domain import errors
from domain.announcements import DeliveryState
from domain.webhook_errors import (
    DeliveryErased,
    DeliveryNotFound,
    TooManyWebhooks,
    WebhookHostUnknown,
    WebhookNotActive,
    WebhookNotFound,
    WebhookUrlRefused,
)
from services import webhooks

router = APIRouter(prefix="/api/webhooks", tags=["webhooks"])

URL_REFUSED = (WebhookUrlRefused, WebhookHostUnknown)
NOT_FOUND = (WebhookNotFound, errors.DatabaseUnavailable)


@router.post("", status_code=201, responses=documented(*URL_REFUSED, TooManyWebhooks, errors.DatabaseUnavailable))
async def register(body: WebhookBody, platform: PlatformDep, caller: SettingsCallerDep) -> WebhookWithSecret:
    """Have a URL told when jobs end. Keep the secret: it is shown once, and proves that a delivery is ours."""
    return WebhookWithSecret.of(await webhooks.register(platform, caller, body.url, body.events, body.payload))


@router.get("", responses=documented(errors.DatabaseUnavailable))
async def list_webhooks(platform: PlatformDep, caller: SettingsCallerDep) -> Webhooks:
    found = await webhooks.listed(platform, caller)
    return Webhooks(webhooks=[WebhookView.of(endpoint) for endpoint in found])


@router.get("/{webhook_id}", responses=documented(*NOT_FOUND))
async def read(webhook_id: UUID, platform: PlatformDep, caller: SettingsCallerDep) -> WebhookView:
    return WebhookView.of(await webhooks.read(platform, caller, webhook_id))


@router.patch("/{webhook_id}", responses=documented(*URL_REFUSED, *NOT_FOUND))
async def change(
    webhook_id: UUID, body: WebhookChanges, platform: PlatformDep, caller: SettingsCallerDep
) -> WebhookView:
    """Change a webhook, pause it, or have it active again, which sends what has been waiting."""
    return WebhookView.of(await webhooks.change(platform, caller, webhook_id, body.as_change()))


@router.delete("/{webhook_id}", status_code=204, responses=documented(*NOT_FOUND))
async def delete(webhook_id: UUID, platform: PlatformDep, caller: SettingsCallerDep) -> Response:
    """Delete a webhook with its log and what is owed to it."""
    await webhooks.delete(platform, caller, webhook_id)
    return Response(status_code=204)


@router.post("/{webhook_id}/rotate", responses=documented(*NOT_FOUND))
async def rotate(webhook_id: UUID, platform: PlatformDep, caller: SettingsCallerDep) -> WebhookWithSecret:
    """Make a new secret. Until `previous_secret_until`, deliveries are signed with both."""
    return WebhookWithSecret.of(await webhooks.rotate(platform, caller, webhook_id))


@router.post("/{webhook_id}/test", status_code=202, responses=documented(*NOT_FOUND, WebhookNotActive))
async def try_out(webhook_id: UUID, platform: PlatformDep, caller: SettingsCallerDep) -> DeliveryView:
    """Send a `ping`, which is signed, tried and logged like anything else."""
    return DeliveryView.of(await webhooks.try_out(platform, caller, webhook_id))


@router.get("/{webhook_id}/deliveries", responses=documented(*NOT_FOUND, errors.Invalid))
async def log(
    webhook_id: UUID,
    platform: PlatformDep,
    caller: SettingsCallerDep,
    state: DeliveryState | None = None,
    limit: Annotated[int, Query(ge=1, le=webhooks.LARGEST_PAGE)] = 50,
    cursor: UUID | None = None,
) -> DeliveryPage:
    """What was, or is to be, delivered, newest first, with every try."""
    found = await webhooks.log(platform, caller, webhook_id, limit=limit, cursor=cursor, state=state)
    return DeliveryPage.of(found)


@router.post(
    "/{webhook_id}/deliveries/{delivery_id}/replay",
    status_code=202,
    responses=documented(*NOT_FOUND, DeliveryNotFound, WebhookNotActive, DeliveryErased),
)
async def replay(webhook_id: UUID, delivery_id: UUID, platform: PlatformDep, caller: SettingsCallerDep) -> DeliveryView:
    """Deliver once more, with the same id and the same bytes."""
    return DeliveryView.of(await webhooks.replay(platform, caller, webhook_id, delivery_id))
