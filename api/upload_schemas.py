"""What is said of uploads past the API."""

from datetime import datetime
from typing import Any, Self
from uuid import UUID

from pydantic import Field
from starlette.datastructures import URL

from api.forms import LONGEST_FILENAME, AnyEngineForm
from api.schemas import JOB_ID, TRANSCRIPT_ID, View, example
from domain.lifecycle import JobState
from services.sending import Part, Upload

SHA256 = "^[0-9a-f]{64}$"


class UploadForm(AnyEngineForm):
    """A submission whose recording is still to come."""

    size: int = Field(ge=0, description="Bytes of the whole recording.", examples=[52_428_800])
    sha256: str | None = Field(
        default=None,
        pattern=SHA256,
        description="Of the whole recording, in hex. Said, completing costs the platform next to nothing.",
    )

    filename: str | None = Field(default=None, max_length=LONGEST_FILENAME, description="What to call it.")

    @classmethod
    def openapi_body(cls) -> dict[str, Any]:
        """The request body as OpenAPI sees it."""
        schema = {"type": "object", "required": ["size"], "properties": cls.model_json_schema()["properties"]}
        return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


class PartView(View):
    number: int
    offset: int = Field(description="Bytes before it.")
    size: int = Field(description="Bytes of it; exactly so many have to be sent.")
    url: str | None = Field(description="Where to PUT it; null once it is there.")

    @classmethod
    def of(cls, part: Part, *, base_url: URL) -> Self:
        url = part.url
        if url is not None and url.startswith("/"):
            url = str(base_url.replace(path="")) + url
        return cls(number=part.number, offset=part.offset, size=part.size_bytes, url=url)


class UploadView(View):
    model_config = example(
        upload_id=JOB_ID,
        job_id=JOB_ID,
        transcript_id=TRANSCRIPT_ID,
        status="pending",
        size=20_000_000,
        part_size=16_777_216,
        parts=[
            {"number": 1, "offset": 0, "size": 16_777_216, "url": None},
            {"number": 2, "offset": 16_777_216, "size": 3_222_784, "url": "https://store.example/…"},
        ],
        urls_expire_at="2026-11-20T10:45:00Z",
    )

    upload_id: UUID = Field(description="The job's id as well.")
    job_id: UUID
    transcript_id: UUID
    status: JobState
    size: int = Field(description="Bytes of the whole recording.")
    part_size: int = Field(description="Bytes of every part but the last.")
    parts: list[PartView] = Field(description="Empty once the upload is completed, or given up.")
    urls_expire_at: datetime = Field(description="Ask for the upload again, and there are new ones.")

    @classmethod
    def of(cls, upload: Upload, *, base_url: URL) -> Self:
        job = upload.job
        return cls(
            upload_id=job.id,
            job_id=job.id,
            transcript_id=job.transcript_id,
            status=job.state,
            size=upload.size_bytes,
            part_size=upload.part_bytes,
            parts=[PartView.of(part, base_url=base_url) for part in upload.parts],
            urls_expire_at=upload.links_end_at,
        )
