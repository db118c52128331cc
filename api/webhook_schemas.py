"""What is said about webhooks over HTTP."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.schemas import View, example
from db.webhook_tables import DeliveryAttempt, WebhookEndpoint
from domain.announcements import Announced, DeliveryState, EndpointState, Payload
from messaging.webhook_url import LONGEST
from services.webhooks import Change, Log, Logged

WEBHOOK_ID, DELIVERY_ID = "5e1c6a0a-8d57-4c83-9c39-5b7e4c1b8f60", "1f0f4f5e-9a39-4b8f-8b0a-3b6f5d7c2a11"

Url = Annotated[str, Field(max_length=LONGEST, description="https://…; has to lead to the public internet.")]
Wanted = Literal[Announced.COMPLETED, Announced.FAILED, Announced.CANCELLED, Announced.ERASED]
Events = Annotated[list[Wanted], Field(min_length=1, max_length=len(Announced), description="What to tell of.")]
HowMuch = Annotated[
    Payload,
    Field(description="`thin`: ids and a status. `full`: also times, language, length, and a failure's reason."),
]


class WebhookBody(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"url": "https://example.com/hooks/escriba", "events": ["job.completed"]}]},
    )

    url: Url
    events: Events = [Announced.COMPLETED, Announced.FAILED, Announced.CANCELLED]
    payload: HowMuch = "thin"


class WebhookChanges(BaseModel):
    """What is left out stays as it is."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"state": "active"}]})

    url: Url | None = None
    events: Events | None = None
    payload: HowMuch | None = None
    state: Literal[EndpointState.ACTIVE, EndpointState.PAUSED] | None = Field(
        default=None, description="`active` also sends what has been waiting."
    )

    def as_change(self) -> Change:
        return Change(url=self.url, events=self.events, payload=self.payload, state=self.state)


WEBHOOK: dict[str, Any] = {
    "webhook_id": WEBHOOK_ID,
    "url": "https://example.com/hooks/escriba",
    "events": ["job.completed"],
    "payload": "thin",
    "state": "active",
    "reason": None,
    "failing_since": None,
    "previous_secret_until": None,
    "created_at": "2026-11-20T10:30:00Z",
    "updated_at": "2026-11-20T10:30:00Z",
}
SECRET = {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwz5Gc7wZ0a1E="}


class WebhookView(View):
    model_config = example(**WEBHOOK)

    webhook_id: UUID
    url: str
    events: list[Announced]
    payload: Payload
    state: EndpointState
    reason: str | None = Field(description="Why it is not active.")
    failing_since: datetime | None = Field(description="Since when nothing has been taken; null after a success.")
    previous_secret_until: datetime | None = Field(description="Until when the secret before signs as well.")
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, endpoint: WebhookEndpoint) -> Self:
        return cls.model_validate(_fields(endpoint))


class WebhookWithSecret(WebhookView):
    model_config = example(**WEBHOOK, **SECRET)

    secret: str = Field(description="Signs what is sent. Shown now and never again.")

    @classmethod
    def of(cls, endpoint: WebhookEndpoint) -> Self:
        return cls.model_validate({**_fields(endpoint), "secret": endpoint.secret})


def _fields(endpoint: WebhookEndpoint) -> dict[str, Any]:
    names = WebhookView.model_fields.keys() - {"webhook_id"}
    return {"webhook_id": endpoint.id, **{name: getattr(endpoint, name) for name in names}}


class Webhooks(View):
    webhooks: list[WebhookView]


class AttemptView(View):
    at: datetime
    status_code: int | None = Field(description="Null where nothing was answered.")
    latency_ms: int
    error: str | None = Field(description="Null where the receiver took it.")

    @classmethod
    def of(cls, attempt: DeliveryAttempt) -> Self:
        return cls(at=attempt.at, status_code=attempt.status_code, latency_ms=attempt.latency_ms, error=attempt.error)


class DeliveryView(View):
    model_config = example(
        delivery_id=DELIVERY_ID,
        message_id="8c4a4f0e-3b52-4f0b-a0f6-8a9f8e2f4c1d",
        event="job.completed",
        job_id="0b8e6a52-3a86-4f0f-9f0e-6f5c3a6f6b1d",
        state="delivered",
        attempts=[{"at": "2026-11-20T10:30:09Z", "status_code": 204, "latency_ms": 41, "error": None}],
        next_attempt_at=None,
        delivered_at="2026-11-20T10:30:09Z",
        created_at="2026-11-20T10:30:08Z",
    )

    delivery_id: UUID
    message_id: UUID = Field(description="The `webhook-id` that the receiver sees, the same over all tries.")
    event: Announced
    job_id: UUID | None = Field(description="Null for a ping.")
    state: DeliveryState
    attempts: list[AttemptView] = Field(description="The last 50, oldest first.")
    next_attempt_at: datetime | None = Field(description="Null where none is to come.")
    delivered_at: datetime | None
    created_at: datetime

    @classmethod
    def of(cls, logged: Logged) -> Self:
        delivery, event = logged.delivery, logged.event
        return cls(
            delivery_id=delivery.id,
            message_id=event.id,
            event=Announced(event.type),
            job_id=event.job_id,
            state=delivery.state,
            attempts=[AttemptView.of(attempt) for attempt in logged.attempts],
            next_attempt_at=delivery.next_at if delivery.state == DeliveryState.PENDING else None,
            delivered_at=delivery.delivered_at,
            created_at=delivery.created_at,
        )


class DeliveryPage(View):
    deliveries: list[DeliveryView]
    next_cursor: UUID | None = Field(description="Pass as `cursor` for the next page; null on the last.")

    @classmethod
    def of(cls, log: Log) -> Self:
        return cls(deliveries=[DeliveryView.of(logged) for logged in log.items], next_cursor=log.next_cursor)
