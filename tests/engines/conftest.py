import os
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import imageio_ffmpeg
import pytest

from tests.engines.contract_suite import Recording, write_silence
from tests.engines.harness import EngineServer, engine_server, install_stranger


@pytest.fixture(scope="session")
def to_wav(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Recording]:
    """Decode a recording as the platform would before an engine gets it."""
    folder = tmp_path_factory.mktemp("decoded")

    def decode(source: Path) -> Recording:
        target = folder / f"{source.stem}.wav"
        if not target.exists():
            command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-i", str(source)]
            command += ["-ac", "1", "-ar", "16000", "-c:a", "pcm_s16le", str(target)]
            subprocess.run(command, check=True)
        return Recording(target)

    return decode


@pytest.fixture(scope="session")
def micro_model(shared_data: Path) -> Path:
    """A Whisper-shaped network that has memorised the utterances of the shared data: for the path, not quality."""
    folder = shared_data / "models" / "whisper-micro-ct2"
    if not folder.is_dir():
        pytest.skip("needs the model ../shared/data/models/whisper-micro-ct2")
    return folder


@pytest.fixture(scope="session")
def stranger_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The PYTHONPATH on which a stranger's models are found."""
    return install_stranger(tmp_path_factory.mktemp("stranger"))


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """For models that do not listen."""
    return write_silence(tmp_path_factory.mktemp("recording") / "recording.wav", seconds=1)


@pytest.fixture
async def server(stranger_path: str) -> AsyncIterator[EngineServer]:
    """With the stranger's models, for one test to break."""
    async with engine_server(PYTHONPATH=stranger_path) as server:
        yield server


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """The stranger waits at it until the test opens the other end."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path
