"""From a stored recording to a transcript: fetch, decode, channels, the engine, roles."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from config.settings import MediaSettings
from domain.capabilities import EngineReport
from domain.errors import EngineFailed
from domain.lifecycle import JobOptions
from domain.transcript import (
    Heard,
    LeftOutTerm,
    Notice,
    Segment,
    StageReached,
    TermsUsed,
    Transcript,
    Vocabulary,
    join_text,
)
from domain.wishes import waive
from engines.contract import Engine, Hearing
from engines.registry import Choice
from media.decode import Decoded, DecodeLimits, decode
from services import contexts
from storage.contract import Store
from workers.measuring import stage
from workers.recorder import Recorder
from workers.stages import quality, roles
from workers.stages.channels import Relation, hear_apart, relate

MOST_CHANNELS = 8


@dataclass(frozen=True, slots=True)
class Recording:
    """A decoded recording, and what the engine is given of it: the mix, or a WAV for each speaker's own channel."""

    decoded: Decoded
    mixed: Path
    waves: tuple[Path, ...]
    notices: tuple[Notice, ...] = ()

    @property
    def apart(self) -> bool:
        return len(self.waves) > 1


async def fetch(store: Store, key: str, folder: Path) -> str:
    """Bring the recording into `folder`; answers its sha256. Raises ObjectNotFound, StorageUnavailable."""
    digest = sha256()
    async with store.open(key) as chunks:
        with (folder / "source").open("wb") as file:
            async for chunk in chunks:
                file.write(chunk)
                digest.update(chunk)
    return digest.hexdigest()


async def prepare(folder: Path, settings: MediaSettings, options: JobOptions) -> Recording:
    """Decode `folder/source`, its channels apart where each has a speaker of its own. Raises BadMedia and its kin."""
    source, limits = folder / "source", DecodeLimits.of(settings)
    mixed = folder / "audio.wav"
    decoded = await decode(source, mixed, limits)
    recording = Recording(decoded, mixed, (mixed,))
    apart_is_wished = options.channel_roles or options.enable_diarization is not False
    if 1 < decoded.channels <= MOST_CHANNELS and apart_is_wished and not options.stages:
        waves = tuple(folder / f"channel-{channel}.wav" for channel in range(decoded.channels))
        for channel, wave in enumerate(waves):
            await decode(source, wave, limits, channel=channel)
        recording = await _told_apart(decoded, mixed, waves, options)
    source.unlink()
    return replace(recording, notices=(*recording.notices, *_of_channels(recording, options)))


def _of_channels(recording: Recording, options: JobOptions) -> Iterator[Notice]:
    """What the caller said of speakers that the recording's channels leave no use for."""
    channels, said = recording.decoded.channels, len(options.channel_roles)
    if said and not options.stages and (channels == 1 or channels > MOST_CHANNELS):
        many = "one channel" if channels == 1 else f"more than {MOST_CHANNELS} channels"
        yield Notice(code="channel_roles_unused", message=f"the recording has {many}: channel_roles tell nobody apart")
    elif said and recording.apart and said != channels:
        uneven = f"there are {channels} channels and {said} channel_roles: they were given out in order"
        yield Notice(code="channel_roles_uneven", message=uneven)
    if recording.apart and options.num_speakers not in (None, channels):
        apart = f"each of {channels} channels was heard as one speaker: num_speakers was not used"
        yield Notice(code="speakers_on_channels", message=apart)


async def _told_apart(decoded: Decoded, mixed: Path, waves: tuple[Path, ...], options: JobOptions) -> Recording:
    relations = {await asyncio.to_thread(relate, waves[0], other) for other in waves[1:]}
    if relations == {Relation.SAME}:
        notice = Notice(
            code="channels_identical", message="every channel has the same sound, so they tell no speakers apart"
        )
        return Recording(decoded, mixed, (mixed,), (notice,) if options.channel_roles else ())
    if options.channel_roles or relations == {Relation.APART}:
        return Recording(decoded, mixed, waves)
    return Recording(decoded, mixed, (mixed,))


