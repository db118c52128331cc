"""The S3 server of these tests."""

import os
from collections.abc import Iterator

import pytest

from tests.support.swift import Swift, SwiftMissing, running_swift


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swift]:
    try:
        with running_swift(tmp_path_factory.mktemp("swift")) as server:
            yield server
    except SwiftMissing as reason:
        if os.environ.get("REQUIRE_SERVICES") == "1":
            pytest.fail(f"an S3 server is required here: {reason}")
        pytest.skip(f"needs OpenStack Swift as S3 server: {reason}")
