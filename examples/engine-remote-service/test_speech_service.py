"""It keeps what every engine promises. Needs the service, and `speech.wav`: an English sentence, as engines get it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from speech_service import SpeechService

from config.load import load_settings
from tests.engines.contract_suite import EngineContract, Recording
from tests.engines.harness import INFRASTRUCTURE


@pytest.fixture(scope="module")
async def engine() -> AsyncIterator[SpeechService]:
    service = SpeechService(load_settings(INFRASTRUCTURE))
    yield service
    await service.close()


@pytest.fixture
def speech() -> Recording:
    return Recording(Path(__file__).with_name("speech.wav"))


class TestSpeechService(EngineContract): ...
