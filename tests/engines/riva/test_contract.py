"""Engine `asr` keeps what every engine promises, whichever way the server serves."""

from collections.abc import AsyncIterator

import pytest

from engines.riva import RivaEngine
from tests.engines.contract_suite import EngineContract, Recording
from tests.engines.riva.client import engine_for
from tests.support.riva.server import MIXED, OFFLINE, STREAMING, riva_server


class TestShortRecordings(EngineContract):
    @pytest.fixture(params=[MIXED, (OFFLINE,), (STREAMING,)], ids=["mixed", "offline", "streaming"])
    async def engine(self, request: pytest.FixtureRequest) -> AsyncIterator[RivaEngine]:
        async with riva_server(request.param) as server:
            yield engine_for(server)


class TestLongRecordings(EngineContract):
    @pytest.fixture
    def speech(self, long_speech: Recording) -> Recording:
        return long_speech

    @pytest.fixture(params=[(OFFLINE,), (STREAMING,)], ids=["pieces", "stream"])
    async def engine(self, request: pytest.FixtureRequest) -> AsyncIterator[RivaEngine]:
        async with riva_server(request.param) as server:
            yield engine_for(server)
