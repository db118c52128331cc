"""Make consultation.flac and consultation.txt: a consultation in two voices, invented, spoken by flite.

    apt-get install flite && python samples/make_consultation.py

The provider speaks on the left channel, the patient on the right. The same flite and ffmpeg make the same files.
"""

from __future__ import annotations  # array[int] exists for type checkers only

import shutil
import subprocess
import sys
import tempfile
import wave
from array import array
from pathlib import Path

import imageio_ffmpeg

HERE = Path(__file__).parent
RATE_HZ = 16_000
PAUSE_SECONDS = 0.6  # between turns
EDGE_SECONDS = 0.5  # before the first turn and after the last

VOICES = {"provider": ("rms", 0), "patient": ("slt", 1)}
"""flite's name of the voice, and its channel."""

TURNS = (
    ("provider", "Good morning. Please come in and sit down. What can I do for you today?"),
    ("patient", "Good morning, doctor. I have had a bad cough for about three weeks."),
    ("provider", "I am sorry to hear that. Is the cough worse during the day or at night?"),
    ("patient", "It is worse at night. I wake up every few hours and then I feel tired at work."),
    ("provider", "Have you had a fever, or any pain in your chest?"),
    ("patient", "There was a fever in the first week, but there is no pain now."),
    ("provider", "All right. I would like to listen to your chest and then check your blood pressure."),
    ("patient", "My blood pressure was a little high the last time I was here."),
    ("provider", "Your lungs are clear, and your blood pressure is better than it was last year."),
    ("patient", "I am glad to hear that. What should I do about the cough?"),
    ("provider", "Drink warm water, get plenty of rest, and come back in two weeks if it does not get better."),
    ("patient", "Thank you very much, doctor. I will see you then."),
)


def speak(voice: str, text: str, folder: Path) -> array[int]:
    """Signed 16-bit samples of `text`, at RATE_HZ."""
    path = folder / "turn.wav"
    subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True)
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE_HZ, 1, 2)
        return array("h", file.readframes(file.getnframes()))


def silence(seconds: float) -> array[int]:
    return array("h", bytes(2 * round(seconds * RATE_HZ)))


def encode(left: array[int], right: array[int], path: Path) -> None:
    stereo = array("h", (sample for pair in zip(left, right, strict=True) for sample in pair))
    # bitexact: no encoder version or date in the file.
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-y"]
    command += ["-f", "s16le", "-ar", str(RATE_HZ), "-ac", "2", "-i", "pipe:0"]
    command += ["-c:a", "flac", "-compression_level", "12", "-fflags", "+bitexact", "-flags:a", "+bitexact", str(path)]
    subprocess.run(command, input=stereo.tobytes(), check=True)


def main() -> None:
    if shutil.which("flite") is None:
        sys.exit("flite is not installed: apt-get install flite")
    channels = (silence(EDGE_SECONDS), silence(EDGE_SECONDS))
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for speaker, text in TURNS:
            voice, channel = VOICES[speaker]
            samples = speak(voice, text, Path(folder))
            start = len(channels[0]) / RATE_HZ
            channels[channel].extend(samples)
            channels[1 - channel].extend(silence(len(samples) / RATE_HZ))
            lines.append(f"{start:6.2f} {len(channels[0]) / RATE_HZ:6.2f} {speaker:8} {text}\n")
            for side in channels:
                side.extend(silence(PAUSE_SECONDS if len(lines) < len(TURNS) else EDGE_SECONDS))
    encode(*channels, HERE / "consultation.flac")
    (HERE / "consultation.txt").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
