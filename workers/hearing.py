"""From a stored recording to a transcript: fetch, decode, channels, the engine, roles."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from config.settings import MediaSettings
from domain.capabilities import EngineReport
from domain.lifecycle import JobOptions
from domain.transcript import Heard, LeftOutTerm, Notice, Segment, TermsUsed, Transcript, Vocabulary, join_text
from engines.contract import Engine, Hearing
from engines.registry import Choice
from media.decode import Decoded, DecodeLimits, decode
from services import contexts
from storage.contract import Store
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


async def fetch(store: Store, key: str, folder: Path) -> None:
    """Bring the recording into `folder`. Raises ObjectNotFound, StorageUnavailable."""
    async with store.open(key) as chunks:
        with (folder / "source").open("wb") as file:
            async for chunk in chunks:
                file.write(chunk)


async def prepare(folder: Path, settings: MediaSettings, options: JobOptions) -> Recording:
    """Decode `folder/source`, its channels apart where each has a speaker of its own. Raises BadMedia and its kin."""
    source, limits = folder / "source", DecodeLimits.of(settings)
    mixed = folder / "audio.wav"
    decoded = await decode(source, mixed, limits)
    recording = Recording(decoded, mixed, (mixed,))
    if 1 < decoded.channels <= MOST_CHANNELS and (options.channel_roles or options.enable_diarization is not False):
        waves = tuple(folder / f"channel-{channel}.wav" for channel in range(decoded.channels))
        for channel, wave in enumerate(waves):
            await decode(source, wave, limits, channel=channel)
        recording = await _told_apart(decoded, mixed, waves, options)
    source.unlink()
    return recording


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


async def hear(choice: Choice, options: JobOptions, recording: Recording, recorder: Recorder) -> Transcript:
    """Have the engine hear the recording, tell the recorder of it as it comes, and make the transcript of it."""
    hearing = hearing_of(choice.report, options, recording)
    async with aclosing(_heard(choice.engine, hearing, recording)) as heard:
        async for item in heard:
            await recorder.take(item)
    language = recorder.detected.language if recorder.detected else hearing.language
    return Transcript(
        language=language,
        duration=recording.decoded.seconds,
        engine=choice.engine.name,
        engine_reason=choice.reason,
        model=options.model or choice.report.default_model,
        segments=tuple(recorder.segments),
        speaker_roles=await asyncio.to_thread(_roles, options, recording, recorder.segments, language),
        vocabulary=_vocabulary(options, recorder),
        flags=await asyncio.to_thread(quality.flags, recorder.segments, recording.mixed),
        warnings=(
            *(Notice.model_validate(warning) for warning in options.warnings),
            *recording.decoded.notices,
            *recording.notices,
            *recorder.notices,
        ),
    )


def _heard(engine: Engine, hearing: Hearing, recording: Recording) -> AsyncGenerator[Heard, None]:
    if not recording.apart:
        return engine.transcribe(recording.waves[0], hearing)
    return hear_apart([engine.transcribe(wave, hearing) for wave in recording.waves])


def hearing_of(report: EngineReport, options: JobOptions, recording: Recording) -> Hearing:
    """What to ask of the engine; of channels that are heard apart each is one speaker's, so it need tell none apart."""
    return Hearing(
        audio_seconds=recording.decoded.seconds,
        language=language_for(report, options.language),
        model=options.model,
        enable_diarization=False if recording.apart else options.enable_diarization,
        min_speakers=None if recording.apart else options.min_speakers,
        max_speakers=None if recording.apart else options.max_speakers,
        terms=options.terms,
    )


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


def _vocabulary(options: JobOptions, recorder: Recorder) -> Vocabulary | None:
    """What became of the context; an engine that said nothing of its terms used none of them."""
    if options.context_id is None or options.context_version is None:
        return None
    told = recorder.terms or TermsUsed(
        left_out=tuple(LeftOutTerm(text=term.text, reason="the engine cannot use terms") for term in options.terms)
    )
    text = join_text(segment.text for segment in recorder.segments)
    return Vocabulary(
        context_id=options.context_id,
        version=options.context_version,
        used=told.used,
        left_out=told.left_out,
        matched=contexts.matched(options.terms, text),
    )
