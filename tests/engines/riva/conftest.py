from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.engines.contract_suite import Recording
from tests.support.riva.server import MIXED, MIXED_SPEAKERS, RivaServer, riva_server
from tests.support.riva.speech import write_speech


@pytest.fixture
async def riva() -> AsyncIterator[RivaServer]:
    """Serves both ways; without a diarizer."""
    async with riva_server(MIXED) as server:
        yield server


@pytest.fixture
async def riva_with_speakers() -> AsyncIterator[RivaServer]:
    async with riva_server(MIXED_SPEAKERS) as server:
        yield server


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """word1 … word25 in three utterances, half a minute: short enough for one message."""
    return write_speech(tmp_path_factory.mktemp("speech") / "speech.wav", range(1, 26))


@pytest.fixture(scope="session")
def long_speech(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """word1 … word150, 165 seconds: 5 MB, more than a message may have."""
    return write_speech(tmp_path_factory.mktemp("speech") / "long.wav", range(1, 151))


@pytest.fixture
def make_speech(tmp_path: Path) -> Callable[..., Recording]:
    """One word per value, in a file that the next call replaces."""

    def make(*values: int, words_per_utterance: int = 10) -> Recording:
        return write_speech(tmp_path / "made.wav", values, words_per_utterance=words_per_utterance)

    return make
