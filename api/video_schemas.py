"""What the native API says of subtitles and videos."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, field_validator

from api.forms import Name
from api.schemas import JOB_ID, JobError, View, example
from db.video_tables import Video
from domain.profiles import PROFILES, profile_named
from domain.subtitle_rules import CueReport, Rule
from domain.transcript import Notice
from domain.videos import VideoMode, VideoState

VIDEO_ID = "5d1f2f0c-5f0e-4a41-9c51-6a0c0a2b7c11"


class VideoBody(BaseModel):
    """What a video is to look like."""

    model_config = ConfigDict(extra="forbid")

    mode: VideoMode = Field(
        default="burned", description="`burned`: drawn into the pictures; `track`: beside them, to be turned off."
    )
    profile: Name = Field(default="default", description=f"Rules of the cues: {', '.join(PROFILES)}.")

    @field_validator("profile")
    @classmethod
    def _is_known(cls, profile: str) -> str:
        profile_named(profile)
        return profile


class VideoView(View):
    model_config = example(
        video_id=VIDEO_ID,
        job_id=JOB_ID,
        status="processing",
        progress=40,
        mode="burned",
        profile="default",
        file=None,
        size_bytes=None,
        duration=None,
        width=None,
        height=None,
        warnings=[],
        error=None,
        created_at="2026-11-20T10:30:00Z",
        completed_at=None,
    )

    video_id: UUID
    job_id: UUID
    status: VideoState
    progress: int = Field(ge=0, le=100, description="Percent of the video that is made.")
    mode: VideoMode
    profile: str
    file: str | None = Field(description="Where it is, once it is made.")
    size_bytes: int | None
    duration: float | None = Field(description="Seconds of video.")
    width: int | None
    height: int | None
    warnings: list[Notice] = Field(description="`font_missing`: signs that show as boxes.")
    error: JobError | None
    created_at: datetime
    completed_at: datetime | None

    @classmethod
    def of(cls, video: Video) -> Self:
        error, here = video.error_details, f"/api/transcribe/jobs/{video.job_id}/videos/{video.id}/file"
        return cls(
            video_id=video.id,
            job_id=video.job_id,
            status=video.state,
            progress=percent(video),
            mode="track" if video.mode == "track" else "burned",
            profile=video.profile,
            file=here if video.object_key is not None else None,
            size_bytes=video.size_bytes,
            duration=video.seconds,
            width=video.width,
            height=video.height,
            warnings=[Notice.model_validate(notice) for notice in video.notices],
            error=JobError(code=error["code"], message=error["message"]) if error else None,
            created_at=video.created_at,
            completed_at=video.completed_at,
        )


def percent(video: Video) -> int:
    """100 is kept for a video that is there."""
    return 100 if video.state == VideoState.COMPLETED else min(99, int(100 * video.progress))


class SubtitleReport(View):
    """Which cues of a transcript break which rule of a profile, and by how much."""

    job_id: UUID
    profile: str
    format: str
    cues: int
    clean: int = Field(description="Cues that keep every rule.")
    breaches: dict[Rule, int] = Field(description="How many cues break each rule; rules that none breaks are left out.")
    reports: list[CueReport] = Field(description="One for each cue, in order.")

    @classmethod
    def of(cls, job_id: UUID, profile: str, kind: str, reports: Sequence[CueReport]) -> Self:
        return cls(
            job_id=job_id,
            profile=profile,
            format=kind,
            cues=len(reports),
            clean=sum(not report.breaches for report in reports),
            breaches=Counter(breach.rule for report in reports for breach in report.breaches),
            reports=list(reports),
        )
