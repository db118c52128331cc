"""Many recordings submitted at once: all of them, or none, in one transaction; and how far they have come."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from db import batches
from db.tables import Job, Transcript
from domain.access import Caller
from domain.errors import EscribaError
from domain.intake_errors import BatchNotFound, BatchRefused
from domain.lanes import Lane
from domain.lifecycle import JobState
from services import once, submission, usage
from services.platform import Platform
from services.submission import Approved, Linked, Receipt, Submission

MOST_ITEMS = 1000


@dataclass(frozen=True, slots=True)
class Item:
    submission: Submission
    recording: Linked
    filename: str | None

    @property
    def identity(self) -> dict[str, Any]:
        return {"filename": self.filename, **self.submission.identity, **self.recording.identity}


@dataclass(frozen=True, slots=True)
class Batch:
    session_id: UUID
    """Which its jobs have in common."""
    receipts: Sequence[Receipt]
    """In the order of the items."""
    replayed: bool = False


async def submit(
    platform: Platform, caller: Caller, session_id: UUID, items: Sequence[Item], *, key: once.Key | None = None
) -> Batch:
    """Queue all of the items, or none of them; those that name no lane in `bulk`.

    With a key that was answered before, the answer of then. A crash behind the commit leaves jobs that the sweeper
    rings for. Raises BatchRefused with what is wrong with which of them, QuotaExceeded, IdempotencyKeyReused.
    """
    request = once.fingerprint(batch=[item.identity for item in items])
    if key is not None and (answer := await once.answer_before(platform, caller, key, request)):
        return Batch(UUID(answer["session_id"]), [Receipt.from_json(each) for each in answer["jobs"]], replayed=True)
    approved = await _check(platform, caller, items)
    quota = await usage.quota_of(platform, caller)
    try:
        async with platform.sessions.begin(owner=caller.owner) as session:
            await usage.check_quota(session, caller, quota, more=len(items))
            jobs = []
            for item, approval in zip(items, approved, strict=True):
                about = Transcript(id=uuid4(), owner=caller.owner, session_id=session_id, filename=item.filename)
                jobs.append(
                    await submission.record(
                        session,
                        about,
                        approval,
                        item.recording,
                        profile_id=caller.profile_id,
                        delete_after_seconds=item.submission.delete_after_seconds,
                        max_retries=platform.settings.workers.max_retries,
                        lane=item.submission.lane or Lane.BULK,
                    )
                )
            receipts = [Receipt.of(job, approval) for job, approval in zip(jobs, approved, strict=True)]
            if key is not None:
                kept = {"session_id": str(session_id), "jobs": [receipt.to_json() for receipt in receipts]}
                await once.remember(session, caller, key, request, kept)
    except once.AnsweredBefore:  # by a request that ran beside this one
        return await submit(platform, caller, session_id, items, key=key)
    await _ring(platform, jobs)
    return Batch(session_id, receipts)


async def _check(platform: Platform, caller: Caller, items: Sequence[Item]) -> Sequence[Approved]:
    """Those that are alike are looked at once. Raises BatchRefused."""
    known: dict[str, Approved | EscribaError] = {}
    for item in items:
        like = _like(item)
        if like not in known:
            try:
                known[like] = await submission.check(platform, caller, item.submission)
            except EscribaError as error:
                known[like] = error
    found = [known[_like(item)] for item in items]
    wrong = {index: said for index, said in enumerate(found) if isinstance(said, EscribaError)}
    if wrong:
        raise BatchRefused(wrong)
    return [said for said in found if isinstance(said, Approved)]


def _like(item: Item) -> str:
    return json.dumps([item.submission.identity, item.submission.wait], default=str, sort_keys=True)


async def _ring(platform: Platform, jobs: Sequence[Job]) -> None:
    for job in jobs:
        if not await platform.queue.ring(job.id, job.dispatch_no):
            return  # Redis is away; the sweeper rings for all of them


async def progress(platform: Platform, caller: Caller, session_id: UUID) -> Mapping[JobState, int]:
    """How many of the jobs that have this session in common are in which state. Raises BatchNotFound."""
    async with platform.sessions.alone(owner=caller.owner) as session:
        found = await batches.count_states(session, session_id, owner=caller.owner)
    if not found:
        raise BatchNotFound
    return found
