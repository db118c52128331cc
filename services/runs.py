"""A recording that is uploaded once and run as often as its owner likes, for one output or another.

Nothing is heard twice by the same model: a run finds the job that has, or will have, the transcript, and makes one on a
copy of the recording where there is none.
"""

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from db import runs
from db.tables import Job, Transcript
from db.video_tables import Run, Video
from domain.access import Caller
from domain.capabilities import AUTO
from domain.errors import AudioDeleted
from domain.lifecycle import JobOptions, JobState
from domain.recording_errors import NotPending
from domain.videos import VideoMode
from services import once, reading, submission, uploads, videos
from services.platform import Platform
from services.reading import Status
from services.submission import Receipt, Submission

OutputType = Literal["text", "subtitle", "video"]

ENDED_IN_VAIN = frozenset({JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED})


@dataclass(frozen=True, slots=True)
class Output:
    """What is to come of a run; `format` and `profile` are of subtitles, `mode` and `profile` of videos."""

    type: OutputType
    format: str
    profile: str
    mode: VideoMode


@dataclass(frozen=True, slots=True)
class Course:
    """Where a recording stands, as it was last run."""

    run: Run | None
    """None where nobody has run it through here."""
    heard: Status
    """Of the job whose transcript it is."""
    video: Video | None


async def run(
    platform: Platform,
    caller: Caller,
    job_id: UUID,
    wanted: Submission,
    output: Output,
    *,
    named: JobOptions,
    key: once.Key | None = None,
) -> Course:
    """Have a recording heard as `wanted`, unless that was done or is being done, and the output made of it.

    `named` is what the caller has said in so many words: a transcript that is there does where it fits that. A crash
    between two steps leaves a job that runs for nobody, which the same request, sent again, finds. Raises JobNotFound,
    AudioDeleted, what `uploads.run` and `submission.submit` raise, and what `videos.ask` raises.
    """
    job, _ = await reading.find(platform, caller, job_id)
    heard_by = await _fitting(platform, caller, job, named)
    if job.state == JobState.PENDING:
        try:
            heard_by = (await uploads.run(platform, caller, job_id, wanted, key=key)).job_id
        except NotPending:  # another request was first
            return await run(platform, caller, job_id, wanted, output, named=named, key=key)
    elif heard_by is None:
        heard_by = await _hear_anew(platform, caller, job, wanted, key)
    video_id = None
    if output.type == "video":
        video_id = (await videos.ask(platform, caller, heard_by, profile=output.profile, mode=output.mode)).id
    async with platform.sessions.begin(owner=caller.owner) as session:
        about = {"owner": caller.owner, "heard_by": heard_by, "video_id": video_id}
        await runs.keep(session, job_id, output_type=output.type, format=output.format, profile=output.profile, **about)
    return await course(platform, caller, job_id)


async def _fitting(platform: Platform, caller: Caller, job: Job, named: JobOptions) -> UUID | None:
    """The job whose transcript does: the one that was run last, else the newest."""
    async with platform.sessions.begin(owner=caller.owner) as session:
        latest = await runs.latest(session, job.id, owner=caller.owner)
        family = await runs.family(session, job.id, owner=caller.owner)
    fits = [each.id for each, transcript in family if _does(each, transcript, named)]
    return latest.heard_by if latest and latest.heard_by in fits else next(iter(fits), None)


def _does(job: Job, transcript: Transcript, named: JobOptions) -> bool:
    if job.state in ENDED_IN_VAIN:
        return False
    asked = JobOptions.model_validate(job.engine_params)
    return (
        named.engine in (AUTO, transcript.engine or asked.engine)
        and named.model in (None, transcript.model or asked.model)
        and named.language in (None, asked.language, transcript.language)
    )


async def _hear_anew(platform: Platform, caller: Caller, job: Job, wanted: Submission, key: once.Key | None) -> UUID:
    request = uploads.request_of(job.id, wanted)
    if key is not None and (answer := await once.answer_before(platform, caller, key, request)):
        return Receipt.from_json(answer).job_id
    if job.source_key is None:
        raise AudioDeleted
    _, transcript = await reading.find(platform, caller, job.id)
    await submission.check(platform, caller, wanted)
    kept = await submission.keep_copy(platform, caller, job.source_key)
    async with submission.discarding(platform, caller, kept):
        receipt = await submission.submit(
            platform, caller, wanted, kept, filename=transcript.filename, parent=job.id, key=key, request=request
        )
    return receipt.job_id


async def course(platform: Platform, caller: Caller, job_id: UUID) -> Course:
    """Raises JobNotFound."""
    await reading.find(platform, caller, job_id)
    async with platform.sessions.alone(owner=caller.owner) as session:
        found = await runs.latest(session, job_id, owner=caller.owner)
    heard = await reading.status(platform, caller, job_id if found is None else found.heard_by)
    video = None
    if found is not None and found.video_id is not None:
        video = await videos.find(platform, caller, found.heard_by, found.video_id)
    return Course(found, heard, video)
