"""WhisperX in the environment that `make whisperx` installs, driven from this one through a real engine server."""

import json
import os
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from cli.embedded import WHISPERX_PYTHON
from engines.contract import Engine
from tests.engines.contract_suite import Recording
from tests.engines.harness import ROOT, EngineServer, engine_server

Environ = dict[str, str]
Program = Callable[..., str]


@pytest.fixture(scope="session")
def whisperx_python() -> Path:
    if not WHISPERX_PYTHON.exists():
        assert os.environ.get("REQUIRE_WHISPERX") != "1", "WhisperX is not installed: run `make whisperx`"
        pytest.skip("needs WhisperX: run `make whisperx`")
    return WHISPERX_PYTHON


@pytest.fixture(scope="session")
def in_whisperx(whisperx_python: Path) -> Program:
    """Runs a module in WhisperX's environment; answers its standard output."""

    def run(module: str, *arguments: object) -> str:
        command = [str(whisperx_python), "-m", module, *map(str, arguments)]
        return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout

    return run


@pytest.fixture(scope="session")
def diarization_model(in_whisperx: Program, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pyannote pipeline with random weights: for the path, not quality."""
    folder = tmp_path_factory.mktemp("diarization")
    in_whisperx("tests.support.diarization_model", folder)
    return folder


@pytest.fixture(scope="session")
def aligner(shared_data: Path) -> Path:
    """A wav2vec2 that has memorised the English utterances of the shared data."""
    folder = shared_data / "models" / "wav2vec2-micro-en"
    if not folder.is_dir():
        pytest.skip("needs the model ../shared/data/models/wav2vec2-micro-en")
    return folder


@pytest.fixture(scope="session")
def environ(
    micro_model: Path, aligner: Path, diarization_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Environ:
    """What an operator without a network would have set. NLTK's data are not there, so it has to do without them."""
    return {
        "WHISPERX_DEFAULT_MODEL": str(micro_model),
        "WHISPERX_ALIGN_MODELS": f"en={aligner}",
        "WHISPERX_DIARIZATION_MODEL": str(diarization_model),
        "WHISPER_DEVICE": "cpu",
        "MODELS_OFFLINE": "1",
        "MODELS_DIR": str(tmp_path_factory.mktemp("models")),
    }


@pytest.fixture(scope="session")
async def whisperx_server(whisperx_python: Path, environ: Environ) -> AsyncIterator[EngineServer]:
    async with engine_server(python=whisperx_python, **environ) as server:
        yield server


@pytest.fixture(scope="session")
async def whisperx(whisperx_server: EngineServer) -> AsyncIterator[Engine]:
    async with whisperx_server.engine("whisperx") as engine:
        yield engine


@pytest.fixture(scope="session")
def english(shared_data: Path, to_wav: Callable[[Path], Recording]) -> Recording:
    """Four seconds, as diarization on a CPU is slow."""
    return to_wav(shared_data / "en" / "riva_en-US_sample.wav")


@pytest.fixture(scope="session")
def spanish(shared_data: Path, to_wav: Callable[[Path], Recording]) -> Recording:
    return to_wav(shared_data / "es" / "cheetah_es.wav")


@pytest.fixture(scope="session")
def directly(
    in_whisperx: Program, micro_model: Path, aligner: Path, diarization_model: Path
) -> Callable[[str, Path], Any]:
    """What `tests.support.whisperx_directly` finds in a process of its own."""

    def run(question: str, audio: Path) -> Any:
        return json.loads(
            in_whisperx(
                "tests.support.whisperx_directly", question, micro_model, aligner, diarization_model, audio
            ).splitlines()[-1]
        )

    return run
