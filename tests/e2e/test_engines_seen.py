"""GET /engines of real processes: what stops is not said to be there, and what goes on is."""

from typing import Any

import httpx

from services.engine_reports import NO_WORKER
from tests.support.waiting import until
from tests.support.whole import Whole


def answer(whole: Whole) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{whole.url}/engines", timeout=60).json()
    return found


def test_without_workers_no_engine_is_available(whole: Whole) -> None:
    until(lambda: bool(answer(whole)["engines"]["sphinx"]["available"]))
    with whole.stopped("worker"):
        until(lambda: answer(whole)["workers"] == 0)
        sphinx = answer(whole)["engines"]["sphinx"]
        assert (sphinx["available"], sphinx["reason"]) == (False, NO_WORKER)
        assert httpx.get(f"{whole.url}/health", timeout=60).json()["workers"] is False
    until(lambda: bool(answer(whole)["engines"]["sphinx"]["available"]))


def test_an_engine_server_that_stands_still_is_not_said_to_hear(whole: Whole) -> None:
    until(lambda: bool(answer(whole)["engines"]["sphinx"]["available"]))
    with whole.stopped("engine server"):
        until(lambda: not answer(whole)["engines"]["sphinx"]["available"])
        assert "does not answer" in answer(whole)["engines"]["sphinx"]["reason"]
    until(lambda: bool(answer(whole)["engines"]["sphinx"]["available"]))
