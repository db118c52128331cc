"""One platform for a little of every campaign, on a copy of the code as it is now."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.chaos.checkout import checkout
from tests.chaos.ground import Ground, ground


@pytest.fixture(scope="module")
def code() -> Iterator[Path]:
    with checkout() as copy:
        yield copy


@pytest.fixture(scope="module")
async def arena(code: Path) -> AsyncIterator[Ground]:
    async with ground(code) as platform:
        yield platform
