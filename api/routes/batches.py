"""Many recordings in one request, and how far they have come."""

from collections.abc import Mapping
from typing import Annotated, Any, Self
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from api import forms
from api.bodies import LARGEST_BYTES
from api.dependencies import CallerDep, PlatformDep
from api.errors import documented
from api.intake import KeyDep
from api.json_bodies import read_json
from api.schemas import JobAccepted, View
from api.url_intake import LINK_FIELD, AnyEngineUrlForm
from domain import errors
from domain.account_errors import QuotaExceeded
from domain.intake_errors import BatchNotFound, BatchRefused
from domain.lifecycle import ENDED, JobState
from services import batches, submission
from services.batches import MOST_ITEMS, Batch, Item
from services.platform import Platform

router = APIRouter(prefix="/api/transcribe/jobs/batch", tags=["jobs"])

ITEM_LEVELS = forms.DEEPEST_OPTIONS + 3
"""How deep a batch is: itself, its items, an item, and its options."""


class BatchAccepted(View):
    batch_id: UUID = Field(description="Of the batch; the `session_id` of its jobs.")
    jobs: list[JobAccepted] = Field(description="In the order of the items.")

    @classmethod
    def of(cls, batch: Batch) -> Self:
        return cls(batch_id=batch.session_id, jobs=[JobAccepted.of(receipt) for receipt in batch.receipts])


class BatchProgress(View):
    batch_id: UUID
    total: int
    ended: int = Field(description="Of these, the jobs that will not change any more.")
    states: dict[JobState, int] = Field(description="How many are in which state; states without a job are left out.")

    @classmethod
    def of(cls, batch_id: UUID, states: Mapping[JobState, int]) -> Self:
        ended = sum(count for state, count in states.items() if state in ENDED)
        return cls(batch_id=batch_id, total=sum(states.values()), ended=ended, states=dict(states))


BODY: dict[str, Any] = {
    "type": "object",
    "required": ["items"],
    "properties": {
        "items": {
            "type": "array",
            "minItems": 1,
            "maxItems": MOST_ITEMS,
            "items": {
                "type": "object",
                "required": [LINK_FIELD],
                "properties": AnyEngineUrlForm.model_json_schema()["properties"],
            },
        },
        "batch_id": {"type": "string", "format": "uuid", "description": "Left out: one is made."},
    },
}


async def read_batch(request: Request, platform: PlatformDep) -> tuple[UUID, list[Item]]:
    """Raises Invalid, BatchRefused."""
    said = await read_json(request, longest=LARGEST_BYTES, deepest=ITEM_LEVELS)
    if strange := said.keys() - {"items", "batch_id"}:
        raise errors.Invalid(f"there is no field {min(strange)!r} here; a batch has items and batch_id")
    items = said.get("items")
    if not isinstance(items, list) or not 0 < len(items) <= MOST_ITEMS:
        raise errors.Invalid(f"items are a list of 1 to {MOST_ITEMS:,}, each with its audio_url", field="items")
    try:
        batch_id = UUID(said["batch_id"]) if "batch_id" in said else uuid4()
    except (ValueError, AttributeError, TypeError) as error:
        raise errors.Invalid("a batch_id is a UUID", field="batch_id") from error
    return batch_id, _read_items(platform, items)


def _read_items(platform: Platform, items: list[Any]) -> list[Item]:
    found: list[Item] = []
    wrong: dict[int, errors.EscribaError] = {}
    for index, each in enumerate(items):
        try:
            found.append(_read_item(platform, each))
        except errors.EscribaError as error:
            wrong[index] = error
    if wrong:
        raise BatchRefused(wrong)
    return found


def _read_item(platform: Platform, said: Any) -> Item:
    if not isinstance(said, dict):
        raise errors.Invalid("an item is an object with an audio_url")
    form = AnyEngineUrlForm.read(said)
    if form.audio_url is None:
        raise errors.Invalid("there is no recording: say its audio_url", field=LINK_FIELD)
    if form.session_id is not None:
        raise errors.Invalid("the session of a batch's jobs is the batch", field="session_id")
    wanted = form.submission(platform.settings.engines.default_engine)
    return Item(wanted, submission.link(platform, form.audio_url), forms.bare_name(form.filename))


@router.post(
    "",
    status_code=202,
    responses=documented(
        errors.Invalid, BatchRefused, errors.IdempotencyKeyReused, QuotaExceeded, errors.DatabaseUnavailable
    ),
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": BODY}}}},
)
async def submit(
    caller: CallerDep,  # before the body is read
    batch: Annotated[tuple[UUID, list[Item]], Depends(read_batch)],
    response: Response,
    platform: PlatformDep,
    key: KeyDep,
) -> BatchAccepted:
    """Queue up to 1,000 recordings that are to be fetched: all of them, or none."""
    made = await batches.submit(platform, caller, *batch, key=key)
    if made.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return BatchAccepted.of(made)


@router.get("/{batch_id}", responses=documented(BatchNotFound, errors.DatabaseUnavailable))
async def progress(batch_id: UUID, platform: PlatformDep, caller: CallerDep) -> BatchProgress:
    """How far a batch has come. Its jobs: `GET /api/transcribe/jobs?session_id=BATCH_ID`."""
    return BatchProgress.of(batch_id, await batches.progress(platform, caller, batch_id))
