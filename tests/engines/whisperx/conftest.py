"""WhisperX in the environment that `make whisperx` installs, driven from this one through a real engine server."""

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from cli.embedded import WHISPERX_PYTHON
from engines.contract import Engine
from tests.engines.contract_suite import Recording
from tests.engines.harness import EngineServer, engine_server
from tests.support.whisperx_engine import Environ, Models


@pytest.fixture(scope="session")
def whisperx_python() -> Path:
    if not WHISPERX_PYTHON.exists():
        assert os.environ.get("REQUIRE_WHISPERX") != "1", "WhisperX is not installed: run `make whisperx`"
        pytest.skip("needs WhisperX: run `make whisperx`")
    return WHISPERX_PYTHON


@pytest.fixture(scope="session")
def models(micro_model: Path, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Models:
    aligner = shared_data / "models" / "wav2vec2-micro-en"
    if not aligner.is_dir():
        pytest.skip("needs the model ../shared/data/models/wav2vec2-micro-en")
    return Models(micro_model, aligner, tmp_path_factory.mktemp("diarization"))


@pytest.fixture(scope="session")
def library(whisperx_python: Path, models: Models, english: Recording) -> dict[str, Any]:
    """What the libraries make of the English recording when they are called directly; it makes the diarizer as well."""
    return models.made_by(whisperx_python, english.path)


@pytest.fixture(scope="session")
def environ(models: Models, library: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Environ:
    return models.environ(tmp_path_factory.mktemp("models"))


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
def longer(shared_data: Path, to_wav: Callable[[Path], Recording]) -> Recording:
    """44 s, of which every stage makes enough work to be caught at it."""
    return to_wav(shared_data / "long" / "two_cities_16k.wav")


@pytest.fixture(scope="session")
def spanish(shared_data: Path, to_wav: Callable[[Path], Recording]) -> Recording:
    return to_wav(shared_data / "es" / "cheetah_es.wav")
