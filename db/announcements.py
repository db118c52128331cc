"""A job's row as what other systems are told of it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from db.tables import Job, Transcript
from domain.announcements import OF_STATE, Announced, Payload, body
from domain.lifecycle import JobState

HEARD = (Transcript.session_id, Transcript.engine, Transcript.model, Transcript.language, Transcript.duration)
"""What of the transcript's row an announcement may need."""

RESULT_PATH = "/api/transcribe/jobs/result/{}"

ERASED_STATUS = "erased"


def announced_body(job: Job, heard: Any, payload: Payload) -> bytes:
    """The body that tells of the state in which a move has left `job`; `heard` has the columns of HEARD.

    Nothing that was said in the recording, nor its file's name, is in either payload.
    """
    kind = OF_STATE[job.state]
    if kind is Announced.ERASED:
        data = {"job_id": job.id, "transcript_id": job.transcript_id, "status": ERASED_STATUS}
    else:
        data = _thin(job, heard) | (_full(job, heard) if payload == "full" else {})
    return body(kind, job.updated_at, data)


def ping(at: datetime, endpoint_id: UUID) -> bytes:
    return body(Announced.PING, at, {"webhook_id": endpoint_id})


def _thin(job: Job, heard: Any) -> dict[str, Any]:
    return {
        "job_id": job.id,
        "transcript_id": job.transcript_id,
        "parent_job_id": job.parent_job_id,
        "session_id": heard.session_id,
        "status": job.state,
        "engine": heard.engine or job.engine,
    }


def _full(job: Job, heard: Any) -> dict[str, Any]:
    times = {"created_at": job.created_at, "started_at": job.started_at, "completed_at": job.completed_at}
    said: dict[str, Any] = {name: moment and moment.isoformat() for name, moment in times.items()}
    if job.state == JobState.FAILED:
        said["error"] = job.error_details
    if job.state == JobState.COMPLETED:
        said["result_path"] = RESULT_PATH.format(job.id)
        said |= {"language": heard.language, "duration": heard.duration, "model": heard.model}
    return said
