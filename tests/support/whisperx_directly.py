"""The real libraries in this very process: what the engine must equal, and what they would send to the network.

`python -m tests.support.whisperx_directly WHISPER ALIGNER DIARIZER WAV`, with .venv-whisperx. A pipeline with random
weights is written to DIARIZER: importing the libraries takes 10 s, so one process does all that needs them. The answer
is the last line on standard output, as JSON.
"""

import json
import sys
from pathlib import Path
from typing import Any

from config.load import load_section
from config.settings import EngineSettings
from domain.transcript import Notice
from engines.contract import Hearing
from engines.server.models.samples import read_samples
from engines.server.models.whisperx import WhisperX
from tests.support.diarization_model import write_model

Answer = dict[str, Any]


def directly(whisper: str, aligner: str, diarizer: str, wav: str) -> Answer:
    """WhisperX as its own documentation calls it, in one go: words with their times, and who says them."""
    import whisperx
    from whisperx.diarize import DiarizationPipeline

    samples = read_samples(Path(wav))
    pipeline = whisperx.load_model(whisper, "cpu", compute_type="int8", local_files_only=True)
    heard = pipeline.transcribe(samples, batch_size=4)
    model, metadata = whisperx.load_align_model("en", "cpu", model_name=aligner)
    aligned = whisperx.align(heard["segments"], model, metadata, samples, "cpu")
    turns = DiarizationPipeline(model_name=diarizer, device="cpu")(samples)
    words = whisperx.assign_word_speakers(turns, aligned)["word_segments"]
    return {
        "language": heard["language"],
        "words": [[word["word"], float(word["start"]), float(word["end"]), float(word["score"])] for word in words],
        "speakers": len({word.get("speaker") for word in words}),
    }


def watch_network() -> list[str]:
    """Every attempt at it from now on."""
    attempts: list[str] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("socket.getaddrinfo", "socket.connect"):
            attempts.append(f"{event} {arguments[-1] if event.endswith('connect') else arguments[0]}")

    sys.addaudithook(watch)
    return attempts


def one_job(model: WhisperX, wav: str) -> list[str]:
    """A whole job of the engine, and what the libraries would tell of it; answers its notices."""
    heard = list(model.transcribe(Path(wav), Hearing(audio_seconds=1)))
    from pyannote.audio.telemetry.metrics import provider  # type: ignore[import-not-found]  # of the other environment

    provider.force_flush()
    return [item.code for item in heard if isinstance(item, Notice)]


def main(whisper: str, aligner: str, diarizer: str, wav: str) -> None:
    attempts = watch_network()
    values = {
        "WHISPERX_DEFAULT_MODEL": whisper,
        "WHISPERX_ALIGN_MODELS": f"en={aligner}",
        "WHISPERX_DIARIZATION_MODEL": diarizer,
        "MODELS_OFFLINE": "1",
    }
    model = WhisperX.load(load_section(EngineSettings, values), None, lambda *_: None)
    write_model(Path(diarizer))
    answer = {
        "notices": one_job(model, wav),
        "attempts": attempts,
        "directly": directly(whisper, aligner, diarizer, wav),
    }
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