@dataclass(frozen=True, slots=True)
class Cast:
    """Who does a job, and where they begin."""

    lead: Choice
    diarizer: Choice | None = None
    """Tells speakers apart where that is wished and the lead cannot."""
    given: StageReached | None = None
    """What an earlier try, or the parent of a rerun, has reached."""
    last_try: bool = False
    """Whether a failure that might pass ends the job: then the text that there is goes out as it is."""

    @property
    def lead_is_needed(self) -> bool:
        stages = self.lead.report.stages
        return self.given is None or self.given.stage in stages[:-1]


def lacks_speakers(report: EngineReport, options: JobOptions, recording: Recording) -> bool:
    """Are speakers wished for that neither the channels nor the engine will tell apart?"""
    counts = (options.num_speakers, options.min_speakers, options.max_speakers)
    unasked = report.speakers_unasked and options.enable_diarization is None
    wished = options.enable_diarization or unasked or any(count is not None for count in counts)
    return bool(wished) and not recording.apart and not report.diarizes


async def hear(cast: Cast, options: JobOptions, recording: Recording, recorder: Recorder) -> Transcript:
    """Have the recording heard, tell the recorder of it as it comes, and make the transcript of it."""
    options = waive(options, cast.lead.engine.name, cast.lead.unmet)
    recorder.begin(cast.lead.engine.name, options.model or cast.lead.report.default_model, cast.given)
    with stage("hear", engine=cast.lead.engine.name):
        text = await _hear_text(cast, options, recording, recorder)
    text, speakers_from = await _with_speakers(cast, options, recording, recorder, text)
    if not recorder.segments:  # none was heard anew; but whoever follows the job wants to see the text
        for segment in text.segments:
            await recorder.take(segment)
    said = (
        *(Notice.model_validate(warning) for warning in options.warnings),
        *recording.decoded.notices,
        *recording.notices,
        *recorder.notices,
    )
    return Transcript(
        language=text.language,
        duration=recording.decoded.seconds,
        engine=cast.lead.engine.name,
        engine_reason=cast.lead.reason,
        model=recorder.model,
        segments=text.segments,
        speakers_from=speakers_from,
        speaker_roles=await asyncio.to_thread(_roles, options, recording, text.segments, text.language),
        vocabulary=await asyncio.to_thread(_vocabulary, options, recorder.terms, text.segments),
        flags=await asyncio.to_thread(quality.flags, text.segments, recording.mixed),
        warnings=tuple(dict.fromkeys(said)),
    )


async def _hear_text(cast: Cast, options: JobOptions, recording: Recording, recorder: Recorder) -> StageReached:
    """All that the lead makes of the recording; where it fails late and for good, what it had reached by then."""
    if cast.given is not None and not cast.lead_is_needed:
        return cast.given
    left_to_others = recording.apart or cast.diarizer is not None
    asked = _without_speakers(options) if left_to_others else options
    hearing = hearing_of(cast.lead.report, asked, recording, cast.given)
    try:
        async with aclosing(_heard(cast.lead.engine, hearing, recording)) as heard:
            async for item in heard:
                await recorder.take(item)
    except EngineFailed as error:
        if recorder.reached is None or (error.retryable and not cast.last_try):
            raise
        failed = f"nothing behind the stage {recorder.reached.stage} could be done: {error}"
        await recorder.take(Notice(code="stages_failed", message=failed))
        return recorder.reached
    language = recorder.detected.language if recorder.detected else hearing.language
    return StageReached(stage=cast.lead.report.stages[-1], language=language, segments=tuple(recorder.segments))


async def _with_speakers(
    cast: Cast, options: JobOptions, recording: Recording, recorder: Recorder, text: StageReached
) -> tuple[StageReached, str | None]:
    """The text with its speakers, and who told them apart."""
    if recording.apart:
        return text, "channels" if text.segments else None
    if any(segment.speaker_tag is not None for segment in text.segments):
        return text, cast.lead.engine.name
    if cast.diarizer is None or not text.segments:
        return text, None
    if text is not cast.given:
        await recorder.take(text)
    with stage("speakers"):
        told = await _tell_apart(cast, options, recording, recorder, text)
    return (text, None) if told is None else (text.model_copy(update={"segments": told}), cast.diarizer.engine.name)


