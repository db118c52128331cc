"""What the native API says, field by field as it was first published; what came later is added, never renamed."""

from datetime import datetime
from typing import Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from db.tables import Job
from domain.capabilities import EngineReport
from domain.lifecycle import JobState
from domain.transcript import Flag, Notice, Segment, Vocabulary
from services.ending import Erased
from services.reading import Page, Result, Status
from services.submission import Receipt

JOB_ID, TRANSCRIPT_ID = "0b8e6a52-3a86-4f0f-9f0e-6f5c3a6f6b1d", "c7c1b2d4-8d3e-4a53-9a34-2f8f0a1b9d77"


def example(**fields: Any) -> ConfigDict:
    """What OpenAPI shows of a view."""
    return ConfigDict(json_schema_serialization_defaults_required=True, json_schema_extra={"examples": [fields]})


class View(BaseModel):
    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


class JobAccepted(View):
    model_config = example(
        job_id=JOB_ID,
        transcript_id=TRANSCRIPT_ID,
        engine="asr",
        status="queued",
        message="ASR transcription job enqueued successfully",
    )

    job_id: UUID
    transcript_id: UUID
    engine: str
    status: JobState
    message: str

    @classmethod
    def of(cls, receipt: Receipt) -> Self:
        return cls(
            job_id=receipt.job_id,
            transcript_id=receipt.transcript_id,
            engine=receipt.engine,
            status=receipt.state,
            message=receipt.message,
        )


class ResultSummary(View):
    segments_count: int
    duration: float = Field(description="Seconds of audio.")


class JobError(View):
    code: str
    message: str


class JobStatus(View):
    model_config = example(
        job_id=JOB_ID,
        status="processing",
        progress=45,
        transcript_id=TRANSCRIPT_ID,
        worker_id="worker-1",
        message="Transcribing with ASR",
        stage="transcribe",
        audio_done=56.5,
        audio_total=125.5,
        eta_seconds=8.2,
        engine="asr",
        attempts=0,
        crash_count=0,
        created_at="2026-11-20T10:30:00Z",
        started_at="2026-11-20T10:30:01Z",
    )

    job_id: UUID
    status: JobState
    progress: int = Field(ge=0, le=100, description="Percent of the audio that the engine has dealt with.")
    transcript_id: UUID
    worker_id: str | None = None
    message: str | None = None
    stage: str | None = None
    audio_done: float | None = Field(default=None, description="Seconds of audio dealt with.")
    audio_total: float | None = Field(default=None, description="Seconds of audio.")
    eta_seconds: float | None = Field(default=None, description="Left out until there is a basis for it.")
    engine: str | None = None
    session_id: UUID | None = None
    filename: str | None = None
    attempts: int = Field(description="Tries that an engine's failures have cost.")
    crash_count: int = Field(description="Times that the job's worker was lost.")
    result: ResultSummary | None = None
    error: JobError | None = None
    created_at: datetime
    started_at: datetime | None = None
    completed_at: datetime | None = None

    @classmethod
    def of(cls, status: Status) -> Self:
        job, transcript, event = status.job, status.transcript, status.event
        return cls(
            job_id=job.id,
            status=job.state,
            progress=event.progress,
            transcript_id=job.transcript_id,
            worker_id=job.worker_id,
            message=event.message,
            stage=event.stage,
            audio_done=event.audio_done,
            audio_total=event.audio_total,
            eta_seconds=event.eta_seconds,
            engine=transcript.engine or job.engine,
            session_id=transcript.session_id,
            filename=transcript.filename,
            attempts=job.attempts,
            crash_count=job.crash_count,
            result=ResultSummary.model_validate(event.result) if event.result else None,
            error=JobError(code=event.error["code"], message=event.error["message"]) if event.error else None,
            created_at=job.created_at,
            started_at=job.started_at,
            completed_at=job.completed_at,
        )


class JobPage(View):
    jobs: list[JobStatus]
    next_cursor: str | None = Field(
        default=None, description="Pass as `cursor` for the next page; left out on the last."
    )

    @classmethod
    def of(cls, page: Page) -> Self:
        return cls(jobs=[JobStatus.of(status) for status in page.items], next_cursor=page.next_cursor)


