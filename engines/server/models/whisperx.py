"""`whisperx`: Whisper in batches, words aligned by wav2vec2, speakers told apart by pyannote.

Four stages: `vad`, `transcribe`, `align`, `diarize`. What the first two need has to be there; where one of the others
cannot be had or fails, the transcript stands without it and a Notice says so. What a stage has reached can be given to
another job, which then begins behind it.
"""

import logging
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Self, TypeVar

import numpy as np

from config.settings import EngineSettings
from domain.capabilities import DIARIZE_STAGE, TRANSCRIBE_STAGE, EngineReport, base_language
from domain.errors import EngineFailed, EngineOutOfMemory
from domain.transcript import Detected, Heard, Notice, Progress, Segment, StageReached
from engines.contract import SAMPLE_RATE_HZ, Hearing
from engines.server.contract import OnDownload
from engines.server.models.faster_whisper import LANGUAGES, tag_of, whisper_code
from engines.server.models.following import TellShare, follow
from engines.server.models.hotwords import read_prompt
from engines.server.models.samples import Samples, read_samples
from engines.server.models.speakers import SaidBy, tell_apart
from engines.server.models.translating import INTO, WHISPER_OPTIONS, task_of, translates
from engines.server.models.weights import Weights, resolve
from engines.server.models.whisperx_library import (
    Aligner,
    Diarizer,
    Recogniser,
    Stretch,
    Unavailable,
    bring_in,
    free_memory,
    has_cuda,
)
from engines.server.models.whisperx_words import Aligned, settle, to_segment

logger = logging.getLogger(__name__)

T = TypeVar("T")

VAD_STAGE = "vad"
ALIGN_STAGE = "align"

_LANGUAGE_SECONDS = 90
"""Speech that the language is found from: three of Whisper's windows."""

_LONGEST_ALIGNED_SECONDS = 90
"""Of a segment from another engine; Whisper's have 30. wav2vec2 hears it at once, in memory that grows by the square:
1 GB for this, the machine's for ten minutes."""