async def _tell_apart(
    cast: Cast, options: JobOptions, recording: Recording, recorder: Recorder, text: StageReached
) -> tuple[Segment, ...] | None:
    """The segments as the diarizer gives them back; what it was given has been streamed, and stands if it fails."""
    assert cast.diarizer is not None
    told: list[Segment] = []
    hearing = hearing_of(cast.diarizer.report, options, recording, text)
    try:
        async with aclosing(cast.diarizer.engine.transcribe(recording.mixed, hearing)) as heard:
            async for item in heard:
                if isinstance(item, Segment):
                    told.append(item)
                else:
                    await recorder.take(item)
    except EngineFailed as error:
        if error.retryable and not cast.last_try:
            raise
        await recorder.take(Notice(code="diarization_failed", message=f"speakers are not told apart: {error}"))
        return None
    if _words(told) != _words(text.segments):
        said = f"speakers are not told apart: {cast.diarizer.engine.name} gave back other words than it was given"
        await recorder.take(Notice(code="diarization_failed", message=said))
        return None
    return tuple(told)


def _words(segments: Iterable[Segment]) -> list[str]:
    return [word for segment in segments for word in segment.text.split()]


def _heard(engine: Engine, hearing: Hearing, recording: Recording) -> AsyncGenerator[Heard, None]:
    if not recording.apart:
        return engine.transcribe(recording.waves[0], hearing)
    return hear_apart([engine.transcribe(wave, hearing) for wave in recording.waves])


def hearing_of(
    report: EngineReport, options: JobOptions, recording: Recording, given: StageReached | None = None
) -> Hearing:
    """What to ask of the engine."""
    return Hearing(
        audio_seconds=recording.decoded.seconds,
        language=given.language if given else language_for(report, options.language),
        model=options.model if report.transcribes else None,
        enable_diarization=options.enable_diarization,
        num_speakers=options.num_speakers,
        min_speakers=options.min_speakers,
        max_speakers=options.max_speakers,
        terms=options.terms,
        given=given,
        options=options.engine_options if report.transcribes else {},
    )


def _without_speakers(options: JobOptions) -> JobOptions:
    """The same for an engine that need tell nobody apart: the channels do, each with one speaker, or the diarizer."""
    nobody = {"enable_diarization": False, "num_speakers": None, "min_speakers": None, "max_speakers": None}
    return options.model_copy(update=nobody)


def language_for(report: EngineReport, wanted: str | None) -> str | None:
    """The engine's own spelling of the wanted language; with none wanted, detection where it can, else its default."""
    if wanted is not None:
        return report.match_language(wanted)
    return None if report.detects_language else report.default_language


def _roles(
    options: JobOptions, recording: Recording, segments: Sequence[Segment], language: str | None
) -> dict[str, str]:
    """Who is who: as the caller said of the channels, else from what is said, else nobody."""
    if recording.apart and options.channel_roles:
        return {str(channel): role for channel, role in enumerate(options.channel_roles[: len(recording.waves)])}
    return {str(tag): role for tag, role in roles.assign(segments, language).roles.items()}


def _vocabulary(options: JobOptions, terms: TermsUsed | None, segments: Sequence[Segment]) -> Vocabulary | None:
    """What became of the context; an engine that said nothing of its terms used none of them."""
    if options.context_id is None or options.context_version is None:
        return None
    told = terms or TermsUsed(
        left_out=tuple(LeftOutTerm(text=term.text, reason="the engine cannot use terms") for term in options.terms)
    )
    text = join_text(segment.text for segment in segments)
    return Vocabulary(
        context_id=options.context_id,
        version=options.context_version,
        used=told.used,
        left_out=told.left_out,
        matched=contexts.matched(options.terms, text),
    )
