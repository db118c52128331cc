"""`whisperx`: Whisper in batches, words aligned by wav2vec2, speakers told apart by pyannote.

Four stages: `vad`, `transcribe`, `align`, `diarize`. What the first two need has to be there; where one of the others
cannot be had or fails, the transcript stands without it and a Notice says so.
"""

import logging
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from config.settings import EngineSettings
from domain.capabilities import EngineReport, Term
from domain.errors import EngineFailed, EngineOutOfMemory
from domain.transcript import Detected, Heard, Notice, Progress, TermsUsed
from engines.contract import SAMPLE_RATE_HZ, TRANSCRIBE_STAGE, Hearing
from engines.server.contract import OnDownload
from engines.server.models.faster_whisper import LANGUAGES, tag_of, whisper_code
from engines.server.models.following import TellShare, follow
from engines.server.models.hotwords import PROMPT_TOKENS, fit_terms
from engines.server.models.samples import Samples, read_samples
from engines.server.models.weights import Weights, resolve
from engines.server.models.whisperx_words import Found, Voices, settle_times, to_segments

if TYPE_CHECKING:
    from engines.server.models.whisperx_library import Aligner, Diarizer, Recogniser, Stretch

logger = logging.getLogger(__name__)

VAD_STAGE = "vad"
ALIGN_STAGE = "align"
DIARIZE_STAGE = "diarize"

OPTIONS = {
    "type": "object",
    "properties": {
        "num_speakers": {"type": "integer", "minimum": 1, "maximum": 50, "description": "Exactly so many speak."},
        "hotwords": {"type": "string", "maxLength": 4000, "description": "Words to listen for, parted by commas."},
        "initial_prompt": {
            "type": "string",
            "maxLength": 4000,
            "description": "Text that Whisper takes for what was said before, in every window: it sets a style.",
        },
    },
    "additionalProperties": False,
}

_LANGUAGE_SECONDS = 90
"""Speech that the language is found from: three of Whisper's windows."""


class WhisperX:
    def __init__(self, recogniser: "Recogniser", settings: EngineSettings, device: str) -> None:
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
        from engines.server.models import whisperx_library as library  # torch and all that comes with it

        folder = _allowed(settings)[model or resolve(settings.whisperx_model).name].obtain(settings, on_download)
        library.bring_in(offline=settings.offline)
        device = settings.whisper_device
        if device == "auto":
            device = "cuda" if library.has_cuda() else "cpu"
        compute_type = settings.whisper_compute_type
        if compute_type == "auto":
            compute_type = "float16" if device == "cuda" else "int8"
        try:
            return cls(library.Recogniser.open(folder, device, compute_type), settings, device)
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
        yield from self._finish(job, heard, code)

    def _known_code(self, tag: str | None) -> str | None:
        code = None if tag is None else whisper_code(tag)
        if code is not None and code not in self._recogniser.languages:
            raise EngineFailed(f"this Whisper model does not know {tag!r}; choose another model", retryable=False)
        return code

    def _read_vocabulary(self, hearing: Hearing) -> Generator[Heard, None, "_Vocabulary"]:
        count = self._recogniser.count_tokens
        asked = [Term(text=text.strip()[:200]) for text in hearing.options.get("hotwords", "").split(",") if text.strip()]
        prompt, shortened = _shorten(hearing.options.get("initial_prompt", ""), count)
        room = PROMPT_TOKENS - (count(prompt) if prompt else 0)
        hotwords, used = fit_terms([*asked, *hearing.terms], count, room)
        if shortened:
            yield Notice(code="prompt_shortened", message=f"of the prompt, Whisper reads the last {PROMPT_TOKENS} tokens")
        if used != TermsUsed():
            yield used
        return _Vocabulary(hotwords, prompt or None)

    def _find_speech(self, job: "_Job") -> Generator[Heard, None, list["Stretch"]]:
        stretches = yield from job.told(VAD_STAGE, lambda tell: self._recogniser.find_speech(job.samples, tell))
        return stretches

    def _hear(
        self, job: "_Job", stretches: list["Stretch"], code: str, vocabulary: "_Vocabulary"
    ) -> Generator[Heard, None, list[Found]]:
        """The text of every stretch; a batch that is too much for the memory is tried once more in halves."""
        found: list[Found] = []
        size, halved = self._batch_size, False
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
                continue
            yield job.progress(TRANSCRIBE_STAGE, found[-1]["end"])
        yield job.progress(TRANSCRIBE_STAGE, job.seconds)
        return [stretch for stretch in found if stretch["text"].strip()]

    def _finish(self, job: "_Job", heard: list[Found], code: str) -> Iterator[Heard]:
        """Align and tell apart, as far as that can be had. Without speakers, sentences go out as they are aligned."""
        voices = Voices()
        wants_speakers = job.hearing.enable_diarization is not False and bool(heard)
        kept: list[Found] = []
        for item in self._align(job, heard, code):
            if not isinstance(item, dict):
                yield item
            elif wants_speakers:
                kept.append(item)
            else:
                yield from to_segments(item, voices)
        if wants_speakers:
            yield from self._diarize(job, kept)
            for sentence in kept:
                yield from to_segments(sentence, voices)

    def _align(self, job: "_Job", heard: list[Found], code: str) -> Iterator[Heard | Found]:
        aligner = yield from self._aligner_for(tag_of(code)) if heard else None
        estimated = failed = 0
        latest = 0.0
        for stretch in heard:
            aligned = _try_to_align(aligner, stretch, job.samples) if aligner else None
            failed += aligner is not None and aligned is None
            for sentence in aligned or [stretch]:
                if aligned is None or aligner is None:
                    latest = max(latest, min(stretch["end"], job.seconds))
                    yield Found(**{**sentence, "words": []})
                    continue
                settled = settle_times(sentence, aligner.alphabet, latest, job.seconds)
                estimated += settled.estimated
                latest = settled.found["end"]
                yield settled.found
            if aligner is not None:
                yield job.progress(ALIGN_STAGE, stretch["end"])
        yield from _alignment_notices(failed, len(heard), estimated)
        if aligner is not None:
            yield job.progress(ALIGN_STAGE, job.seconds)
