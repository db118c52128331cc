"""What the socket dialect says, field by field as its clients know it; what came later is added, never renamed.

Its words are Spanish, as its clients show them to people. Every time is UTC, with milliseconds and a Z.
"""

import json
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import Field, PlainSerializer

from api.schemas import View, example
from db.tables import Job
from domain.access import Caller
from domain.errors import EscribaError
from domain.events import Event
from domain.lifecycle import JobOptions, JobState
from services import reading
from services.platform import Platform
from services.queueing import Line, Outlook
from services.reading import Status

JOB_ID = "0b8e6a52-3a86-4f0f-9f0e-6f5c3a6f6b1d"

MessageType = Literal["connected", "progress", "completed", "error", "pong"]
"""Of what a server says over a WebSocket."""

CONNECTED = "Conectado exitosamente"
WORDS = {
    JobState.PENDING: "Job creado, no procesado",
    JobState.QUEUED: "En cola esperando worker",
    JobState.PROCESSING: "Siendo procesado",
    JobState.COMPLETED: "Transcripción completada",
    JobState.FAILED: "Falló con error",
    JobState.CANCELLED: "Cancelado por usuario",
    JobState.EXPIRED: "La subida no terminó",
}

HIGHEST_BEFORE_THE_END = 99.9


def moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Moment = Annotated[datetime, PlainSerializer(moment, when_used="json-unless-none")]


class JobQueued(View):
    model_config = example(
        job_id=JOB_ID,
        status="queued",
        websocket_url=f"ws://127.0.0.1:8000/ws/transcription/{JOB_ID}",
        estimated_processing_time=45.0,
        queue_position=1,
    )

    job_id: UUID
    status: Literal["queued"] = "queued"
    websocket_url: str
    estimated_processing_time: float | None = Field(
        description="Seconds that the engine needs, by its last jobs; null without any, or without the length."
    )
    queue_position: int = Field(description="1: the next to be taken; 0: a worker has it already.")


class JobView(View):
    """A job as it stands; the last five fields are there, as null, before they mean something."""

    model_config = example(
        job_id=JOB_ID,
        status="processing",
        progress=65.0,
        message="Procesando 78/120 s de audio",
        created_at="2026-11-20T10:30:00.000Z",
        started_at="2026-11-20T10:30:05.000Z",
        estimated_time_remaining=15.2,
        queue_position=0,
        completed_at=None,
        error=None,
        code=None,
        result=None,
    )

    job_id: UUID
    status: JobState
    progress: float = Field(ge=0, le=100)
    message: str
    created_at: Moment
    started_at: Moment | None
    estimated_time_remaining: float | None = Field(description="Seconds until the end; null without a basis.")
    queue_position: int = Field(description="1: the next to be taken; 0: it does not wait.")
    completed_at: Moment | None
    error: str | None = Field(description="Why a job failed.")
    code: str | None = Field(description="The same, to be matched on.")
    result: dict[str, Any] | None = Field(description="Of a completed job: as in the message `completed`.")

    @classmethod
    def of(cls, status: Status, outlook: Outlook) -> Self:
        job, event = status.job, status.event
        failed = event.error or {}
        return cls(
            job_id=job.id,
            status=job.state,
            progress=progress_of(event),
            message=message_of(event),
            created_at=job.created_at,
            started_at=job.started_at,
            estimated_time_remaining=remaining(event, outlook),
            queue_position=outlook.position,
            completed_at=job.completed_at,
            error=failed.get("message"),
            code=failed.get("code"),
            result=None,
        )


class QueueCounts(View):
    queue_size: int = Field(description="Your jobs that wait.")
    active_jobs: int = Field(description="Your jobs that a worker has in hand.")
    total_jobs: int = Field(description="Your jobs, ended ones too.")
    max_concurrent_jobs: int = Field(description="Jobs that the workers which are there attend to at once.")
    is_running: bool = Field(description="Is a worker there?")

    @classmethod
    def of(cls, line: Line) -> Self:
        return cls(
            queue_size=line.tally.waiting,
            active_jobs=line.tally.working,
            total_jobs=line.tally.total,
            max_concurrent_jobs=line.capacity,
            is_running=line.workers > 0,
        )


class SocketCounts(View):
    """Of the process that answers; with API_WORKERS=1, the default, that is all."""

    total_connections: int
    jobs_with_connections: int
    active_jobs: list[UUID] = Field(description="Those jobs.")


