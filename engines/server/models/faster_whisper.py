"""`whisper`: OpenAI's Whisper by way of faster-whisper, on a CPU or on CUDA."""

import logging
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from config.settings import EngineSettings
from domain.capabilities import TRANSCRIBE_STAGE, EngineReport, base_language
from domain.errors import EngineFailed
from domain.transcript import Detected, Heard, Progress, Segment, Word
from engines.contract import SAMPLE_RATE_HZ, Hearing
from engines.server.contract import OnDownload
from engines.server.models.hotwords import read_prompt
from engines.server.models.samples import read_samples
from engines.server.models.translating import INTO, WHISPER_OPTIONS, task_of, translates
from engines.server.models.weights import allowed_weights, default_weights

logger = logging.getLogger(__name__)

_LANGUAGES = """
    af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw he hi hr ht hu hy id is
    it ja jv ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne nl nn no oc pa pl ps pt ro ru sa sd si sk
    sl sn so sq sr su sv sw ta te tg th tk tl tr tt uk ur uz vi yi yo yue zh
"""

LANGUAGES = tuple(_LANGUAGES.split())
"""As BCP 47 tags; Whisper itself says "jw" for Javanese. Large models older than v3 lack yue."""

_OWN_CODES = {"jv": "jw"}
_TAGS = {code: tag for tag, code in _OWN_CODES.items()}


def whisper_code(tag: str) -> str:
    """Whisper's code for a BCP 47 tag, whether it has that language or not."""
    language = base_language(tag)
    return _OWN_CODES.get(language, language)


def tag_of(code: str) -> str:
    """The BCP 47 tag of Whisper's code."""
    return _TAGS.get(code, code)


MOST_THREADS = 8
"""CPU threads beyond which decoding gains little: its steps are small, and one waits for the other."""

_DECODING = {
    "beam_size": 5,
    "vad_filter": True,
    "vad_parameters": {"min_silence_duration_ms": 500},
    "word_timestamps": True,
    # A window that went wrong would otherwise be the prompt of the next, and a loop or an invention go on for minutes.
    "condition_on_previous_text": False,
    # A hesitant first window is not trusted alone: up to three vote, so that music or a greeting does not decide.
    "language_detection_segments": 3,
}


class FasterWhisper:
    def __init__(self, model: Any) -> None:
        self._model = model

    @classmethod
    def report(cls, settings: EngineSettings, /) -> EngineReport:
        default = default_weights(settings).name
        english = default.endswith(".en")
        return EngineReport(
            engine="whisper",
            available=True,
            description="OpenAI Whisper (faster-whisper): many languages, finds out which by itself; word times. "
            "Vocabulary is a hint that it reads before every half minute of speech; it may not follow it.",
            quality=50,
            models=tuple(weights.report(settings) for weights in allowed_weights(settings).values()),
            default_model=default,
            languages=("en",) if english else LANGUAGES,
            default_language="en" if english else None,
            detects_language=not english,
            boosts_words=True,
            options=WHISPER_OPTIONS,
        )

    @classmethod
    def load(cls, settings: EngineSettings, model: str | None, on_download: OnDownload, /) -> Self:
        weights = allowed_weights(settings)[model] if model else default_weights(settings)
        folder = weights.obtain(settings, on_download)
        if settings.whisper_device == "auto" and _has_cuda():
            try:
                return cls(_open(folder, settings, "cuda"))
            except EngineFailed as error:
                logger.warning("there is a GPU, but Whisper computes on the CPU", exc_info=error)
        return cls(_open(folder, settings, "cuda" if settings.whisper_device == "cuda" else "cpu"))

    def transcribe(self, audio: Path, hearing: Hearing) -> Iterator[Heard]:
        language = self._language(hearing.language)
        prompt, told = read_prompt(hearing, self._count_tokens)
        yield from told
        yield Progress(stage=TRANSCRIBE_STAGE, done=0, total=hearing.audio_seconds)
        segments, info = self._model.transcribe(
            read_samples(audio), language=language, task=task_of(hearing), hotwords=prompt, **_DECODING
        )
        if translates(hearing):
            yield Detected(language=INTO)
        elif hearing.language is None and info.duration_after_vad > 0:
            yield Detected(language=tag_of(info.language), probability=info.language_probability)
        heard_until = 0.0
        for found in segments:
            segment = _segment(found, heard_until, info.duration)
            if segment.text:
                heard_until = segment.end
                yield segment
            yield Progress(stage=TRANSCRIBE_STAGE, done=heard_until, total=info.duration)
        yield Progress(stage=TRANSCRIBE_STAGE, done=info.duration, total=info.duration)

    def _count_tokens(self, text: str) -> int:
        # With a blank before it, as the library puts one there.
        return len(self._model.hf_tokenizer.encode(f" {text}", add_special_tokens=False).ids)

    def _language(self, tag: str | None) -> str | None:
        if tag is None:
            return None
        code = whisper_code(tag)
        if code not in self._model.supported_languages:
            raise EngineFailed(f"this Whisper model does not know {tag!r}; choose another model", retryable=False)
        return code


def _has_cuda() -> bool:
    import ctranslate2  # as in _open

    return bool(ctranslate2.get_cuda_device_count())


def _open(folder: Path, settings: EngineSettings, device: Literal["cpu", "cuda"]) -> Any:
    from faster_whisper import WhisperModel  # half a second and a native runtime, which the server must not load

    compute_type = settings.whisper_compute_type
    if compute_type == "auto":
        compute_type = "float16" if device == "cuda" else "int8"
    threads = min(len(os.sched_getaffinity(0)), MOST_THREADS)
    try:
        model = WhisperModel(
            str(folder), device=device, compute_type=compute_type, cpu_threads=threads, local_files_only=True
        )
        if device == "cuda":
            # CUDA's libraries are first looked for when something is computed: find out now, and not in a job.
            model.encode(model.feature_extractor(np.zeros(SAMPLE_RATE_HZ, np.float32)))
    except (RuntimeError, ValueError) as error:  # what CTranslate2 raises for a device or a number format it lacks
        if "out of memory" in str(error).lower():
            raise
        raise EngineFailed(
            f"Whisper cannot compute on {device} with {compute_type}: set WHISPER_DEVICE and WHISPER_COMPUTE_TYPE to "
            "what this machine has (auto finds out), and see the engine server's log for the library's own words",
            retryable=False,
        ) from error
    return model


def _segment(found: Any, earliest: float, latest: float) -> Segment:
    """Ours from the library's, whose times may reach over the segment before and the end of the recording a little."""

    def fit(seconds: float) -> float:
        return min(max(float(seconds), earliest), latest)

    words = tuple(
        Word(start=fit(word.start), end=fit(word.end), text=word.word.strip(), confidence=min(1.0, word.probability))
        for word in found.words or ()
    )
    return Segment(
        start=fit(found.start),
        end=fit(found.end),
        text=found.text.strip(),
        confidence=min(1.0, math.exp(found.avg_logprob)),
        words=words,
    )
