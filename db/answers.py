"""What is owed to requests by message: an answer to the last try, or the request itself for another one.

Each try is owed one thing, under its own id. The caller owns the transaction.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import bindparam, exists, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from db.outbox import TAKEN_UP, WITHOUT_SYNC, Owed
from db.tables import AmqpRequest, Job, Transcript
from db.webhook_tables import Delivery, OutboxEvent
from domain import audio_requests
from domain.announcements import DeliveryState
from domain.audio_requests import CANCELLED, ERASED, MAX_RETRIES, MAY_PASS, Correlation, Route
from domain.lifecycle import JobState

PAYLOAD = "message"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwedByMessage(Owed):
    route: Route
    result_key: str | None
    """The object with the text that the body lacks."""
    request: bytes | None = field(repr=False)
    file_mark: str | None


IS_WAITED_FOR = exists().where(AmqpRequest.job_id == bindparam("asked_by"))
"""Did job `asked_by` come by message? For the RETURNING of another statement, as `outbox.IS_LISTENED_TO`."""


async def owe(session: AsyncSession, job: Job) -> None:
    """Owe the answer to the request that `job` was a try at, or another try where that may help and is left."""
    request = (await session.scalars(select(AmqpRequest).where(AmqpRequest.job_id == job.id))).one()
    code = (job.error_details or {}).get("code")
    again = job.state == JobState.FAILED and code in MAY_PASS and request.retry_count < MAX_RETRIES
    if again and request.body is not None:
        await _owe(session, request, Route.RETRY, audio_requests.next_try(request.body, request.retry_count + 1))
    else:
        await _owe(session, request, Route.RESULT, await _answer(session, request, job))


async def owe_refusal(session: AsyncSession, request: AmqpRequest, message: str) -> None:
    """Owe the answer to a request that never became a job."""
    await _owe(session, request, Route.RESULT, _failure(request, message))


async def _answer(session: AsyncSession, request: AmqpRequest, job: Job) -> bytes:
    if job.state != JobState.COMPLETED:
        return _failure(request, CANCELLED if job.state == JobState.CANCELLED else (job.error_details or {})["message"])
    heard = select(Transcript.model, Transcript.engine, Transcript.duration).where(Transcript.id == job.transcript_id)
    model, engine, duration = (await session.execute(heard)).one()
    name = model or engine or request.model
    return audio_requests.success(_correlation(request), model=name, duration=duration or 0)


def _failure(request: AmqpRequest, message: str) -> bytes:
    return audio_requests.failure(_correlation(request), model=request.model, message=message)


def _correlation(request: AmqpRequest) -> Correlation:
    return Correlation(request.attachment_id, request.import_batch_id)


async def _owe(session: AsyncSession, request: AmqpRequest, route: Route, body: bytes) -> None:
    about = {"owner": request.owner, "job_id": request.job_id}
    event = {"id": request.id, "type": route, "payload": PAYLOAD, "body": body, **about}
    await session.execute(insert(OutboxEvent).values(event))
    delivery = {"id": uuid4(), "owner": request.owner, "event_id": request.id, "route": route}
    await session.execute(insert(Delivery).values(delivery))


async def forget_job(session: AsyncSession, job_id: UUID) -> None:
    """Leave nothing of an erased job in what is owed of it: its request is still answered, by that it was erased."""
    event = update(OutboxEvent).where(OutboxEvent.job_id == job_id, OutboxEvent.payload == PAYLOAD)
    request = (await session.scalars(select(AmqpRequest).where(AmqpRequest.job_id == job_id))).one_or_none()
    if request is None:  # it did not come by message, or was forgotten, as it was answered long ago
        await session.execute(event.values(body=None), execution_options=WITHOUT_SYNC)
        return
    bare = audio_requests.without_path(_correlation(request), request.retry_count + 1)
    for route, body in ((Route.RESULT, _failure(request, ERASED)), (Route.RETRY, bare)):
        told = event.where(OutboxEvent.type == route).values(body=body)
        await session.execute(told, execution_options=WITHOUT_SYNC)
    emptied = update(AmqpRequest).where(AmqpRequest.id == request.id).values(body=None, file_mark=None)
    await session.execute(emptied, execution_options=WITHOUT_SYNC)


async def take_up(session: AsyncSession, *, lease: timedelta, limit: int) -> list[OwedByMessage]:
    """Take up to `limit` due deliveries, oldest first. What another relay is just taking is passed over."""
    due = (
        select(Delivery.id)
        .join(AmqpRequest, AmqpRequest.id == Delivery.event_id)
        .where(Delivery.state == DeliveryState.PENDING, Delivery.next_at <= func.now(), Delivery.route.is_not(None))
        .order_by(Delivery.next_at)
        .limit(limit)
        .with_for_update(skip_locked=True, of=Delivery)
    )
    result_key = select(Job.result_key).where(Job.id == OutboxEvent.job_id).scalar_subquery()
    statement = (
        update(Delivery)
        .where(Delivery.id.in_(due), Delivery.event_id == OutboxEvent.id, AmqpRequest.id == OutboxEvent.id)
        .values(fence=Delivery.fence + 1, next_at=func.now() + lease)
        .returning(
            *TAKEN_UP,
            Delivery.route,
            result_key.label("result_key"),
            AmqpRequest.body.label("request"),
            AmqpRequest.file_mark,
        )
    )
    rows = (await session.execute(statement, execution_options=WITHOUT_SYNC)).mappings()
    return [_owed(dict(row)) for row in rows]


def _owed(row: dict[str, Any]) -> OwedByMessage:
    return OwedByMessage(**{**row, "route": Route(row["route"])})
