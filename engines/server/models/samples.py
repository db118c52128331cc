"""The platform's WAV (16 kHz, mono, signed 16-bit) → samples: no library's own decoder ever sees a file."""

import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from domain.errors import EngineFailed
from engines.contract import SAMPLE_RATE_HZ

Samples = npt.NDArray[np.float32]
"""In -1 … 1, one channel, 16 kHz."""

_BLOCK_SECONDS = 60


def read_samples(audio: Path) -> Samples:
    """All samples, at 4 bytes each and no second copy. Raises EngineFailed where the file is not ours."""
    with _open(audio) as file:
        samples = np.empty(file.getnframes(), np.float32)
        filled = 0
        for block in _blocks(file, _BLOCK_SECONDS):
            samples[filled : filled + block.size] = block
            filled += block.size
        return samples[:filled]


def iter_samples(audio: Path, *, seconds: int) -> Iterator[Samples]:
    """The samples in blocks of `seconds`, the last one shorter. Raises EngineFailed where the file is not ours."""
    with _open(audio) as file:
        yield from _blocks(file, seconds)


def to_pcm(samples: Samples) -> bytes:
    """Back to signed 16-bit, exactly as it was read."""
    return (samples * 32768).astype(np.int16).tobytes()


def _blocks(file: wave.Wave_read, seconds: int) -> Iterator[Samples]:
    while data := file.readframes(seconds * SAMPLE_RATE_HZ):
        yield np.frombuffer(data, np.int16).astype(np.float32) / np.float32(32768)


@contextmanager
def _open(audio: Path) -> Iterator[wave.Wave_read]:
    try:
        file = wave.open(str(audio), "rb")  # noqa: SIM115  # closed below; only opening may fail as "not a WAV"
    except (wave.Error, EOFError) as error:
        raise EngineFailed("the engine was handed something that is not a WAV file", retryable=False) from error
    with file:
        if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (SAMPLE_RATE_HZ, 1, 2):
            wanted = f"the engine was handed a WAV file that is not {SAMPLE_RATE_HZ} Hz, mono, 16-bit"
            raise EngineFailed(wanted, retryable=False)
        yield file
