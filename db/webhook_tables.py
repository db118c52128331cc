"""Webhooks, and what is owed to them and to whoever asked by message."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.tables import NOW, Base
from domain.access import LOCAL_OWNER
from domain.announcements import DeliveryState, EndpointState
from domain.audio_requests import Route


class WebhookEndpoint(Base):
    """Where an owner wants to be told of what."""

    __tablename__ = "webhook_endpoints"
    __table_args__ = (Index("webhook_endpoints_of", "owner", "created_at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(server_default=LOCAL_OWNER)
    url: Mapped[str]
    events: Mapped[list[str]]
    payload: Mapped[str]
    secret: Mapped[str]
    previous_secret: Mapped[str | None]
    """Signs as well until it ends, so that a receiver may change over when it likes."""
    previous_secret_until: Mapped[datetime | None]
    state: Mapped[EndpointState] = mapped_column(Text(), server_default=EndpointState.ACTIVE)
    reason: Mapped[str | None]
    """Why it is not active."""
    failing_since: Mapped[datetime | None]
    """When the first of the failures was behind which there is no success; None where the last try succeeded."""
    given_up: Mapped[int] = mapped_column(server_default="0")
    """Deliveries given up since then."""
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)


class OutboxEvent(Base):
    """An announcement, written in the transaction that makes it true; whoever gets it, gets exactly these bytes."""

    __tablename__ = "outbox_events"
    __table_args__ = (
        Index("outbox_events_once", "job_id", "type", "payload", unique=True),
        Index("outbox_events_by_age", "created_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(server_default=LOCAL_OWNER)
    job_id: Mapped[UUID | None] = mapped_column(ForeignKey("transcript_jobs.id", ondelete="SET NULL"))
    type: Mapped[str]
    payload: Mapped[str]
    body: Mapped[bytes | None]
    """None once its job has been erased."""
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class Delivery(Base):
    """An announcement that is owed to a destination, and how that went."""

    __tablename__ = "deliveries"
    __table_args__ = (
        UniqueConstraint("event_id", "endpoint_id", name="deliveries_once"),
        CheckConstraint("(endpoint_id IS NULL) <> (route IS NULL)", name="deliveries_somewhere"),
        Index("deliveries_due", "next_at", postgresql_where=text("state = 'pending' AND endpoint_id IS NOT NULL")),
        Index("deliveries_due_by_message", "next_at", postgresql_where=text("state = 'pending' AND route IS NOT NULL")),
        Index("deliveries_listed", "endpoint_id", text("created_at DESC"), text("id DESC")),
        Index("deliveries_by_age", "created_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(server_default=LOCAL_OWNER)
    event_id: Mapped[UUID] = mapped_column(ForeignKey("outbox_events.id", ondelete="CASCADE"))
    endpoint_id: Mapped[UUID | None] = mapped_column(ForeignKey("webhook_endpoints.id", ondelete="CASCADE"))
    route: Mapped[Route | None] = mapped_column(Text())
    """Where it goes by message; the other of the two is None."""
    state: Mapped[DeliveryState] = mapped_column(Text(), server_default=DeliveryState.PENDING)
    fence: Mapped[int] = mapped_column(server_default="0")
    """Grows whenever a relay takes it up: one that was thought dead and speaks up late is not heard."""
    attempts: Mapped[int] = mapped_column(server_default="0")
    """Tries whose outcome is known, since the schedule last began."""
    next_at: Mapped[datetime] = mapped_column(server_default=NOW)
    """When it is tried next; while a relay has it, when another may take it over."""
    status_code: Mapped[int | None]
    latency_ms: Mapped[int | None]
    error: Mapped[str | None]
    delivered_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class DeliveryAttempt(Base):
    """One try at a delivery; what was answered is kept but for its body."""

    __tablename__ = "delivery_attempts"

    delivery_id: Mapped[UUID] = mapped_column(ForeignKey("deliveries.id", ondelete="CASCADE"), primary_key=True)
    n: Mapped[int] = mapped_column(primary_key=True)
    """The fence under which it was made."""
    owner: Mapped[str] = mapped_column(server_default=LOCAL_OWNER)
    at: Mapped[datetime] = mapped_column(server_default=NOW)
    status_code: Mapped[int | None]
    latency_ms: Mapped[int]
    error: Mapped[str | None]
