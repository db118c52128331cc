"""WhisperX and pyannote: how the libraries come into a process, and how their models are opened.

They are imported within functions, once a child calls `bring_in`: that takes 10 s and 1 GB. The checkpoints they open
are unpickled, so every path here is the operator's, never a caller's.
"""

import copy
import logging
import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from config.settings import EngineSettings
from domain.errors import EngineFailed
from domain.transcript import Segment, Span
from engines.server.models.faster_whisper import MOST_THREADS
from engines.server.models.following import TellShare
from engines.server.models.samples import Samples
from engines.server.models.speakers import SaidBy
from engines.server.models.whisperx_words import Found

logger = logging.getLogger(__name__)

WINDOW_SECONDS = 30
"""What Whisper hears at once: stretches of speech are gathered up to this length."""

Stretch = dict[str, Any]
"""A stretch of speech as WhisperX's VAD gives it: `start`, `end` in seconds, and the `segments` it was made of."""


class Unavailable(Exception):
    """A model that a stage needs is not here; the message is for the reader of the transcript."""


def bring_in(*, offline: bool) -> None:
    """Import the libraries (9 to 14 s), with what they say of their users turned off. Before anything else of theirs.

    Raises EngineFailed where they do not work on this machine.
    """
    os.environ.update(PYANNOTE_METRICS_ENABLED="0", HF_HUB_DISABLE_TELEMETRY="1", TOKENIZERS_PARALLELISM="false")
    if offline:
        os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
    quiet = logging.getLogger("whisperx")  # its warnings quote the transcript
    quiet.addHandler(logging.NullHandler())  # else it gives itself one, and a level
    quiet.setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore")  # of decoders that we do not use, and of the age of checkpoints
    try:
        _import_torchaudio()
        import whisperx.alignment
        import whisperx.asr
        import whisperx.diarize
    except (ImportError, OSError) as error:
        logger.exception("the libraries of WhisperX cannot be imported")
        broken = "WhisperX is installed, but does not work here: run `make whisperx` again, see the log for the reason"
        raise EngineFailed(broken, retryable=False) from error
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # it asks to have checkpoints upgraded
    whisperx.alignment.nltk_load = _open_sentence_splitter


def _import_torchaudio() -> None:
    """torchaudio's wheel is built for CUDA; without CUDA its native parts, of which nothing here is used, do not load.

    It looks for them by a glob in its folder `lib`, and does without where it finds none.
    """
    import torch

    if torch.version.cuda is not None:
        return
    glob = Path.glob

    def hide(folder: Path, pattern: str) -> Iterable[Path]:
        hidden = folder.parts[-2:] == ("torchaudio", "lib")
        return iter(()) if hidden else glob(folder, pattern)

    Path.glob = hide  # type: ignore[method-assign, assignment]  # for this one import
    try:
        import torchaudio  # noqa: F401
    finally:
        Path.glob = glob  # type: ignore[method-assign]


def _open_sentence_splitter(resource: str) -> Any:
    """NLTK's data where they are installed, else its algorithm without them: WhisperX would go to the network."""
    import nltk.data
    from nltk.tokenize.punkt import PunktSentenceTokenizer

    try:
        return nltk.data.load(resource)
    except LookupError:
        return PunktSentenceTokenizer()


class Recogniser:
    """Finds speech and hears it. One job at a time."""

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline
        self._vad = pipeline.vad_model
        self._options = pipeline.options
        self.languages: list[str] = pipeline.model.supported_languages

    @classmethod
    def open(cls, folder: Path, device: str, compute_type: str) -> "Recogniser":
        """Raises RuntimeError or ValueError, as CTranslate2 does, for a device or a number format that is not there."""
        import whisperx

        threads = min(len(os.sched_getaffinity(0)), MOST_THREADS)
        return cls(
            whisperx.load_model(
                str(folder), device, compute_type=compute_type, vad_method="pyannote", local_files_only=True,
                threads=threads,
            )
        )  # fmt: skip

    def count_tokens(self, text: str) -> int:
        """With the space that goes before it in a prompt."""
        return len(self._pipeline.model.hf_tokenizer.encode(" " + text, add_special_tokens=False))

    def find_speech(self, samples: Samples, tell: TellShare) -> list[Stretch]:
        from whisperx.audio import SAMPLE_RATE

        def hook(completed: int, total: int) -> None:
            tell(min(completed / total, 1.0))

        recording = {"waveform": self._vad.preprocess_audio(samples), "sample_rate": SAMPLE_RATE}
        # What the pipeline itself calls, which would swallow the hook.
        scores = self._vad.vad_pipeline._segmentation(recording, hook=hook)
        thresholds = self._pipeline._vad_params
        stretches: list[Stretch] = self._vad.merge_chunks(
            scores, WINDOW_SECONDS, onset=thresholds["vad_onset"], offset=thresholds["vad_offset"]
        )
        return stretches

    def detect_language(self, speech: Samples) -> tuple[str, float]:
        """Whisper's code for it, with its probability. Up to three windows vote, so that a greeting does not decide."""
        code, probability, _ = self._pipeline.model.detect_language(speech, language_detection_segments=3)
        return code, probability

    def hear(
        self,
        samples: Samples,
        stretches: list[Stretch],
        code: str,
        prompt: str | None = None,
        task: str = "transcribe",
    ) -> list[Found]:
        """The text of `stretches`, all in one batch; Whisper reads `prompt` before each of them.

        Raises RuntimeError where they do not fit into memory.
        """
        given = copy.copy(self._vad)
        given.vad_pipeline = lambda _recording: stretches
        given.merge_chunks = lambda found, *_args, **_options: found
        self._pipeline.vad_model = given
        self._pipeline.options = replace(self._options, hotwords=prompt)
        # The task is said in any case: the library keeps the last one.
        said = self._pipeline.transcribe(samples, batch_size=len(stretches), language=code, task=task)
        found: list[Found] = said["segments"]
        return found