class WhisperX:
    """Opens the model of a stage when that stage is first reached: a job that begins behind one does without it."""

    def __init__(self, open_recogniser: Callable[[], Recogniser], settings: EngineSettings, device: str) -> None:
        self._open_recogniser = open_recogniser
        self._settings = settings
        self._device = device
        self._batch_size = settings.whisperx_batch_size or (16 if device == "cuda" else 4)
        self._aligner: Aligner | None = None
        self._diarizer: Diarizer | None = None

    @classmethod
    def report(cls, settings: EngineSettings, /) -> EngineReport:
        installed = find_spec("whisperx") is not None
        default = resolve(settings.whisperx_model).name
        english = default.endswith(".en")
        diarizes = _diarizes(settings)
        return EngineReport(
            engine="whisperx",
            available=installed,
            reason=None if installed else "WhisperX is not installed here: run `make whisperx`",
            description="WhisperX: Whisper in batches, words timed by alignment, speakers told apart by pyannote.",
            quality=60,
            models=tuple(weights.report(settings) for weights in _allowed(settings).values()),
            default_model=default,
            languages=("en",) if english else LANGUAGES,
            default_language="en" if english else None,
            detects_language=not english,
            diarizes=diarizes,
            speakers_unasked=True,
            boosts_words=True,
            stages=(VAD_STAGE, TRANSCRIBE_STAGE, ALIGN_STAGE, *([DIARIZE_STAGE] if diarizes else [])),
            options=WHISPER_OPTIONS,
        )

    @classmethod
    def load(cls, settings: EngineSettings, model: str | None, on_download: OnDownload, /) -> Self:
        folder = _allowed(settings)[model or resolve(settings.whisperx_model).name].obtain(settings, on_download)
        bring_in(offline=settings.offline)
        device = settings.whisper_device
        if device == "auto":
            device = "cuda" if has_cuda() else "cpu"
        return cls(partial(_open_recogniser, folder, settings, device), settings, device)

    def transcribe(self, audio: Path, hearing: Hearing) -> Iterator[Heard]:
        job = _Job(read_samples(audio), hearing)
        reached = hearing.given
        if reached is None:
            reached = yield from self._recognise(job)
            if reached.segments:
                yield reached
        if reached.segments:
            yield from self._finish(job, reached)

    def _recognise(self, job: "_Job") -> Generator[Heard, None, StageReached]:
        """The text, in stretches of up to half a minute."""
        code = self._known_code(job.hearing.language)
        yield job.progress(VAD_STAGE, 0)
        prompt, told = read_prompt(job.hearing, self._recogniser.count_tokens)
        yield from told
        stretches = yield from self._find_speech(job)
        if not stretches:
            return StageReached(stage=VAD_STAGE)
        if code is None:
            code, probability = self._recogniser.detect_language(_speech_of(job.samples, stretches))
            if not translates(job.hearing):
                yield Detected(language=tag_of(code), probability=min(1.0, probability))
        if translates(job.hearing):
            yield Detected(language=INTO)
            yield Notice(code="no_word_times", message="a translation's words have no times: nobody has spoken them")
        heard = yield from self._hear(job, stretches, code, prompt)
        language = INTO if translates(job.hearing) else tag_of(code)
        return StageReached(stage=TRANSCRIBE_STAGE, language=language, segments=tuple(heard))

    @cached_property
    def _recogniser(self) -> Recogniser:
        return self._open_recogniser()

    def _known_code(self, tag: str | None) -> str | None:
        """Whisper's code for the language, None where it has to be found out."""
        languages = self._recogniser.languages
        if tag is None:
            return languages[0] if len(languages) == 1 else None
        code = whisper_code(tag)
        if code not in languages:
            raise EngineFailed(f"this Whisper model does not know {tag!r}; choose another model", retryable=False)
        return code

    def _find_speech(self, job: "_Job") -> Generator[Heard, None, list[Stretch]]:
        stretches = yield from job.told(VAD_STAGE, lambda tell: self._recogniser.find_speech(job.samples, tell))
        yield job.progress(VAD_STAGE, job.seconds)
        return stretches

    def _hear(
        self, job: "_Job", stretches: list[Stretch], code: str, prompt: str | None
    ) -> Generator[Heard, None, list[Segment]]:
        """The text of every stretch; a batch that is too much for the memory is tried once more in halves."""
        heard: list[Segment] = []
        size, halved = self._batch_size, False
        yield job.progress(TRANSCRIBE_STAGE, 0)
        while len(heard) < len(stretches):
            batch = stretches[len(heard) : len(heard) + size]
            try:
                found = self._recogniser.hear(job.samples, batch, code, prompt, task_of(job.hearing))
            except (RuntimeError, MemoryError) as error:
                if not _is_out_of_memory(error):
                    raise
                if halved or size == 1:
                    raise _out_of_memory() from error
                logger.warning("out of memory: a batch of %d is tried in halves", size)
                size, halved = size // 2, True
                free_memory(self._device)
                continue
            for stretch in found:
                heard.append(to_segment(stretch, heard[-1].end if heard else 0.0, job.seconds))
            yield job.progress(TRANSCRIBE_STAGE, heard[-1].end)
        yield job.progress(TRANSCRIBE_STAGE, job.seconds)
        return [segment for segment in heard if segment.text]

    def _finish(self, job: "_Job", reached: StageReached) -> Iterator[Heard]:
        """Align and tell apart, as far as that can be had. Without speakers, sentences go out as they are aligned."""
        wants_speakers = job.hearing.enable_diarization is not False
        segments: list[Segment] = []
        stands = reached.stage == ALIGN_STAGE or translates(job.hearing)
        for item in reached.segments if stands else self._align(job, reached):
            if wants_speakers and isinstance(item, Segment):
                segments.append(item)
            else:
                yield item
        if not wants_speakers:
            return
        if not stands and self._aligner is not None and _diarizes(self._settings):
            yield StageReached(stage=ALIGN_STAGE, language=reached.language, segments=tuple(segments))
        yield job.progress(DIARIZE_STAGE, 0)
        said_by = yield from self._find_speakers(job, segments)
        yield job.progress(DIARIZE_STAGE, job.seconds)
        yield from segments if said_by is None else tell_apart(segments, said_by)

    def _align(self, job: "_Job", reached: StageReached) -> Iterator[Heard]:
        """The text as sentences with words, where that can be had; else as it is."""
        yield job.progress(ALIGN_STAGE, 0)
        aligner = yield from self._open_aligner(reached.language or job.hearing.language)
        failed = estimated = 0
        for stretch in reached.segments:
            aligned = _try_to_align(aligner, stretch, job.samples) if aligner else None
            yield from aligned.sentences if aligned else [stretch]
            failed += aligned.unplaced if aligned else not stretch.words
            estimated += aligned.estimated if aligned else 0
            yield job.progress(ALIGN_STAGE, stretch.end)
        yield job.progress(ALIGN_STAGE, job.seconds)
        if aligner:
            yield from _alignment_notices(failed, estimated)

    def _open_aligner(self, tag: str | None) -> Generator[Heard, None, Aligner | None]:
        language = base_language(tag) if tag else None
        if self._aligner is None or self._aligner.language != language:
            self._aligner = None  # the one before leaves memory first
            try:
                if language is None:
                    raise Unavailable("nobody has said which language the text is in: name it")
                self._aligner = Aligner.open(language, self._settings, self._device)
            except Unavailable as error:
                yield Notice(code="alignment_unavailable", message=f"words are not aligned: {error}")
        return self._aligner

    def _find_speakers(self, job: "_Job", segments: list[Segment]) -> Generator[Heard, None, list[SaidBy] | None]:
        """None where that cannot be had."""
        try:
            self._diarizer = self._diarizer or Diarizer.open(self._settings, self._device)
        except Unavailable as error:
            yield Notice(code="diarization_unavailable", message=f"speakers are not told apart: {error}")
            return None
        find_turns = partial(
            self._diarizer.find_turns,
            job.samples,
            exactly=job.hearing.num_speakers,
            least=job.hearing.min_speakers,
            most=job.hearing.max_speakers,
        )
        try:
            turns = yield from job.told(DIARIZE_STAGE, find_turns)
            return Diarizer.assign(turns, segments)
        except Exception as error:  # whatever it is, it must not take the transcript along
            logger.exception("diarization failed")
            failed = f"speakers are not told apart: diarization failed ({type(error).__name__}); the log has more"
            yield Notice(code="diarization_failed", message=failed)
            return None
        finally:
            free_memory(self._device)


