"""Uploads past the API: where the parts go, which are there, and the end."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from api import forms
from api.dependencies import CallerDep, PlatformDep
from api.errors import documented
from api.intake import KeyDep, accepted
from api.json_bodies import read_json
from api.schemas import Cancelled, JobAccepted
from api.upload_schemas import UploadForm, UploadView
from domain import account_errors, errors
from domain.intake_errors import PartsMissing, TooManyUploads, UploadNotFound
from domain.recording_errors import NotPending
from services import sending

router = APIRouter(prefix="/api/transcribe/uploads", tags=["uploads"])

CHECKED = (
    errors.Invalid, errors.UnknownEngine, errors.UnknownModel, errors.UnsupportedLanguage, errors.UnsupportedOption,
    errors.ContextNotFound, errors.EngineUnavailable, account_errors.QuotaExceeded,
)  # fmt: skip
"""What is looked at when an upload begins, and again when it is completed."""

OF_AN_UPLOAD = (errors.JobNotFound, UploadNotFound, errors.DatabaseUnavailable, errors.StorageUnavailable)


async def read_form(request: Request) -> UploadForm:
    return UploadForm.read(await read_json(request))


@router.post(
    "",
    status_code=201,
    responses=documented(
        *CHECKED, errors.EmptyMedia, errors.TooLarge, errors.IdempotencyKeyReused, TooManyUploads,
        errors.DatabaseUnavailable, errors.StorageUnavailable,
    ),
    openapi_extra=UploadForm.openapi_body(),
)  # fmt: skip
async def begin(
    request: Request,
    caller: CallerDep,  # before the body is read
    form: Annotated[UploadForm, Depends(read_form)],
    platform: PlatformDep,
    key: KeyDep,
) -> UploadView:
    """Say how large a recording is, and get a URL for each of its parts; nothing of it passes through the API."""
    upload = await sending.begin(
        platform,
        caller,
        form.submission(platform.settings.engines.default_engine),
        size_bytes=form.size,
        digest=form.sha256,
        filename=forms.bare_name(form.filename),
        key=key,
    )
    return UploadView.of(upload, base_url=request.base_url)


@router.get("/{job_id}", responses=documented(*OF_AN_UPLOAD))
async def read(request: Request, job_id: UUID, platform: PlatformDep, caller: CallerDep) -> UploadView:
    """Which parts are there, and new URLs for those that are not: how to go on after a break."""
    return UploadView.of(await sending.read(platform, caller, job_id), base_url=request.base_url)


@router.post(
    "/{job_id}/complete",
    status_code=202,
    responses=documented(*OF_AN_UPLOAD, *CHECKED, PartsMissing, NotPending),
)
async def complete(job_id: UUID, response: Response, platform: PlatformDep, caller: CallerDep) -> JobAccepted:
    """All parts are there: queue the recording. Asking twice makes one job."""
    return accepted(await sending.complete(platform, caller, job_id), response)


@router.delete("/{job_id}", responses=documented(*OF_AN_UPLOAD, NotPending))
async def give_up(job_id: UUID, platform: PlatformDep, caller: CallerDep) -> Cancelled:
    """Give an upload up; its parts are deleted, and their URLs lead nowhere."""
    return Cancelled.of(await sending.give_up(platform, caller, job_id))
