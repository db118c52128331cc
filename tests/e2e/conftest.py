"""One whole platform for all tests of real processes, with a lease that is short enough to wait for."""

from collections.abc import Iterator

import pytest

from tests.conftest import SHARED
from tests.support.whole import Whole, whole_platform

LEASE_SECONDS = 3.0

MICRO_WHISPER = SHARED / "models" / "whisper-micro-ct2"
"""A network that has memorised the recordings of ../shared/data: it shows that the path works, not quality."""


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    environ = {"JOB_LEASE_SEC": str(LEASE_SECONDS), "WORKERS_COUNT": "2", "MAX_AUDIO_DURATION_SEC": "600"}
    if MICRO_WHISPER.is_dir():
        environ |= {"WHISPER_MODEL": str(MICRO_WHISPER), "WHISPER_DEVICE": "cpu"}
    with whole_platform(tmp_path_factory.mktemp("whole"), **environ) as platform:
        yield platform
