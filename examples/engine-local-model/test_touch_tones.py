"""It keeps what every engine promises, in a child of a real engine server. Needs `speech.wav`: some keys pressed."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engines.contract import Engine
from tests.engines.contract_suite import EngineContract, Recording
from tests.engines.harness import engine_server


@pytest.fixture(scope="module")
async def engine() -> AsyncIterator[Engine]:
    async with engine_server() as server, server.engine("touch-tones") as engine:
        yield engine


@pytest.fixture
def speech() -> Recording:
    return Recording(Path(__file__).with_name("speech.wav"))


class TestTouchTones(EngineContract): ...
