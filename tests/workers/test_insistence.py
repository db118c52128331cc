"""Writes that must not be lost."""

import asyncio

import pytest

from domain.errors import DatabaseUnavailable
from workers import insistence


@pytest.mark.parametrize(("longest", "expected"), [(0.3, [0.1, 0.2, 0.3, 0.3, 0.3]), (2.0, [0.1, 0.2, 0.4, 0.8, 1.6])])
async def test_whoever_has_little_time_tries_more_often(
    monkeypatch: pytest.MonkeyPatch, longest: float, expected: list[float]
) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async def write() -> bool:
        if len(pauses) < len(expected):
            raise DatabaseUnavailable
        return True

    monkeypatch.setattr(asyncio, "sleep", sleep)
    assert await insistence.insist(write, longest_pause=longest)
    assert pauses == pytest.approx(expected)
