"""`whisperx`: Whisper in batches, words aligned by wav2vec2, speakers told apart by pyannote.

Four stages: `vad`, `transcribe`, `align`, `diarize`. What the first two need has to be there; where one of the others
cannot be had or fails, the transcript stands without it and a Notice says so.
"""

import logging
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Self, TypeVar

import numpy as np

from config.settings import EngineSettings
from domain.capabilities import DIARIZE_STAGE, TRANSCRIBE_STAGE, EngineReport, Term
from domain.errors import EngineFailed, EngineOutOfMemory
from domain.transcript import Detected, Heard, Notice, Progress, TermsUsed
from engines.contract import SAMPLE_RATE_HZ, Hearing
from engines.server.contract import OnDownload
from engines.server.models.faster_whisper import LANGUAGES, tag_of, whisper_code
from engines.server.models.following import TellShare, follow
from engines.server.models.hotwords import PROMPT_TOKENS, fit_terms
from engines.server.models.samples import Samples, read_samples
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
from engines.server.models.whisperx_words import Found, Sentence, Voices, settle_times, to_segments

logger = logging.getLogger(__name__)

T = TypeVar("T")

VAD_STAGE = "vad"
ALIGN_STAGE = "align"

OPTIONS = {
    "type": "object",
    "properties": {
        "num_speakers": {"type": "integer", "minimum": 1, "maximum": 50, "description": "Exactly so many speak."},
        "hotwords": {"type": "string", "maxLength": 4000, "description": "Words to listen for, parted by commas."},
        "initial_prompt": {
            "type": "string",
            "maxLength": 4000,
            "not": {"pattern": r"<\|"},  # a command of Whisper's, see CONTROL_MARK
            "description": "Text that Whisper takes for what was said before, in every window: it sets a style.",
        },
    },
    "additionalProperties": False,
}

_LANGUAGE_SECONDS = 90
"""Speech that the language is found from: three of Whisper's windows."""


