"""The speech libraries called directly, with the options that the engine server's models use: what they must equal."""

import re
import wave
from pathlib import Path
from typing import Any

import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.vad import VadOptions, get_speech_timestamps
from pocketsphinx import Decoder

CUTTING = VadOptions(min_silence_duration_ms=500, speech_pad_ms=400, max_speech_duration_s=20)

Samples = np.ndarray[Any, np.dtype[np.float32]]


def samples_of(recording: Path) -> Samples:
    with wave.open(str(recording)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768


def sphinx_directly(decoder: Decoder, samples: Samples) -> str:
    words = []
    decoder.reinit_feat()
    for span in get_speech_timestamps(samples, CUTTING):
        decoder.start_utt()
        pcm = (samples[span["start"] : span["end"]] * 32768).astype(np.int16).tobytes()
        decoder.process_raw(pcm, no_search=False, full_utt=True)
        decoder.end_utt()
        words += [re.sub(r"\(\d+\)$", "", word.word) for word in decoder.seg() if word.word[0] not in "<[+"]
    return " ".join(words)


def whisper_directly(model: WhisperModel, samples: Samples, *, task: str = "transcribe") -> tuple[str, list[Any]]:
    segments, info = model.transcribe(
        samples,
        task=task,
        beam_size=5,
        vad_filter=True,
        vad_parameters={"min_silence_duration_ms": 500},
        word_timestamps=True,
        condition_on_previous_text=False,
        language_detection_segments=3,
    )
    return info.language, [word for segment in segments for word in segment.words]
