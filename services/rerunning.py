"""A job that does the last stages of an ended one anew, without transcribing again."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from pydantic import Field

from db.tables import Job
from domain.access import Caller
from domain.capabilities import DIARIZE_STAGE, TRANSCRIBE_STAGE, EngineReport
from domain.errors import AudioDeleted, Invalid, UnknownEngine
from domain.lifecycle import JobOptions
from domain.transcript import StageReached, TermsUsed, Transcript, Value
from services import engine_reports, once, reading, stages, submission, transcripts
from services.platform import Platform
from services.submission import LONGEST_KEPT_SECONDS, Receipt, Submission

OF_SPEAKERS = frozenset({"diarization_unavailable", "diarization_failed", "stages_failed"})
"""Warnings of a transcript that a rerun may put right."""


class Rerun(Value):
    """Which stages to do anew, and how many speakers to look for; left out, as many as the first time."""

    stages: tuple[str, ...] = Field(min_length=1, max_length=8, examples=[["diarize"]])
    num_speakers: int | None = Field(default=None, ge=1, le=64)
    min_speakers: int | None = Field(default=None, ge=1, le=64)
    max_speakers: int | None = Field(default=None, ge=1, le=64)
    delete_after_seconds: int | None = Field(
        default=None, ge=1, le=LONGEST_KEPT_SECONDS, description="Left out: as of the job that it goes on from."
    )


async def rerun(
    platform: Platform, caller: Caller, job_id: UUID, wish: Rerun, *, key: once.Key | None = None
) -> Receipt:
    """Queue a job that goes on from the parent's text as it stood before the first of the stages.

    It gets copies of the parent's recording and text, so that either job can be erased without the other.
    Raises JobNotFound, ResultNotReady, JobHasNoResult, AudioDeleted, Invalid and its kin.
    """
    request = once.fingerprint(rerun=job_id, wish=wish.model_dump(mode="json"))
    if key is not None and (answer := await once.answer_before(platform, caller, key, request)):
        return Receipt.from_json(answer)
    parent, found = await reading.transcribed(platform, caller, job_id)
    if parent.source_key is None or found.engine is None:
        raise AudioDeleted
    asked = JobOptions.model_validate(parent.engine_params)
    order = _stages_of(found.engine, await engine_reports.known(platform))
    before = _before(order, wish.stages, asked)
    text = await _text_after(platform, parent, before)
    wanted = Submission(
        _options(asked, found.engine, wish),
        session_id=found.session_id,
        delete_after_seconds=wish.delete_after_seconds or parent.delete_after_seconds,
        lane=parent.lane if submission.may_take(caller, parent.lane) else None,
    )
    await submission.check(platform, caller, wanted)
    kept = await submission.keep_copy(platform, caller, parent.source_key)
    async with submission.discarding(platform, caller, kept):
        await stages.give(platform, caller.owner, kept.job_id, text)
        return await submission.submit(
            platform, caller, wanted, kept, filename=found.filename, parent=job_id, key=key, request=request
        )


def _stages_of(engine: str, reports: Mapping[str, EngineReport]) -> tuple[str, ...]:
    """What can be done of a job that `engine` heard: its own stages, and diarization where the platform has its own."""
    report = reports.get(engine)
    if report is None:
        raise UnknownEngine(engine, sorted(reports))
    own = any(other.available and other.is_diarizer for other in reports.values())
    return (*report.stages, DIARIZE_STAGE) if own and DIARIZE_STAGE not in report.stages else report.stages


def _before(order: Sequence[str], wished: Sequence[str], asked: JobOptions) -> Sequence[str]:
    """The stages whose work is kept."""
    can = order[order.index(TRANSCRIBE_STAGE) + 1 :]
    if strange := [stage for stage in wished if stage not in can]:
        can_say = f"what can be done anew here is {', '.join(can)}" if can else "nothing can be done anew here"
        raise Invalid(f"there is no stage {strange[0]!r} behind transcribe; {can_say}", field="stages")
    first = min(order.index(stage) for stage in wished)
    rests = [stage for stage in order[first:] if stage != DIARIZE_STAGE or asked.enable_diarization is not False]
    if left := [stage for stage in rests if stage not in wished]:
        raise Invalid(f"{left[0]!r} rests on {wished[0]!r}, so it has to be done anew as well: name it", field="stages")
    return order[:first]


def _options(asked: JobOptions, engine: str, wish: Rerun) -> JobOptions:
    counts = wish.model_dump(include={"num_speakers", "min_speakers", "max_speakers"})
    return asked.model_copy(
        update={
            "engine": engine,
            "stages": wish.stages,
            "enable_diarization": DIARIZE_STAGE in wish.stages,
            "channel_roles": (),
            "warnings": (),
            **(counts if any(counts.values()) else {}),
        }
    )


async def _text_after(platform: Platform, parent: Job, before: Sequence[str]) -> StageReached:
    """The text as it stood behind the last of `before`: as it was kept, else as the transcript has it."""
    assert parent.result_key is not None
    transcript = await transcripts.load(platform.store, parent.result_key)
    if transcript.speakers_from == "channels":
        raise Invalid("each speaker is on a channel of their own here; there is nothing to tell apart", field="stages")
    kept = await stages.last_kept(platform, parent.owner, parent.id, before)
    return kept or _without_speakers(transcript, before[-1])


def _without_speakers(transcript: Transcript, stage: str) -> StageReached:
    segments = tuple(
        segment.model_copy(
            update={
                "speaker_tag": None,
                "words": tuple(word.model_copy(update={"speaker_tag": None}) for word in segment.words),
            }
        )
        for segment in transcript.segments
    )
    vocabulary = transcript.vocabulary
    return StageReached(
        stage=stage,
        language=transcript.language,
        segments=segments,
        engine=transcript.engine,
        model=transcript.model,
        terms=vocabulary and TermsUsed(used=vocabulary.used, left_out=vocabulary.left_out),
        notices=tuple(notice for notice in transcript.warnings if notice.code not in OF_SPEAKERS),
    )
