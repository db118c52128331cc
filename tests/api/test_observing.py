"""Every answer has an id that the log lines of its request have too; a line says what was asked for, and no more."""

import json
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from api import observing
from config.settings import Settings
from config.telemetry import JsonFormatter
from services import reading
from services.platform import Platform
from tests.api.conftest import JOBS, serving
from tests.support.audio import tone

FILE = {"file": ("visit.wav", tone(0.1), "audio/wav")}


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter("test"))
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(self.format(record)))

    def of(self, request_id: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line.get("request_id") == request_id]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """What this process logs at INFO, as it would be written."""
    handler, root = Lines(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


async def test_every_answer_has_an_id_of_its_own(client: httpx.AsyncClient) -> None:
    answers = [await client.get(path) for path in ("/health", "/engines", "/nothing/here", f"{JOBS}/status/x")]
    refused = await client.get("/health", headers={"Host": "stranger.example"})
    ids = [answer.headers["x-request-id"] for answer in (*answers, refused)]
    assert len(set(ids)) == 5
    assert all(observing.WELL_FORMED.fullmatch(given) for given in ids)


async def test_an_id_that_the_caller_brings_is_kept(client: httpx.AsyncClient) -> None:
    mine = f"visit-{uuid4()}"
    assert (await client.get("/health", headers={"X-Request-ID": mine})).headers["x-request-id"] == mine


@pytest.mark.parametrize("given", ["short", "with spaces in it", "x" * 65, 'a"quote,and{more}', "ünïcödé-id"])
async def test_what_is_no_id_is_replaced(client: httpx.AsyncClient, given: str) -> None:
    answer = await client.get("/health", headers={"X-Request-ID": given.encode()})
    assert answer.headers["x-request-id"] != given
    assert observing.WELL_FORMED.fullmatch(answer.headers["x-request-id"])


async def test_a_submission_is_a_line_with_its_request_and_its_job(client: httpx.AsyncClient, lines: Lines) -> None:
    answer = await client.post(f"{JOBS}/transcribe", data={"engine": "scripted"}, files=FILE)
    (line,) = lines.of(answer.headers["x-request-id"])
    assert line["job_id"] == answer.json()["job_id"]
    assert (line["method"], line["route"], line["status"]) == ("POST", f"{JOBS}/transcribe", 202)
    assert line["ms"] > 0


async def test_what_is_asked_of_a_job_is_a_line_with_its_id(client: httpx.AsyncClient, lines: Lines) -> None:
    job_id = str(uuid4())
    answer = await client.post(f"{JOBS}/{job_id}/cancel")
    (line,) = lines.of(answer.headers["x-request-id"])
    assert (line["job_id"], line["status"]) == (job_id, 404)


async def test_a_read_is_no_line(client: httpx.AsyncClient, lines: Lines) -> None:
    answer = await client.get(f"{JOBS}/status/{uuid4()}")
    assert lines.of(answer.headers["x-request-id"]) == []


@pytest.fixture
async def broken(
    settings: Settings, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx.AsyncClient]:
    async def page(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("a secret canary")

    monkeypatch.setattr(reading, "page", page)
    async with serving(settings) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
        yield client


async def test_a_bug_is_answered_and_told_once_under_the_id_of_its_request(
    broken: httpx.AsyncClient, lines: Lines
) -> None:
    answer = await broken.get(JOBS)
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
    told = lines.of(answer.headers["x-request-id"])
    assert [line["message"] for line in told] == [f"a bug in GET {JOBS}", "answered"]
    assert told[0]["error"]["type"] == "builtins.ZeroDivisionError"
    assert told[1]["status"] == 500
    assert "canary" not in json.dumps(lines.lines)