class _Job:
    """One recording, and how far each stage has got with it."""

    def __init__(self, samples: Samples, hearing: Hearing) -> None:
        self.samples = samples
        self.hearing = hearing
        self.seconds = samples.size / SAMPLE_RATE_HZ

    def progress(self, stage: str, done: float) -> Progress:
        return Progress(stage=stage, done=min(float(done), self.seconds), total=self.seconds)

    def told(self, stage: str, work: Callable[[TellShare], T]) -> Generator[Heard, None, T]:
        """Do what tells by itself which share of a stage is done."""
        furthest = 0.0
        with closing(follow(work)) as shares:
            while True:
                try:
                    share = next(shares)
                except StopIteration as end:
                    result: T = end.value
                    return result
                if furthest < share < 1:
                    furthest = share
                    yield self.progress(stage, furthest * self.seconds)


def _open_recogniser(folder: Path, settings: EngineSettings, device: str) -> Recogniser:
    """Raises EngineFailed."""
    compute_type = settings.whisper_compute_type
    if compute_type == "auto":
        compute_type = "float16" if device == "cuda" else "int8"
    try:
        return Recogniser.open(folder, device, compute_type)
    except (RuntimeError, ValueError) as error:  # what CTranslate2 and torch raise for what a machine lacks
        if _is_out_of_memory(error):
            raise _out_of_memory() from error
        raise EngineFailed(
            f"WhisperX cannot compute on {device} with {compute_type}: set WHISPER_DEVICE and WHISPER_COMPUTE_TYPE "
            "to what this machine has, and see the engine server's log for the library's own words",
            retryable=False,
        ) from error


def _diarizes(settings: EngineSettings) -> bool:
    folder = settings.whisperx_diarization_model
    return folder is not None and (folder / "config.yaml").is_file()


def _allowed(settings: EngineSettings) -> dict[str, Weights]:
    """By public name: all that the settings name. A request can choose among these, never name a path."""
    named = (resolve(text) for text in (*settings.whisperx_models, settings.whisperx_model))
    return {weights.name: weights for weights in named}


def _speech_of(samples: Samples, stretches: Iterable[Stretch]) -> Samples:
    """The first speech, without the pauses: a language is not found from silence."""
    spans = [span for stretch in stretches for span in stretch["segments"]]
    cuts = [samples[int(start * SAMPLE_RATE_HZ) : int(end * SAMPLE_RATE_HZ)] for start, end in spans]
    return np.concatenate(cuts)[: _LANGUAGE_SECONDS * SAMPLE_RATE_HZ]


def _try_to_align(aligner: Aligner, stretch: Segment, samples: Samples) -> Aligned | None:
    if stretch.end - stretch.start > _LONGEST_ALIGNED_SECONDS:
        return None
    try:
        return settle(stretch, aligner.align(stretch, samples), aligner.alphabet)
    except Exception:  # whatever it is, it must not take the transcript along
        logger.exception("alignment failed")
        return None


def _alignment_notices(failed: int, estimated: int) -> Iterator[Notice]:
    if failed:
        yield Notice(code="alignment_failed", message=f"{failed} segments could not be aligned: no word times there")
    if estimated:
        yield Notice(
            code="unaligned_words",
            message=f"the times of {estimated} words, as of numbers in digits, are guessed from the words beside them",
        )


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or "out of memory" in str(error).lower()


def _out_of_memory() -> EngineOutOfMemory:
    advice = "choose a smaller model, lower WHISPERX_BATCH_SIZE, or give it more memory"
    return EngineOutOfMemory(f"WhisperX ran out of memory: {advice}", retryable=True)
