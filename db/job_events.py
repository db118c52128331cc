"""A job's row as an event: what its state, stage and progress are to those who follow it."""

from db.tables import Job
from domain.events import Event
from domain.lifecycle import JobState


def state_event(job: Job, *, message: str | None = None) -> Event:
    """The event that tells of the state in which a move has left `job`."""
    return Event(
        type="state",
        job_id=job.id,
        transcript_id=job.transcript_id,
        status=job.state,
        progress=progress_of(job),
        message=message,
        stage=job.stage,
        audio_done=job.audio_done,
        audio_total=job.audio_seconds,
        worker_id=job.worker_id,
        seq=job.seq,
        fence=job.fence,
        error=job.error_details if job.state in (JobState.FAILED, JobState.EXPIRED) else None,
        at=job.updated_at,
    )


def progress_of(job: Job) -> int:
    """Whole percent of the audio that the engine has dealt with; 100 is kept for completed."""
    if job.state == JobState.COMPLETED:
        return 100
    if not job.audio_seconds or job.audio_done is None:
        return 0
    return min(99, int(100 * job.audio_done / job.audio_seconds))
