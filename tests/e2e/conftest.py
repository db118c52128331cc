"""One whole platform for all tests of real processes, with a lease that is short enough to wait for."""

from collections.abc import Iterator

import pytest

from tests.support.whole import Whole, whole_platform

LEASE_SECONDS = 3.0


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    home = tmp_path_factory.mktemp("whole")
    with whole_platform(home, JOB_LEASE_SEC=str(LEASE_SECONDS), WORKERS_COUNT="2") as platform:
        yield platform
