"""What the subtitles dialect says, field by field; what came later is added, never renamed."""

from datetime import date, datetime
from typing import Literal, Self
from uuid import UUID

from pydantic import Field

from api.schemas import JOB_ID, View, example
from api.video_schemas import percent
from db.tables import Job
from db.video_tables import Video
from domain.cues import to_cues
from domain.lifecycle import JobOptions, JobState
from domain.profiles import DEFAULT_PROFILE, PROFILES
from domain.videos import VideoState
from services.reading import Result
from services.runs import Course, OutputType
from services.statistics import Statistics

CourseState = Literal["uploaded", "queued", "processing", "completed", "failed", "cancelled", "expired"]
"""As the platform's, but for what is pending: its recording is there and nobody has run it."""

MOST_CUES, MOST_CHARACTERS = 5, 500
"""Of a preview."""


class Uploaded(View):
    model_config = example(job_id=JOB_ID, status="uploaded", size_bytes=1234567)

    job_id: UUID
    status: Literal["uploaded"] = "uploaded"
    size_bytes: int


class CourseView(View):
    model_config = example(
        job_id=JOB_ID,
        status="completed",
        progress=100.0,
        output_type="subtitle",
        model="base",
        engine="whisper",
        message=None,
        duration_seconds=12.3,
        audio_seconds=61.5,
        error=None,
        code=None,
        transcribed_by=JOB_ID,
        created_at="2026-11-20T10:30:00Z",
        started_at="2026-11-20T10:30:01Z",
        completed_at="2026-11-20T10:30:13Z",
    )

    job_id: UUID
    status: CourseState
    progress: float = Field(ge=0, le=100, description="Percent; of a video, the first half is its transcript.")
    output_type: OutputType | None = Field(description="Of the last run; null before the first.")
    model: str | None
    engine: str | None
    message: str | None
    duration_seconds: float | None = Field(description="What the work took, once it is done; a video's is added.")
    audio_seconds: float | None = Field(description="Length of the recording, once it is known.")
    error: str | None
    code: str | None = Field(description="The same, to be matched on.")
    transcribed_by: UUID = Field(description="The job that has the transcript: another, where another model was named.")
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None

    @classmethod
    def of(cls, job_id: UUID, course: Course) -> Self:
        job, transcript = course.heard.job, course.heard.transcript
        video = course.video
        failure = course.heard.event.error or (video.error_details if video else None) or {}
        asked = JobOptions.model_validate(job.engine_params)
        state = state_of(course)
        return cls(
            job_id=job_id,
            status=state,
            progress=_progress(course),
            output_type=output_type(course),
            model=transcript.model or asked.model,
            engine=transcript.engine or job.engine,
            message=course.heard.event.message,
            duration_seconds=_worked(job, video) if state == "completed" else None,
            audio_seconds=transcript.duration or job.audio_seconds,
            error=failure.get("message") if state in ("failed", "expired") else None,
            code=failure.get("code") if state in ("failed", "expired") else None,
            transcribed_by=job.id,
            created_at=job.created_at,
            started_at=job.started_at,
            completed_at=(video.completed_at if video else job.completed_at) if state == "completed" else None,
        )


def state_of(course: Course) -> CourseState:
    state: CourseState = STATES[course.heard.job.state]
    if course.video is None or state != "completed":
        return state
    return OF_VIDEO[course.video.state]


STATES: dict[JobState, CourseState] = {
    JobState.PENDING: "uploaded",
    JobState.QUEUED: "queued",
    JobState.PROCESSING: "processing",
    JobState.COMPLETED: "completed",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
    JobState.EXPIRED: "expired",
}
OF_VIDEO: dict[VideoState, CourseState] = {
    VideoState.QUEUED: "processing",
    VideoState.PROCESSING: "processing",
    VideoState.COMPLETED: "completed",
    VideoState.FAILED: "failed",
}


def output_type(course: Course) -> OutputType | None:
    kinds: dict[str, OutputType] = {"text": "text", "subtitle": "subtitle", "video": "video"}
    return None if course.run is None else kinds[course.run.output_type]


def _progress(course: Course) -> float:
    heard = float(course.heard.event.progress)
    return heard if course.video is None else (heard + percent(course.video)) / 2


def _worked(job: Job, video: Video | None) -> float:
    spans = [(job.started_at, job.completed_at)]
    spans += [(video.started_at, video.completed_at)] if video else []
    return round(sum((end - start).total_seconds() for start, end in spans if start and end), 3)


class PreviewCue(View):
    start: float
    end: float
    text: str


class Preview(View):
    """The beginning of what was heard, whatever is to come of it."""

    job_id: UUID
    output_type: OutputType | None
    language: str | None
    text: str = Field(description=f"At most {MOST_CHARACTERS} characters.")
    cues: list[PreviewCue] = Field(description=f"The first {MOST_CUES}.")
    more: bool = Field(description="Is there more?")

    @classmethod
    def of(cls, job_id: UUID, course: Course, found: Result) -> Self:
        rules = DEFAULT_PROFILE if course.run is None else PROFILES[course.run.profile]
        cues, text = to_cues(found.heard.segments, rules, found.labels), found.heard.text
        shown = [PreviewCue(start=cue.start, end=cue.end, text="\n".join(cue.lines)) for cue in cues[:MOST_CUES]]
        return cls(
            job_id=job_id,
            output_type=output_type(course),
            language=found.heard.language,
            text=text[:MOST_CHARACTERS],
            cues=shown,
            more=len(text) > MOST_CHARACTERS or len(cues) > MOST_CUES,
        )


class EngineDurations(View):
    engine: str
    jobs: int
    audio_seconds: float
    duration_seconds: float = Field(description="From claim to end, waiting for the engine's turn included.")
    ratio: float | None = Field(description="Of the second to the first: below 1 is faster than the recording.")


class UsageOfMonth(View):
    month: date
    engine: str
    jobs: int
    audio_seconds: float


class AdminMetrics(View):
    """The whole platform, everybody's jobs."""

    jobs: dict[JobState, int] = Field(description="Those that there are, by state.")
    videos: dict[VideoState, int]
    owners: int = Field(description="Who has jobs.")
    workers: int
    at_once: int = Field(description="Jobs that the workers which are there attend to at once.")
    since: datetime = Field(description="From here on durations and errors are counted.")
    durations: list[EngineDurations] = Field(description="Of completed jobs, by the engine that heard them.")
    errors: dict[str, int] = Field(description="Failed jobs, by code.")
    usage: list[UsageOfMonth] = Field(description="Completed jobs by month, the last twelve, erased ones too.")

    @classmethod
    def of(cls, found: Statistics) -> Self:
        return cls(
            jobs=found.jobs,
            videos=found.videos,
            owners=found.owners,
            workers=found.workers,
            at_once=found.at_once,
            since=found.since,
            durations=[
                EngineDurations(
                    engine=line.engine,
                    jobs=line.jobs,
                    audio_seconds=round(line.audio_seconds, 3),
                    duration_seconds=round(line.worked_seconds, 3),
                    ratio=round(line.worked_seconds / line.audio_seconds, 4) if line.audio_seconds else None,
                )
                for line in found.durations
            ],
            errors=found.errors,
            usage=[
                UsageOfMonth(month=line.month, engine=line.engine, jobs=line.jobs, audio_seconds=line.audio_seconds)
                for line in found.usage
            ],
        )