class WhisperX:
    def __init__(self, recogniser: Recogniser, settings: EngineSettings, device: str) -> None:
        self._recogniser = recogniser
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
        folder = settings.whisperx_diarization_model
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
            diarizes=folder is not None and (folder / "config.yaml").is_file(),
            boosts_words=True,
            options=OPTIONS,
        )

    @classmethod
    def load(cls, settings: EngineSettings, model: str | None, on_download: OnDownload, /) -> Self:
        folder = _allowed(settings)[model or resolve(settings.whisperx_model).name].obtain(settings, on_download)
        bring_in(offline=settings.offline)
        device = settings.whisper_device
        if device == "auto":
            device = "cuda" if has_cuda() else "cpu"
        compute_type = settings.whisper_compute_type
        if compute_type == "auto":
            compute_type = "float16" if device == "cuda" else "int8"
        try:
            return cls(Recogniser.open(folder, device, compute_type), settings, device)
        except (RuntimeError, ValueError) as error:  # what CTranslate2 and torch raise for what a machine lacks
            if _is_out_of_memory(error):
                raise _out_of_memory() from error
            raise EngineFailed(
                f"WhisperX cannot compute on {device} with {compute_type}: set WHISPER_DEVICE and WHISPER_COMPUTE_TYPE "
                "to what this machine has, and see the engine server's log for the library's own words",
                retryable=False,
            ) from error

    def transcribe(self, audio: Path, hearing: Hearing) -> Iterator[Heard]:
        code = self._known_code(hearing.language)
        job = _Job(read_samples(audio), hearing)
        vocabulary = yield from self._read_vocabulary(hearing)
        stretches = yield from self._find_speech(job)
        if not stretches:
            return
        if code is None:
            code, probability = self._recogniser.detect_language(_speech_of(job.samples, stretches))
            yield Detected(language=tag_of(code), probability=min(1.0, probability))
        heard = yield from self._hear(job, stretches, code, vocabulary)
        if heard:
            yield from self._finish(job, heard, code)

    def _known_code(self, tag: str | None) -> str | None:
        """Whisper's code for the language, None where it has to be found out."""
        languages = self._recogniser.languages
        if tag is None:
            return languages[0] if len(languages) == 1 else None
        code = whisper_code(tag)
        if code not in languages:
            raise EngineFailed(f"this Whisper model does not know {tag!r}; choose another model", retryable=False)
        return code

    def _read_vocabulary(self, hearing: Hearing) -> Generator[Heard, None, "_Vocabulary"]:
        count = self._recogniser.count_tokens
        asked = [
            Term(text=text.strip()[:200]) for text in hearing.options.get("hotwords", "").split(",") if text.strip()
        ]
        prompt, shortened = _shorten(hearing.options.get("initial_prompt", ""), count)
        room = PROMPT_TOKENS - (count(prompt) if prompt else 0)
        hotwords, used = fit_terms([*asked, *hearing.terms], count, room)
        if shortened:
            yield Notice(
                code="prompt_shortened", message=f"of the prompt, Whisper reads the last {PROMPT_TOKENS} tokens"
            )
        if used != TermsUsed():
            yield used
        return _Vocabulary(hotwords, prompt or None)

    def _find_speech(self, job: "_Job") -> Generator[Heard, None, list[Stretch]]:
        yield job.progress(VAD_STAGE, 0)
        stretches = yield from job.told(VAD_STAGE, lambda tell: self._recogniser.find_speech(job.samples, tell))
        yield job.progress(VAD_STAGE, job.seconds)
        return stretches

    def _hear(
        self, job: "_Job", stretches: list[Stretch], code: str, vocabulary: "_Vocabulary"
    ) -> Generator[Heard, None, list[Found]]:
        """The text of every stretch; a batch that is too much for the memory is tried once more in halves."""
        found: list[Found] = []
        size, halved = self._batch_size, False
        yield job.progress(TRANSCRIBE_STAGE, 0)
        while len(found) < len(stretches):
            batch = stretches[len(found) : len(found) + size]
            try:
                found += self._recogniser.hear(
                    job.samples, batch, code, hotwords=vocabulary.hotwords, initial_prompt=vocabulary.initial_prompt
                )
            except (RuntimeError, MemoryError) as error:
                if not _is_out_of_memory(error):
                    raise
                if halved or size == 1:
                    raise _out_of_memory() from error
                logger.warning("out of memory: a batch of %d is tried in halves", size)
                size, halved = size // 2, True
                free_memory(self._device)
                continue
            yield job.progress(TRANSCRIBE_STAGE, found[-1]["end"])
        yield job.progress(TRANSCRIBE_STAGE, job.seconds)
        return [stretch for stretch in found if stretch["text"].strip()]

    def _finish(self, job: "_Job", heard: list[Found], code: str) -> Iterator[Heard]:
        """Align and tell apart, as far as that can be had. Without speakers, sentences go out as they are aligned."""
        voices = Voices()
        wants_speakers = job.hearing.enable_diarization is not False
        kept: list[Found] = []
        for item in self._align(job, heard, tag_of(code)):
            if not isinstance(item, Sentence):
                yield item
            elif wants_speakers:
                kept.append(item.found)
            else:
                yield from to_segments(item.found, voices)
        if wants_speakers:
            yield job.progress(DIARIZE_STAGE, 0)
            yield from self._diarize(job, kept)
            yield job.progress(DIARIZE_STAGE, job.seconds)
        for sentence in kept:
            yield from to_segments(sentence, voices)

    def _align(self, job: "_Job", heard: list[Found], language: str) -> Iterator[Heard | Sentence]:
        yield job.progress(ALIGN_STAGE, 0)
        aligner = yield from self._open_aligner(language)
        alphabet = aligner.alphabet if aligner else frozenset[str]()
        earliest = 0.0
        failed = estimated = 0
        for stretch in heard:
            for found in (aligner and _try_to_align(aligner, stretch, job.samples)) or [stretch]:
                sentence = settle_times(found, alphabet, earliest, job.seconds)
                earliest = sentence.found["end"]
                failed += not sentence.found["words"]
                estimated += sentence.estimated
                yield sentence
            yield job.progress(ALIGN_STAGE, earliest)
        yield job.progress(ALIGN_STAGE, job.seconds)
        if aligner:
            yield from _alignment_notices(failed, estimated)

    def _open_aligner(self, language: str) -> Generator[Heard, None, Aligner | None]:
        if self._aligner is None or self._aligner.language != language:
            self._aligner = None  # the one before leaves memory first
            try:
                self._aligner = Aligner.open(language, self._settings, self._device)
            except Unavailable as error:
                yield Notice(code="alignment_unavailable", message=f"words have no times: {error}")
        return self._aligner

    def _diarize(self, job: "_Job", sentences: list[Found]) -> Iterator[Heard]:
        try:
            self._diarizer = self._diarizer or Diarizer.open(self._settings, self._device)
        except Unavailable as error:
            yield Notice(code="diarization_unavailable", message=f"speakers are not told apart: {error}")
            return
        find_turns = partial(
            self._diarizer.find_turns,
            job.samples,
            exactly=job.hearing.options.get("num_speakers"),
            least=job.hearing.min_speakers,
            most=job.hearing.max_speakers,
        )
        try:
            turns = yield from job.told(DIARIZE_STAGE, find_turns)
        except Exception as error:  # whatever it is, it must not take the transcript along
            logger.exception("diarization failed")
            yield Notice(
                code="diarization_failed",
                message=f"speakers are not told apart: diarization failed ({type(error).__name__}); the log has more",
            )
            return
        finally:
            free_memory(self._device)
        Diarizer.assign(turns, sentences)


@dataclass(frozen=True, slots=True)
class _Vocabulary:
    hotwords: str | None
    initial_prompt: str | None


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


def _allowed(settings: EngineSettings) -> dict[str, Weights]:
    """By public name: all that the settings name. A request can choose among these, never name a path."""
    named = (resolve(text) for text in (*settings.whisperx_models, settings.whisperx_model))
    return {weights.name: weights for weights in named}


def _speech_of(samples: Samples, stretches: Iterable[Stretch]) -> Samples:
    """The first speech, without the pauses: a language is not found from silence."""
    spans = [span for stretch in stretches for span in stretch["segments"]]
    cuts = [samples[int(start * SAMPLE_RATE_HZ) : int(end * SAMPLE_RATE_HZ)] for start, end in spans]
    return np.concatenate(cuts)[: _LANGUAGE_SECONDS * SAMPLE_RATE_HZ]


def _shorten(prompt: str, count: Callable[[str], int]) -> tuple[str, bool]:
    """The end of `prompt` that Whisper has room for, by whole words; and whether it is shorter."""
    words = prompt.split()
    first = 0
    while first < len(words) and count(" ".join(words[first:])) > PROMPT_TOKENS:
        first += 1
    return " ".join(words[first:]), first > 0


def _try_to_align(aligner: Aligner, stretch: Found, samples: Samples) -> list[Found] | None:
    try:
        return aligner.align(stretch, samples)
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
