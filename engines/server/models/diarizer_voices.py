"""Speech → voices: vectors that lie close together where the same person speaks.

They are those of Resemblyzer 0.1 (Apache 2.0, generalised end-to-end loss, https://arxiv.org/abs/1710.10467), whose
wheel has the weights. Its own code wants PyTorch, librosa and a compiler; three LSTM layers need none of them.
"""

import pickle
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
import numpy.typing as npt

from domain.errors import EngineFailed
from engines.contract import SAMPLE_RATE_HZ
from engines.server.models.samples import Samples

Array = npt.NDArray[np.float32]
Seconds = npt.NDArray[np.float64]

FRAME_SAMPLES = 160
FOURIER_SAMPLES = 400
BANDS = 40
WINDOW_FRAMES = 160
"""What the network was trained on: 1.6 s in steps of 10 ms, as 40 mel bands of power, at a loudness of -30 dBFS."""
LOUDNESS = 10 ** (-30 / 20)

STEP_FRAMES = 40
"""A window begins every 0.4 s. Twice as many of them told speakers apart no better."""

PAUSE_MS = 300
AIR_MS = 50
SHORTEST_MS = 250
"""Where a stretch of speech ends, with how much air around it, and how short it may be. One that is shorter than a
window is repeated until it fills one."""

_UNITS = 256
_LAYERS = 3


@dataclass(frozen=True, slots=True)
class Voices:
    """How somebody sounds in each window of speech."""

    starts: Seconds
    ends: Seconds
    """Of each window. None starts or ends before the one before it."""
    vectors: Array
    """(windows, 256), each of length 1."""

    @staticmethod
    def joined(parts: Sequence["Voices"]) -> "Voices":
        """In the order of `parts`, each behind the one before it."""
        if not parts:
            return Voices(np.empty(0), np.empty(0), np.empty((0, _UNITS), np.float32))
        return Voices(
            np.concatenate([part.starts for part in parts]),
            np.concatenate([part.ends for part in parts]),
            np.concatenate([part.vectors for part in parts]),
        )


def find_weights() -> Path | None:
    """The file with the weights, of the package that is installed; that is not imported, as it would want PyTorch."""
    package = find_spec("resemblyzer")
    if package is None or package.origin is None:
        return None
    weights = Path(package.origin).with_name("pretrained.pt")
    return weights if weights.is_file() else None


@dataclass(frozen=True, slots=True)
class _Layer:
    into: Array
    """(inputs, 4 gates of 256 units): input, forget, cell, output."""
    onward: Array
    """(256, 4 x 256)"""
    bias: Array


