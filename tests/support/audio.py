"""Small recordings, made on the spot."""

import io
import math
import wave
from array import array


def tone(seconds: float, *, rate_hz: int = 16_000, channels: int = 1, pitch_hz: float = 440.0) -> bytes:
    """A WAV with a sine at half of full scale, the same on every channel."""
    samples = array("h")
    for n in range(round(seconds * rate_hz)):
        samples.extend([round(16_384 * math.sin(2 * math.pi * pitch_hz * n / rate_hz))] * channels)
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(samples.tobytes())
    return target.getvalue()
