import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import imageio_ffmpeg
import pytest

from media import confine


@pytest.fixture(scope="session")
def shared_data() -> Path:
    folder = Path(__file__).parents[3] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the recordings of ../shared/data, which lie beside the repository")
    return folder


@pytest.fixture(scope="session")
def ffmpeg() -> str:
    return str(imageio_ffmpeg.get_ffmpeg_exe())


Encode = Callable[..., bytes]


@pytest.fixture(scope="session")
def encode(ffmpeg: str, tmp_path_factory: pytest.TempPathFactory) -> Encode:
    """`encode("opus", seconds=3, rate_hz=48000)`: a tone of 440 Hz in the container that the suffix names."""
    folder = tmp_path_factory.mktemp("encoded")

    def run(suffix: str, *options: str, seconds: float = 3, rate_hz: int = 16_000) -> bytes:
        made = folder / f"tone.{suffix}"
        tone = f"sine=frequency=440:sample_rate={rate_hz}:duration={seconds}"
        command = [ffmpeg, "-v", "error", "-y", "-f", "lavfi", "-i", tone, "-bitexact", *options, str(made)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        return made.read_bytes()

    return run


@pytest.fixture(scope="session")
def whole_sandbox() -> None:
    """Skips where a machine refuses namespaces or Landlock: then the whitelists hold alone, as a log line says."""
    numbers = (os.getpid(), 2**30, 5, 2**20)
    command = [sys.executable, "-I", "-S", confine.__file__, *map(str, numbers), "/bin/true"]
    said = subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True).stderr
    if said:
        pytest.skip(f"this machine does not allow the whole sandbox: {said.strip()}")