class VoiceEncoder:
    def __init__(self, weights: Mapping[str, Array]) -> None:
        # Half of what goes into a sigmoid, so that one tanh serves all gates: sigmoid(x) = (1 + tanh(x / 2)) / 2.
        halves = np.repeat(np.array([0.5, 0.5, 1, 0.5], np.float32), _UNITS)
        self._layers = [
            _Layer(
                np.ascontiguousarray(weights[f"lstm.weight_ih_l{layer}"].T * halves),
                np.ascontiguousarray(weights[f"lstm.weight_hh_l{layer}"].T * halves),
                (weights[f"lstm.bias_ih_l{layer}"] + weights[f"lstm.bias_hh_l{layer}"]) * halves,
            )
            for layer in range(_LAYERS)
        ]
        self._last = (weights["linear.weight"].T, weights["linear.bias"])
        self._bands = _mel_bands()

    @classmethod
    def open(cls, weights: Path) -> Self:
        """Raises EngineFailed where the file is not what Resemblyzer 0.1 brings."""
        try:
            with weights.open("rb") as file:
                return cls(_read_checkpoint(file))
        except (OSError, pickle.UnpicklingError, EOFError, KeyError, ValueError) as error:
            broken = "the weights of Resemblyzer cannot be read: install requirements/core.txt again"
            raise EngineFailed(broken, retryable=False) from error

    def hear(self, samples: Samples, *, since: float) -> Voices:
        """The voices in `samples`, which begin `since` seconds into the recording."""
        windows = [
            (span, window) for first, last in _stretches(samples) for span, window in self._cut(samples, first, last)
        ]
        if not windows:
            return Voices.joined(())
        starts, ends = zip(*(span for span, _ in windows), strict=True)
        vectors = self.encode(np.stack([window for _, window in windows]))
        return Voices(np.array(starts) + since, np.array(ends) + since, vectors)

    def encode(self, windows: Array) -> Array:
        """Vectors of length 1 for (windows, frames, bands)."""
        steps = windows.transpose(1, 0, 2)
        for layer in self._layers:
            steps = _run(layer, steps)
        weight, bias = self._last
        vectors = np.maximum(steps[-1] @ weight + bias, 0)
        unit: Array = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit

    def _cut(self, samples: Samples, first: int, last: int) -> Iterator[tuple[tuple[float, float], Array]]:
        """One stretch of speech as windows: when each is, in seconds, and its bands."""
        bands = self._spectrum(samples[first:last])
        count = len(bands)
        starts = (
            [0] if count <= WINDOW_FRAMES else [*range(0, count - WINDOW_FRAMES, STEP_FRAMES), count - WINDOW_FRAMES]
        )
        for start in starts:
            end = min(start + WINDOW_FRAMES, count)
            span = (first + start * FRAME_SAMPLES) / SAMPLE_RATE_HZ, (first + end * FRAME_SAMPLES) / SAMPLE_RATE_HZ
            yield span, np.resize(bands[start:end], (WINDOW_FRAMES, BANDS))

    def _spectrum(self, speech: Samples) -> Array:
        """(frames, bands) of power, at the same loudness however far the speaker sits from the microphone."""
        loud = speech * (LOUDNESS / max(float(np.sqrt(np.mean(speech**2))), 1e-6))
        padded = np.pad(loud, FOURIER_SAMPLES // 2, mode="reflect")
        frames = np.lib.stride_tricks.sliding_window_view(padded, FOURIER_SAMPLES)[::FRAME_SAMPLES]
        hann = np.hanning(FOURIER_SAMPLES + 1)[:-1].astype(np.float32)
        power = np.abs(np.fft.rfft(frames * hann, axis=1)) ** 2
        return power.astype(np.float32) @ self._bands


def _run(layer: _Layer, steps: Array) -> Array:
    """(frames, windows, inputs) → (frames, windows, 256)."""
    frames, windows, _ = steps.shape
    driven = steps @ layer.into + layer.bias
    state = cell = np.zeros((windows, _UNITS), np.float32)
    out = np.empty((frames, windows, _UNITS), np.float32)
    half = np.float32(0.5)
    for frame in range(frames):
        gates = np.tanh(driven[frame] + state @ layer.onward)
        enter, keep, new, leave = (gates[:, gate * _UNITS : (gate + 1) * _UNITS] for gate in range(4))
        cell = half * ((keep + 1) * cell + (enter + 1) * new)
        state = half * (leave + 1) * np.tanh(cell)
        out[frame] = state
    return out


def _stretches(samples: Samples) -> list[tuple[int, int]]:
    """Where somebody speaks: first sample, and the one behind the last."""
    from faster_whisper.vad import VadOptions, get_speech_timestamps  # brings a neural runtime along; only in a child

    options = VadOptions(min_silence_duration_ms=PAUSE_MS, speech_pad_ms=AIR_MS, min_speech_duration_ms=SHORTEST_MS)
    return [(span["start"], span["end"]) for span in get_speech_timestamps(samples, options)]


def _mel_bands() -> Array:
    """(frequencies, bands), as librosa has them, with which the network was trained."""
    from faster_whisper.feature_extractor import FeatureExtractor  # as above

    bands: Array = FeatureExtractor.get_mel_filters(SAMPLE_RATE_HZ, FOURIER_SAMPLES, BANDS).astype(np.float32).T
    return bands


_MAKERS: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): lambda storage, offset, size, *_: (storage, offset, size),
    ("torch", "FloatStorage"): None,
}
"""All that a checkpoint may ask for: dictionaries, and where numbers stand. Anything else is a KeyError."""


class _CheckpointReader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return _MAKERS[module, name]

    def persistent_load(self, pid: Any) -> Any:
        """The key of a storage, whose numbers stand behind all that is pickled."""
        return pid[2]


def _read_checkpoint(file: BinaryIO) -> dict[str, Array]:
    """The weights by their names. The layout is that of torch.save before PyTorch 1.6."""
    for _ in ("magic number", "version", "byte order and sizes"):
        _CheckpointReader(file).load()
    tensors = _CheckpointReader(file).load()["model_state"]
    storages = {}
    for key in _CheckpointReader(file).load():
        count = int.from_bytes(file.read(8), "little")
        storages[key] = np.frombuffer(file.read(4 * count), "<f4")
    return {
        name: storages[storage][offset : offset + int(np.prod(size))].reshape(size)
        for name, (storage, offset, size) in tensors.items()
    }