@dataclass(frozen=True, slots=True)
class Aligner:
    """Gives words their times, in one language."""

    language: str
    model: Any
    metadata: dict[str, Any]
    device: str

    @classmethod
    def open(cls, language: str, settings: EngineSettings, device: str) -> "Aligner":
        """Raises Unavailable."""
        import whisperx

        folder = settings.whisperx_align_models.get(language)
        if folder is not None and not folder.is_dir():
            raise Unavailable(f"the folder that WHISPERX_ALIGN_MODELS names for {language} is not there")
        if folder is None and not _can_have(language, settings):
            raise Unavailable(f"there is no alignment model for {language}: name a folder in WHISPERX_ALIGN_MODELS")
        try:
            model, metadata = whisperx.load_align_model(
                language,
                device,
                model_name=str(folder) if folder else None,
                model_dir=str(settings.models_dir),
                model_cache_only=settings.offline,
            )
        except Exception as error:  # what hubs, checkpoints and torch raise changes with their versions
            logger.warning("no alignment model for %s", language, exc_info=error)
            raise Unavailable(f"the alignment model for {language} cannot be opened; the log has the reason") from error
        return cls(language, model, metadata, device)

    @property
    def alphabet(self) -> frozenset[str]:
        return frozenset(self.metadata["dictionary"])

    def align(self, stretch: Segment, samples: Samples) -> list[Found]:
        """The sentences of one stretch of speech, with words."""
        import whisperx

        given = {"start": stretch.start, "end": stretch.end, "text": stretch.text}
        found: list[Found] = whisperx.align([given], self.model, self.metadata, samples, self.device)["segments"]
        return found


def _can_have(language: str, settings: EngineSettings) -> bool:
    """Does WhisperX have a choice of its own for `language`, and may it be fetched, or has it been?"""
    import torchaudio
    from whisperx.alignment import DEFAULT_ALIGN_MODELS_HF, DEFAULT_ALIGN_MODELS_TORCH

    bundle = DEFAULT_ALIGN_MODELS_TORCH.get(language)
    if bundle is None or not settings.offline:
        return bundle is not None or language in DEFAULT_ALIGN_MODELS_HF
    # Unlike the hub's client, torchaudio has no offline mode: look for its file ourselves.
    return (settings.models_dir / Path(getattr(torchaudio.pipelines, bundle)._path).name).is_file()


@dataclass(frozen=True, slots=True)
class Diarizer:
    """Tells speakers apart, in a whole recording at once."""

    pipeline: Any

    @classmethod
    def open(cls, settings: EngineSettings, device: str) -> "Diarizer":
        """Raises Unavailable."""
        from whisperx.diarize import DiarizationPipeline

        folder = settings.whisperx_diarization_model
        if folder is None or not (folder / "config.yaml").is_file():
            raise Unavailable("there is no diarization model: name its folder in WHISPERX_DIARIZATION_MODEL")
        try:
            return cls(DiarizationPipeline(model_name=str(folder), device=device))
        except Exception as error:  # as for alignment models
            logger.warning("the diarization model cannot be opened", exc_info=error)
            raise Unavailable("the diarization model cannot be opened; the log has the reason") from error

    def find_turns(
        self, samples: Samples, tell: TellShare, *, exactly: int | None, least: int | None, most: int | None
    ) -> Any:
        """Who speaks when: `assign` has it told of words."""
        return self.pipeline(
            samples,
            num_speakers=exactly,
            min_speakers=least,
            max_speakers=most,
            progress_callback=lambda percent: tell(percent / 100),
        )

    @staticmethod
    def assign(turns: Any, segments: Sequence[Segment]) -> list[SaidBy]:
        """Who says each segment and word."""
        import whisperx

        times: list[dict[str, Any]] = [
            {**_times(segment), "words": [_times(word) for word in segment.words]} for segment in segments
        ]
        whisperx.assign_word_speakers(turns, {"segments": times})
        return [SaidBy(said.get("speaker"), tuple(word.get("speaker") for word in said["words"])) for said in times]


def _times(span: Span) -> dict[str, Any]:
    return {"start": span.start, "end": span.end}


def has_cuda() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def free_memory(device: str) -> None:
    """What torch keeps for later goes back to the accelerator: CTranslate2 needs it as well."""
    if device == "cuda":
        import torch

        torch.cuda.empty_cache()
