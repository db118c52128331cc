"""Recordings that are sent to the store in parts, past the API, by any number of processes and after any break.

The job is there from the beginning and waits (`services.uploads`); it is run once all of its recording is there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncSession

from db import sendings
from db.tables import Job, Sending, Transcript
from domain.access import Caller
from domain.errors import DatabaseUnavailable, EmptyMedia, EscribaError, JobNotFound, ObjectNotFound, TooLarge
from domain.intake_errors import PartsMissing, TooManyUploads, UploadNotFound
from domain.lifecycle import JobOptions, JobState
from domain.recording_errors import NotPending
from services import ending, once, reading, submission, uploads
from services.platform import Platform
from services.submission import Receipt, Submission
from storage import layout
from storage.contract import StoredObject

MIB = 1 << 20
LEAST_PART_BYTES = 16 * MIB
"""What is sent again at most after a break; S3 wants 5 MiB at least."""

USUAL_PARTS = 100
"""Beyond so many, parts grow rather than their number, and with it the answer that has a URL for each."""

LINK_LASTS = timedelta(minutes=15)

GONE = frozenset({JobState.CANCELLED, JobState.EXPIRED, JobState.PURGED})


@dataclass(frozen=True, slots=True)
class Part:
    number: int
    offset: int
    size_bytes: int
    url: str | None
    """Where to PUT it, absolute or a path of our own API; None where it is there already."""


@dataclass(frozen=True, slots=True)
class Upload:
    job: Job
    size_bytes: int
    part_bytes: int
    parts: Sequence[Part]
    """None once the job has been run."""
    links_end_at: datetime


async def begin(
    platform: Platform,
    caller: Caller,
    wanted: Submission,
    *,
    size_bytes: int,
    digest: str | None,
    filename: str | None,
    key: once.Key | None = None,
) -> Upload:
    """Record the job and say where its parts go; whatever can be refused is refused now, before the first byte.

    `digest` is the sha256 of the whole. With a key that was answered before, that upload as it stands. A crash in
    between leaves a sending that no row knows, which the sweep for unfinished ones takes. Raises EmptyMedia, TooLarge,
    TooManyUploads, IdempotencyKeyReused and what `submission.check` raises.
    """
    limits = platform.settings
    if size_bytes == 0:
        raise EmptyMedia("the file is empty; record or export it again")
    if size_bytes > limits.api.max_file_size_bytes:
        raise TooLarge(limits.api.max_file_size_bytes)
    said = {"size": size_bytes, "sha256": digest, "filename": filename}
    request = once.fingerprint(sends=said, **wanted.identity)
    if key is not None and (answer := await once.answer_before(platform, caller, key, request)):
        return await read(platform, caller, UUID(answer["job_id"]))
    await submission.check(platform, caller, wanted)
    job_id = uuid4()
    name = await platform.store.begin_parts(layout.source(caller.owner, job_id))

    async def keep(session: AsyncSession, job: Job) -> None:
        if await sendings.count_open(session, owner=caller.owner) >= limits.uploads.max_open:
            raise TooManyUploads(limits.uploads.max_open)
        sent = {"size_bytes": size_bytes, "part_bytes": part_bytes_of(size_bytes), "sha256": digest}
        await sendings.keep(session, job, name=name, **sent)

    try:
        receipt = await uploads.expect(
            platform, caller, job_id, filename=filename, wanted=wanted, also=keep, key=key, request=request
        )
    except once.AnsweredBefore:  # by a request that ran beside this one
        await platform.store.drop_parts(layout.source(caller.owner, job_id), name)
        return await begin(platform, caller, wanted, size_bytes=size_bytes, digest=digest, filename=filename, key=key)
    except EscribaError as error:
        if not isinstance(error, DatabaseUnavailable):  # then the row may be there
            await platform.store.drop_parts(layout.source(caller.owner, job_id), name)
        raise
    job, _, sent = await _find(platform, caller, receipt.job_id)
    return await _upload(platform, job, sent, there={})


def part_bytes_of(size_bytes: int) -> int:
    """As much as makes at most so many parts, in whole MiB."""
    return max(LEAST_PART_BYTES, -(-size_bytes // (USUAL_PARTS * MIB)) * MIB)


async def read(platform: Platform, caller: Caller, job_id: UUID) -> Upload:
    """An upload as it stands, with new URLs for what is missing. Raises UploadNotFound, StorageUnavailable."""
    job, _, sent = await _find(platform, caller, job_id)
    there: Mapping[int, int] = {}
    if job.state == JobState.PENDING:
        try:
            there = await platform.store.parts(layout.source(caller.owner, job_id), sent.name)
        except ObjectNotFound:  # they have been joined, by a request that broke off behind it
            there = dict(enumerate(_sizes(sent), start=1))
    return await _upload(platform, job, sent, there)


async def _upload(platform: Platform, job: Job, sent: Sending, there: Mapping[int, int]) -> Upload:
    sizes = _sizes(sent) if job.state == JobState.PENDING else []
    parts = [await _part(platform, job, sent, number, size, there) for number, size in enumerate(sizes, start=1)]
    return Upload(job, sent.size_bytes, sent.part_bytes, parts, datetime.now(UTC) + LINK_LASTS)


async def complete(platform: Platform, caller: Caller, job_id: UUID) -> Receipt:
    """Join the parts and run the job. Asked again, the same job is answered for.

    Where no sha256 was said, it is computed now; a worker holds the recording against it in any case. A crash behind
    the joining leaves an upload that can be completed again. Raises UploadNotFound, PartsMissing, NotPending once it
    has been given up, and what `uploads.run` raises.
    """
    job, transcript, sent = await _find(platform, caller, job_id)
    if job.state in GONE:
        raise NotPending(job.state)
    if job.state != JobState.PENDING:
        return Receipt(job.id, job.transcript_id, job.engine, job.state, job.message or "", replayed=True)
    stored = await _join(platform, caller, job, sent)
    wanted = Submission(
        JobOptions.model_validate(job.engine_params),
        session_id=transcript.session_id,
        delete_after_seconds=job.delete_after_seconds,
    )
    try:
        return await uploads.run(platform, caller, job_id, wanted, stored=stored)
    except JobNotFound:  # erased while the parts were being joined
        await platform.store.delete(layout.source(caller.owner, job_id))
        raise
    except NotPending:  # another request was first
        return await complete(platform, caller, job_id)


async def give_up(platform: Platform, caller: Caller, job_id: UUID) -> Job:
    """Cancel an upload, and delete what has come of it. Raises UploadNotFound, NotPending."""
    job, _, _ = await _find(platform, caller, job_id)
    if job.state not in (JobState.PENDING, JobState.CANCELLED):
        raise NotPending(job.state)
    return await ending.cancel(platform, caller, job_id)


async def _find(platform: Platform, caller: Caller, job_id: UUID) -> tuple[Job, Transcript, Sending]:
    job, transcript = await reading.find(platform, caller, job_id)
    async with platform.sessions.alone(owner=caller.owner) as session:
        sent = await sendings.get(session, job_id, owner=caller.owner)
    if sent is None:
        raise UploadNotFound
    return job, transcript, sent


async def _join(platform: Platform, caller: Caller, job: Job, sent: Sending) -> StoredObject:
    key, sizes = layout.source(caller.owner, job.id), _sizes(sent)
    try:
        await platform.store.join_parts(key, sent.name, sizes)
    except ObjectNotFound:  # swept, as they lay for too long
        raise PartsMissing(range(1, len(sizes) + 1)) from None
    return StoredObject(key, sent.size_bytes, sent.sha256 or await _hash(platform, key))


async def _hash(platform: Platform, key: str) -> str:
    digest = sha256()
    async with platform.store.open(key) as chunks:
        async for chunk in chunks:
            digest.update(chunk)
    return digest.hexdigest()


async def _part(
    platform: Platform, job: Job, sent: Sending, number: int, size_bytes: int, there: Mapping[int, int]
) -> Part:
    url = None
    if there.get(number) != size_bytes:
        key, seconds = layout.source(job.owner, job.id), int(LINK_LASTS.total_seconds())
        url = await platform.store.part_link(key, sent.name, number, size_bytes=size_bytes, seconds=seconds)
    return Part(number, (number - 1) * sent.part_bytes, size_bytes, url)


def _sizes(sent: Sending) -> Sequence[int]:
    """Of all its parts, in order."""
    return [min(sent.part_bytes, sent.size_bytes - offset) for offset in range(0, sent.size_bytes, sent.part_bytes)]
