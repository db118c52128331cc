"""What WhisperX, called directly, makes of recordings: the language and the words of each.

`python -m tests.support.whisperx_texts WHISPER WAV …`, with .venv-whisperx; the answer is the last line on standard
output, as JSON.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engines.server.models.samples import read_samples
from engines.server.models.whisperx_library import bring_in

ROOT = Path(__file__).parent.parent.parent


def texts_of(recordings: Sequence[Path], *, python: Path, whisper: Path) -> list[tuple[str, str]]:
    """Language and text of each recording, from a process of `python`. WAV, 16 kHz, mono, signed 16-bit."""
    argv: list[Any] = [python, "-m", "tests.support.whisperx_texts", whisper, *recordings]
    done = subprocess.run(argv, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return [(language, text) for language, text in json.loads(done.stdout.splitlines()[-1])]


def main(whisper: str, *recordings: str) -> None:
    bring_in(offline=True)
    import whisperx

    pipeline = whisperx.load_model(whisper, "cpu", compute_type="int8", local_files_only=True)
    found = []
    for recording in recordings:
        heard = pipeline.transcribe(read_samples(Path(recording)), batch_size=4)
        found.append((heard["language"], " ".join(each["text"] for each in heard["segments"])))
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