class JobResult(View):
    model_config = example(
        job_id=JOB_ID,
        transcript_id=TRANSCRIPT_ID,
        status="completed",
        filename="audio.mp3",
        audio_url="http://127.0.0.1:8000/media/…",
        language="en-US",
        duration=125.5,
        segments=[
            {
                "start": 0.0,
                "end": 3.5,
                "text": "Good morning, how are you feeling?",
                "confidence": 0.95,
                "speaker_tag": 0,
                "words": [{"start": 0.0, "end": 0.4, "text": "Good", "confidence": 0.97, "speaker_tag": 0}],
            }
        ],
        speaker_roles={"0": "provider", "1": "patient"},
        speaker_names={},
        vocabulary=None,
        text="Good morning, how are you feeling?",
        engine="asr",
        engine_reason="the engine that was asked for",
        model=None,
        warnings=[],
        flags=[],
    )

    job_id: UUID
    transcript_id: UUID
    status: JobState
    filename: str | None
    audio_url: str | None = Field(description="Works for an hour; null once the recording has been deleted.")
    language: str | None
    duration: float = Field(description="Seconds of audio.")
    segments: list[Segment]
    speaker_roles: dict[str, str]
    speaker_names: dict[str, str] = Field(description="As a person has named them.")
    vocabulary: Vocabulary | None = Field(description="What became of the context: its version, which terms matched.")
    text: str
    engine: str
    engine_reason: str
    model: str | None
    warnings: list[Notice]
    flags: list[Flag] = Field(description="Stretches to look at: text on silence, repetition, low confidence.")

    @classmethod
    def of(cls, result: Result, *, audio_url: str | None) -> Self:
        heard = result.heard
        return cls(
            job_id=result.job.id,
            transcript_id=result.job.transcript_id,
            status=result.job.state,
            filename=result.transcript.filename,
            audio_url=audio_url,
            language=heard.language,
            duration=heard.duration,
            segments=list(heard.segments),
            speaker_roles=heard.speaker_roles,
            speaker_names={str(tag): name for tag, name in result.names.items()},
            vocabulary=heard.vocabulary,
            text=heard.text,
            engine=heard.engine,
            engine_reason=heard.engine_reason,
            model=heard.model,
            warnings=list(heard.warnings),
            flags=list(heard.flags),
        )


class Cancelled(View):
    job_id: UUID
    status: JobState
    message: str

    @classmethod
    def of(cls, job: Job) -> Self:
        ended = job.state == JobState.CANCELLED
        message = "cancelled" if ended else "the worker has been told; the job ends within seconds"
        return cls(job_id=job.id, status=job.state, message=message)


class ErasureReceipt(View):
    job_id: UUID
    status: Literal["erased", "erasing"]
    objects_deleted: int
    erased_at: datetime
    message: str

    @classmethod
    def of(cls, erased: Erased) -> Self:
        return cls(
            job_id=erased.job_id,
            status="erased" if erased.complete else "erasing",
            objects_deleted=erased.objects_deleted,
            erased_at=erased.erased_at,
            message="nothing is left but ids, times and hashes"
            if erased.complete
            else "a worker holds the job; what is left goes when it lets go, within seconds",
        )


class EngineView(View):
    """An engine as workers see it. Fields that only one engine has (uri, url, model, health) stand beside these."""

    model_config = ConfigDict(extra="allow")

    engine: str
    available: bool
    reason: str | None = None
    description: str = ""
    available_models: list[str] = []
    models: list[dict[str, Any]] = []
    default_model: str | None = None
    language: str | None = None
    languages: list[str] = []
    detects_language: bool = False
    diarization: bool = False
    word_boosting: bool = False
    queued: int = Field(default=0, description="Jobs that wait for this engine by name.")
    options: dict[str, Any] = {}

    @classmethod
    def of(cls, report: EngineReport, *, queued: int) -> Self:
        return cls.model_validate(
            {
                **report.detail,
                "engine": report.engine,
                "available": report.available,
                "reason": report.reason,
                "description": report.description,
                "available_models": [model.name for model in report.models],
                "models": [model.model_dump(exclude_none=True) for model in report.models],
                "default_model": report.default_model,
                "language": report.default_language,
                "languages": list(report.languages),
                "detects_language": report.detects_language,
                "diarization": report.diarizes,
                "word_boosting": report.boosts_words,
                "queued": queued,
                "options": report.options,
            }
        )


class EnginesView(View):
    engines: dict[str, EngineView]
    default_engine: str
    queued_for_auto: int = Field(description="Jobs that will take the best engine that is ready.")


class Health(View):
    status: Literal["ok", "degraded"]
    database: bool
    workers: bool = Field(description="Has a worker reported within the last half minute?")
