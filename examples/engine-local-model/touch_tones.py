"""Engine `touch-tones`: which keys of a telephone were pressed (DTMF, ITU-T Q.23)."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Self

import numpy as np

from config.settings import EngineSettings
from domain.capabilities import TRANSCRIBE_STAGE, EngineReport
from domain.transcript import Heard, Progress, Segment
from engines.contract import SAMPLE_RATE_HZ, Hearing
from engines.server.contract import OnDownload
from engines.server.models.samples import Samples, iter_samples

KEYS = "123A456B789C*0#D"
TONES_HZ = (697, 770, 852, 941, 1209, 1336, 1477, 1633)  # a row and a column of the keypad sound together
FRAME = 320  # samples: 20 ms, in which a tone can be told from its neighbour
LEAST_FRAMES = 2  # Q.24: a tone of 40 ms counts
LEAST_POWER = 1e-5  # of full scale squared: -50 dB
CLEAR, TWIST = 0.7, 0.05  # shares of a frame's power: of both tones together, of the weaker one


class TouchTones:
    def __init__(self, tones: np.ndarray[Any, Any]) -> None:
        self._tones = tones

    @classmethod
    def report(cls, _settings: EngineSettings, /) -> EngineReport:
        return EngineReport(
            engine="touch-tones",
            available=True,
            description="Hears which keys of a telephone were pressed, and no speech",
            languages=("zxx",),  # BCP 47 for "no language"
            default_language="zxx",
            options={"type": "object", "properties": {}, "additionalProperties": False},
        )

    @classmethod
    def load(cls, _settings: EngineSettings, _model: str | None, _on_download: OnDownload, /) -> Self:
        turns = np.outer(np.arange(FRAME), TONES_HZ) / SAMPLE_RATE_HZ
        return cls(np.exp(-2j * np.pi * turns))

    def transcribe(self, audio: Path, hearing: Hearing) -> Iterator[Heard]:
        yield Progress(stage=TRANSCRIBE_STAGE, done=0, total=hearing.audio_seconds)
        held, since, frame = "", 0, 0
        silence = np.zeros(FRAME, np.float32)  # behind the end it lets go of a key that is still held
        for block in chain(iter_samples(audio, seconds=1), [silence]):
            for key in self._keys(block):
                if key != held:
                    if held and frame - since >= LEAST_FRAMES:
                        end = min(_seconds(frame), hearing.audio_seconds)
                        yield Segment(start=_seconds(since), end=end, text=held)
                    held, since = key, frame
                frame += 1
            done = min(_seconds(frame), hearing.audio_seconds)
            yield Progress(stage=TRANSCRIBE_STAGE, done=done, total=hearing.audio_seconds)

    def _keys(self, block: Samples) -> list[str]:
        """The key that sounds in each frame, or "" where none does."""
        frames = np.pad(block, (0, -block.size % FRAME)).reshape(-1, FRAME)
        power = (frames**2).mean(axis=1)
        of_tones = 2 * np.abs(frames @ self._tones / FRAME) ** 2
        row, column = of_tones[:, :4], of_tones[:, 4:]
        both, weaker = row.max(axis=1) + column.max(axis=1), np.minimum(row.max(axis=1), column.max(axis=1))
        pressed = (power > LEAST_POWER) & (both > CLEAR * power) & (weaker > TWIST * power)
        keys = 4 * row.argmax(axis=1) + column.argmax(axis=1)
        return [KEYS[key] if down else "" for key, down in zip(keys, pressed, strict=True)]


def _seconds(frame: int) -> float:
    return frame * FRAME / SAMPLE_RATE_HZ
