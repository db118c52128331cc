"""The platform's WAV as Riva wants it: raw samples, whole, in chunks, or in pieces cut where it is quiet."""

import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from domain.errors import EngineFailed
from engines.contract import SAMPLE_RATE_HZ

SAMPLE_BYTES = 2
BYTES_PER_SECOND = SAMPLE_RATE_HZ * SAMPLE_BYTES

CHUNK_BYTES = BYTES_PER_SECOND
"""One second: what a stream carries per message. The size changes nothing for the server, which has chunks of its own;
a whole number of samples, as an odd byte is refused."""

QUIET_SAMPLES = SAMPLE_RATE_HZ // 5
"""How long a cut wants it to be quiet around it: a fifth of a second is longer than the stops within words."""

CUT_BACK_SECONDS = 20
"""How far from the end of a piece the quietest place is looked for: few people speak for longer without a breath."""


@dataclass(frozen=True, slots=True)
class Piece:
    start_byte: int
    """Among the samples of the recording."""
    samples: bytes

    @property
    def end_byte(self) -> int:
        return self.start_byte + len(self.samples)

    @property
    def seconds(self) -> float:
        return len(self.samples) / BYTES_PER_SECOND

    @property
    def start(self) -> float:
        """Seconds from the start of the recording."""
        return self.start_byte / BYTES_PER_SECOND

    @property
    def end(self) -> float:
        return self.end_byte / BYTES_PER_SECOND


@dataclass(frozen=True, slots=True)
class Recording:
    """Samples reach the server as they are in the file: nothing is resampled or made louder here."""

    path: Path
    size_bytes: int
    """Of the samples alone."""

    @classmethod
    def open(cls, path: Path) -> "Recording":
        """Raises EngineFailed where the file is not 16 kHz, mono, signed 16-bit WAV."""
        with _open(path) as file:
            return cls(path, file.getnframes() * SAMPLE_BYTES)

    @property
    def seconds(self) -> float:
        return self.size_bytes / BYTES_PER_SECOND

    def whole(self) -> Piece:
        with _open(self.path) as file:
            return Piece(0, file.readframes(file.getnframes()))

    def chunks(self) -> Iterator[bytes]:
        """From the start, in memory of one chunk."""
        with _open(self.path) as file:
            while samples := file.readframes(CHUNK_BYTES // SAMPLE_BYTES):
                yield samples

    def pieces(self, largest_bytes: int) -> Iterator[Piece]:
        """All of it, each piece at most `largest_bytes` (some seconds at least), cut where it is quietest."""
        with _open(self.path) as file:
            held, start = b"", 0
            while True:
                held += file.readframes((largest_bytes - len(held)) // SAMPLE_BYTES)
                if len(held) + SAMPLE_BYTES <= largest_bytes:
                    break
                cut = _quietest(held) * SAMPLE_BYTES
                yield Piece(start, held[:cut])
                held, start = held[cut:], start + cut
            if held:
                yield Piece(start, held)


def _quietest(samples: bytes) -> int:
    """The sample in the last stretch of `samples` around which there is the least energy; the latest of equals."""
    every = np.frombuffer(samples, np.int16)
    tail = every[-min(every.size // 2, CUT_BACK_SECONDS * SAMPLE_RATE_HZ) :].astype(np.float64)
    summed = np.concatenate(([0.0], np.cumsum(tail * tail)))
    energy = summed[QUIET_SAMPLES:] - summed[:-QUIET_SAMPLES]
    latest = energy.size - 1 - int(np.argmin(energy[::-1]))
    return every.size - tail.size + latest + QUIET_SAMPLES // 2


@contextmanager
def _open(path: Path) -> Iterator[wave.Wave_read]:
    try:
        file = wave.open(str(path), "rb")  # noqa: SIM115  # closed below; only opening may fail as "not a WAV"
    except (wave.Error, EOFError) as error:
        raise EngineFailed("asr was handed something that is not a WAV file", retryable=False) from error
    with file:
        if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (SAMPLE_RATE_HZ, 1, SAMPLE_BYTES):
            wanted = f"asr was handed a WAV file that is not {SAMPLE_RATE_HZ} Hz, mono, 16-bit"
            raise EngineFailed(wanted, retryable=False)
        yield file
