"""What the native API says, field by field as it was first published; what came later is added, never renamed."""

from datetime import datetime
from typing import Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from db.tables import Job
from domain.capabilities import AUTO, EngineReport, LoadedModel, ModelReport, ModelState
from domain.lanes import Lane
from domain.lifecycle import JobState
from domain.transcript import Flag, Notice, Segment, Vocabulary
from services.ending import Erased
from services.engine_reports import Overview
from services.reading import Page, Result, Status
from services.submission import Receipt
from services.tickets import Ticket

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
        lane="normal",
        attempts=0,
        crash_count=0,
        created_at="2026-11-20T10:30:00Z",
        started_at="2026-11-20T10:30:01Z",
    ) | ConfigDict(json_schema_serialization_defaults_required=False)  # what there is nothing to say of is left out

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
    lane: Lane = Field(description="Which jobs it goes before, or went.")
    session_id: UUID | None = None
    parent_job_id: UUID | None = Field(default=None, description="Of a rerun: the job that it goes on from.")
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
            lane=job.lane,
            session_id=transcript.session_id,
            parent_job_id=job.parent_job_id,
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
        speakers_from="asr",
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
    speakers_from: str | None = Field(description="`channels`, or the engine that told the speakers apart.")
    speaker_roles: dict[str, str]
    speaker_names: dict[str, str] = Field(description="As a person has named them.")
    vocabulary: Vocabulary | None = Field(description="What became of the context: its version, which terms matched.")
    text: str
    engine: str
    engine_reason: str
    model: str | None
    warnings: list[Notice]
    flags: list[Flag] = Field(
        description="Stretches to look at: text on silence, repetition, low confidence, unaligned numbers."
    )

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
            speakers_from=heard.speakers_from,
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


class StreamTicketView(View):
    ticket: str
    expires_in: int = Field(description="Seconds.")
    path: str = Field(description="What to open.")

    @classmethod
    def of(cls, job_id: UUID, ticket: Ticket) -> Self:
        path = f"/api/transcribe/jobs/stream/{job_id}?ticket={ticket.token}"
        return cls(ticket=ticket.token, expires_in=int(ticket.lasts.total_seconds()), path=path)


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
    requested_at: datetime
    erased_at: datetime | None
    message: str

    @classmethod
    def of(cls, erased: Erased) -> Self:
        return cls(
            job_id=erased.job_id,
            status="erasing" if erased.erased_at is None else "erased",
            objects_deleted=erased.objects_deleted,
            requested_at=erased.requested_at,
            erased_at=erased.erased_at,
            message="nothing is left but ids, times and hashes"
            if erased.erased_at is not None
            else "a worker holds the job; what is left goes when it lets go, within seconds",
        )


MEMORY_STEP = 16 << 20
"""Bytes to which memory is rounded: a process at work is never the same size twice, and a poll would never be a 304."""


class MemoryView(View):
    """A model in memory."""

    model: str | None = Field(description="Null for an engine that has but one.")
    busy: bool = Field(description="At work on a job; else it waits for its next one.")
    resident_bytes: int | None = Field(description="Main memory, to the next 16 MiB; null where it cannot be told.")
    unloads_at: datetime | None = Field(description="When it goes unless a job comes first; null while it is busy.")

    @classmethod
    def of(cls, loaded: LoadedModel) -> Self:
        exact = loaded.resident_bytes
        return cls(
            model=loaded.model,
            busy=loaded.busy,
            resident_bytes=None if exact is None else -(-exact // MEMORY_STEP) * MEMORY_STEP,
            unloads_at=loaded.unloads_at,
        )


class ModelView(View):
    name: str
    state: ModelState
    note: str | None = None
    loaded: bool | None = Field(description="Is it in memory? Null where the engine does not tell.")
    resident_bytes: int | None = Field(description="As in the engine's `memory`.")


class EngineView(View):
    """An engine as workers see it. Fields that only one engine has (uri, url, model, health) stand beside these."""

    model_config = ConfigDict(extra="allow", json_schema_serialization_defaults_required=True)

    engine: str
    available: bool
    reason: str | None = Field(default=None, description="Why it is not available.")
    description: str = ""
    available_models: list[str] = []
    models: list[ModelView] = []
    default_model: str | None = None
    language: str | None = None
    languages: list[str] = []
    detects_language: bool = False
    diarization: bool = False
    word_boosting: bool = False
    stages: list[str] = []
    queued: int = Field(default=0, description="Jobs that wait for this engine by name, taken by no worker yet.")
    load: int = Field(default=0, description="Jobs that the engine has in hand or in line now.")
    real_time_factor: float | None = Field(
        default=None,
        description="Seconds that the engine takes for a second of audio, over its last 20 jobs; below 1 is faster "
        "than real time. Null before the first.",
    )
    memory: list[MemoryView] | None = Field(
        default=None, description="The models that are loaded; null where the engine does not tell."
    )
    options: dict[str, Any] = {}

    @classmethod
    def of(cls, report: EngineReport, *, queued: int = 0, real_time_factor: float | None = None) -> Self:
        memory = None if report.memory is None else [MemoryView.of(loaded) for loaded in report.memory]
        return cls.model_validate(
            {
                **report.detail,
                "engine": report.engine,
                "available": report.available,
                "reason": report.reason,
                "description": report.description,
                "available_models": [model.name for model in report.models],
                "models": [_model_view(model, memory) for model in report.models],
                "default_model": report.default_model,
                "language": report.default_language,
                "languages": list(report.languages),
                "detects_language": report.detects_language,
                "diarization": report.diarizes,
                "word_boosting": report.boosts_words,
                "stages": list(report.stages),
                "queued": queued,
                "load": report.load,
                "real_time_factor": None if real_time_factor is None else round(real_time_factor, 4),
                "memory": memory,
                "options": report.options,
            }
        )


def _model_view(model: ModelReport, memory: list[MemoryView] | None) -> ModelView:
    held = next((loaded for loaded in memory or [] if loaded.model == model.name), None)
    return ModelView(
        name=model.name,
        state=model.state,
        note=model.note,
        loaded=None if memory is None else held is not None,
        resident_bytes=held.resident_bytes if held else None,
    )


class EnginesView(View):
    engines: dict[str, EngineView]
    default_engine: str
    diarizer: EngineView | None = Field(description="Tells speakers apart for engines that do not; null without one.")
    queued_for_auto: int = Field(description="Jobs that will take the best engine that is ready.")
    workers: int = Field(description="Workers that are there to take jobs.")

    @classmethod
    def of(cls, overview: Overview, *, default_engine: str) -> Self:
        def view(report: EngineReport) -> EngineView:
            factor = overview.real_time_factors.get(report.engine)
            return EngineView.of(report, queued=overview.queued.get(report.engine, 0), real_time_factor=factor)

        return cls(
            engines={name: view(report) for name, report in overview.engines.items()},
            default_engine=default_engine,
            diarizer=None if overview.diarizer is None else view(overview.diarizer),
            queued_for_auto=overview.queued.get(AUTO, 0),
            workers=overview.workers,
        )


class Health(View):
    status: Literal["ok", "degraded"]
    database: bool
    workers: bool = Field(description="Is a worker there to take jobs?")