class QueueInfo(View):
    queue: QueueCounts
    websockets: SocketCounts


def progress_of(event: Event) -> float:
    """Percent, by the seconds of audio where they are known; 100 is kept for completed."""
    if event.status == JobState.COMPLETED:
        return 100.0
    if not event.audio_total or event.audio_done is None:
        return float(event.progress)
    return min(HIGHEST_BEFORE_THE_END, round(100 * event.audio_done / event.audio_total, 1))


def message_of(event: Event) -> str:
    """What a person is shown: why a job waits or what is fetched, where that is known, before how far it is."""
    if event.status == JobState.QUEUED and event.message:
        return event.message
    if event.status != JobState.PROCESSING:
        return WORDS.get(event.status, event.status)
    if event.audio_total and event.audio_done is not None:
        return f"Procesando {event.audio_done:.0f}/{event.audio_total:.0f} s de audio"
    return event.message or WORDS[event.status]


def remaining(event: Event, outlook: Outlook) -> float | None:
    """What the running attempt goes by is better than what jobs before it took."""
    return event.eta_seconds if event.eta_seconds is not None else seconds(outlook.remaining_seconds)


def seconds(estimate: float | None) -> float | None:
    return None if estimate is None else round(estimate, 1)


# Messages


def message(kind: MessageType, job_id: UUID | str, data: str | dict[str, Any]) -> str:
    """What is sent; `data` may be JSON already."""
    text = data if isinstance(data, str) else to_json(data)
    return with_raw({"type": kind, "job_id": str(job_id)}, "data", text, timestamp=moment(datetime.now(UTC)))


def error(job_id: UUID | str, refusal: EscribaError) -> str:
    return message("error", job_id, {"error": str(refusal), "code": refusal.code})


def progress_data(event: Event, progress: float, outlook: Outlook) -> dict[str, Any]:
    return {
        "status": event.status,
        "progress": progress,
        "message": message_of(event),
        "estimated_time_remaining": remaining(event, outlook),
    }


async def end(platform: Platform, caller: Caller, job_id: UUID) -> str:
    """The last message of a job that has ended: `completed` with the result, or `error`.

    Raises JobNotFound where it was erased, StorageUnavailable and DatabaseUnavailable.
    """
    job, transcript = await reading.find(platform, caller, job_id)
    completed_at = moment(job.completed_at or job.updated_at)
    if job.state == JobState.COMPLETED:
        about = {"status": job.state, "progress": 100.0, "message": WORDS[job.state], "completed_at": completed_at}
        return message("completed", job_id, with_raw(about, "result", await result_json(platform, caller, job_id)))
    failed = reading.standing(job, transcript).error or {"message": WORDS[job.state], "code": str(job.state)}
    about = {"status": job.state, "error": failed["message"], "code": failed["code"], "completed_at": completed_at}
    return message("error", job_id, about)


async def result_json(platform: Platform, caller: Caller, job_id: UUID) -> str:
    """What was heard, as JSON; segments and text are passed on as they are stored.

    Raises JobNotFound, ResultNotReady, JobHasNoResult, StorageUnavailable.
    """
    found, rest = await reading.unread_result(platform, caller, job_id)
    async with aclosing(rest):
        about = {
            "language": found.heard.language,
            "processing_time": _processing_seconds(found.job),
            "warnings": [notice.model_dump() for notice in found.heard.warnings],
        }
        if JobOptions.model_validate(found.job.engine_params).return_timestamps is not False:
            return to_json(about)[:-1] + b"".join([piece async for piece in rest]).decode()
    whole = await reading.result(platform, caller, job_id)
    return to_json({**about, "segments": [], "text": whole.heard.text})


def _processing_seconds(job: Job) -> float | None:
    if job.started_at is None or job.completed_at is None:
        return None
    return round((job.completed_at - job.started_at).total_seconds(), 3)


to_json = json.JSONEncoder(ensure_ascii=False, default=str).encode
"""Made once: `json.dumps` makes one for every call that says anything but the defaults, which costs as much again."""


def with_raw(value: dict[str, Any], name: str, raw: str, **more: Any) -> str:
    """`value` as JSON, with a field that is JSON already, and more behind it."""
    behind = f",{to_json(more)[1:]}" if more else "}"
    return f'{to_json(value)[:-1]},"{name}":{raw}{behind}'
