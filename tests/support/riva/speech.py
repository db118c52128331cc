"""Recordings that a machine can understand: a word is a stretch of equal samples, and their value says which word.

So what a server "hears" comes from the audio alone, at the place where it is: a word that is cut in two is heard twice,
a second that is lost takes its words along, and samples that were changed on the way are other words.
"""

import wave
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.engines.contract_suite import Recording

RATE_HZ = 16_000
WORD_SECONDS = 0.6
SLOT_SECONDS = 1.0
"""From the start of one word to the start of the next."""
PAUSE_SECONDS = 2.0
"""Between the start of the last word of an utterance and the next one's first: long enough to end it."""


@dataclass(frozen=True)
class Spoken:
    start: int
    """In samples, from where the listener began."""
    end: int
    value: int


def write_speech(path: Path, values: Iterable[int], *, words_per_utterance: int = 10) -> Recording:
    """One word per value (1 … 32767), with a pause after every utterance."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(bytes(2 * RATE_HZ // 5))
        for nth, value in enumerate(values, start=1):
            word = np.full(round(WORD_SECONDS * RATE_HZ), value, np.int16).tobytes()
            slot = PAUSE_SECONDS if nth % words_per_utterance == 0 else SLOT_SECONDS
            file.writeframes(word + bytes(2 * round((slot - WORD_SECONDS) * RATE_HZ)))
    return Recording(path)


class Listener:
    """Hears words in samples that come bit by bit; in memory of one word."""

    def __init__(self) -> None:
        self.heard_samples = 0
        self._open: Spoken | None = None

    def hear(self, pcm: bytes) -> Iterator[Spoken]:
        """Words that have ended by now."""
        samples = np.frombuffer(pcm, np.int16)
        edges = np.flatnonzero(np.diff(samples)) + 1
        for begin, end in zip([0, *edges], [*edges, samples.size], strict=True):
            if begin < end:
                yield from self._stretch(int(samples[begin]), self.heard_samples + int(begin), int(end - begin))
        self.heard_samples += samples.size

    def finish(self) -> Iterator[Spoken]:
        if self._open is not None:
            yield self._open
        self._open = None

    def _stretch(self, value: int, start: int, length: int) -> Iterator[Spoken]:
        if self._open is not None and self._open.value != value:
            yield self._open
            self._open = None
        if value and self._open is not None:
            self._open = Spoken(self._open.start, start + length, value)
        elif value:
            self._open = Spoken(start, start + length, value)
