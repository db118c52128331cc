"""Requests by message: each becomes a job, or is answered with what is wrong with it, once however often it comes.

Nothing here is acknowledged: whoever took the message does that, once these have committed.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncSession

from db import amqp_requests, answers
from db.session import EVERYBODY
from db.tables import AmqpRequest, Job
from domain import audio_requests
from domain.access import Caller
from domain.audio_requests import AudioRequest, Correlation
from domain.errors import EscribaError
from domain.lifecycle import JobOptions
from services import submission
from services.platform import Platform


class Repeated(Exception):
    """Another message was first with this request; raised in a transaction, which it undoes."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message as it came."""

    body: bytes = field(repr=False)
    message_id: str | None = None
    retries: object = None
    """Its header x-retry-count."""
    redelivered: bool = False
    id: UUID = field(default_factory=uuid4)
    """Of the request that it becomes, where it is none that was there."""

    @property
    def retry_count(self) -> int:
        return audio_requests.retries_of(self.body, self.retries)

    @property
    def key(self) -> str:
        return audio_requests.key_of(self.body, self.message_id, self.retry_count)


@dataclass(frozen=True, slots=True)
class Recording:
    """A file that has been opened, read by nobody yet."""

    media: AsyncIterator[bytes]
    filename: str
    mark: str


async def try_before(platform: Platform, incoming: Incoming) -> AmqpRequest | None:
    """The try after which we sent the request around again; its id is the message's, and was made by us."""
    try:
        request_id = UUID(incoming.message_id or "")
    except ValueError:
        return None
    if not incoming.retry_count:
        return None
    async with platform.sessions.alone(owner=EVERYBODY) as session:
        return await amqp_requests.get(session, request_id)


async def find_repeated(platform: Platform, owner: str, incoming: Incoming) -> UUID | None:
    """The request that this message is again, or None where it is one of its own.

    A message without a name is a request of its own once the one with the same words has been answered, unless the
    broker may be sending that very one again, as it never heard that we had it; or we are, as we never heard that
    PostgreSQL had it.
    """
    async with platform.sessions.begin(owner=owner) as session:
        known = await amqp_requests.known(session, owner=owner, key_sha256=incoming.key)
        if known is None:
            return None
        if known.named or known.answered_at is None or incoming.redelivered or known.id == incoming.id:
            return known.id
        await amqp_requests.let_go(session, known.id, owner=owner)
        return None


async def accept(
    platform: Platform,
    caller: Caller,
    incoming: Incoming,
    request: AudioRequest,
    recording: Recording,
    *,
    before: AmqpRequest | None,
) -> UUID | None:
    """Store the recording, then record the job with its request; the request's id, or None where it was repeated.

    Its tries are counted by the message that goes around, so the platform itself tries each job once. Raises what
    `submission.check` and `submission.keep` raise.
    """
    options = JobOptions(engine=platform.settings.engines.default_engine, language=request.language)
    wanted = submission.Submission(options, max_retries=0)
    approved = await submission.check(platform, caller, wanted)
    kept = await submission.keep(platform, caller, recording.media)
    values = _row(platform, caller.owner, incoming, before)

    async def record(session: AsyncSession, job: Job) -> None:
        about = {"job_id": job.id, "body": incoming.body, "file_mark": recording.mark}
        if not await amqp_requests.take(session, **values, **about):
            raise Repeated

    try:
        async with submission.discarding(platform, caller, kept):
            await submission.submit(
                platform,
                caller,
                wanted,
                kept,
                filename=recording.filename,
                parent=None if before is None else before.job_id,
                approved=approved,
                beside=record,
            )
    except Repeated:
        await submission.discard(platform, caller, kept)
        return None
    return UUID(str(values["id"]))


async def refuse(
    platform: Platform, owner: str, incoming: Incoming, error: EscribaError, *, before: AmqpRequest | None = None
) -> UUID | None:
    """Owe an answer that says what is wrong; the request's id, or None where it was repeated."""
    values = _row(platform, owner, incoming, before)
    async with platform.sessions.begin(owner=owner) as session:
        if not await amqp_requests.take(session, **values):
            return None
        await answers.owe_refusal(session, AmqpRequest(**values), str(error))
    return UUID(str(values["id"]))


async def note_acked(platform: Platform, owner: str, request_id: UUID) -> None:
    """The broker was told that the message of this request need not come again."""
    async with platform.sessions.alone(owner=owner) as session:
        await amqp_requests.note_acked(session, request_id, owner=owner)


def _row(platform: Platform, owner: str, incoming: Incoming, before: AmqpRequest | None) -> dict[str, Any]:
    correlation = Correlation.of(incoming.body)
    return {
        "id": incoming.id,
        "owner": owner,
        "first_id": incoming.id if before is None else before.first_id,
        "key_sha256": incoming.key,
        "named": incoming.message_id is not None,
        "attachment_id": correlation.attachment_id,
        "import_batch_id": correlation.import_batch_id,
        "retry_count": incoming.retry_count,
        "model": Path(platform.settings.engines.whisper_model).name,
    }
