"""What was said, what a file is called and what opens a door is in no log line, span or metric, however a job ends."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import ROOT
from tests.support.collector import Collector, attributes_of
from tests.support.receiver import receiving
from tests.support.waiting import eventually
from tests.support.whole import Whole, whole_platform

CANARY = "zyzzyva"  # a beetle, and no word of this project
JOBS = "/api/transcribe/jobs"
SAMPLE = (ROOT / "samples/consultation.flac").read_bytes()
TOKEN = f"{CANARY}-METRICS-TOKEN-0123456789abcdef"


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with receiving() as receiver:
        yield Collector(receiver)


@pytest.fixture
async def talkative(tmp_path: Path, collector: Collector) -> AsyncIterator[Whole]:
    """A platform that logs all it can, and sends its spans as they come."""
    environ = {
        "LOG_LEVEL": "debug",
        "JOB_LEASE_SEC": "3",
        "METRICS_TOKEN": TOKEN,
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    platform = whole_platform(tmp_path / "home", **environ)
    yield await asyncio.to_thread(platform.__enter__)
    await asyncio.to_thread(platform.__exit__, None, None, None)


async def submit(client: httpx.AsyncClient, recording: bytes) -> str:
    fields = {"engine": "sphinx", "hotwords": CANARY, "on_unsupported": "warn"}
    files = {"file": (f"{CANARY}.flac", recording)}
    answer = await client.post(f"{JOBS}/transcribe?name={CANARY}", data=fields, files=files)
    job_id: str = answer.json()["job_id"]
    return job_id


async def status(client: httpx.AsyncClient, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get(f"{JOBS}/status/{job_id}")).json()
    return found


async def ended(client: httpx.AsyncClient, job_id: str) -> str:
    async with client.stream("GET", f"{JOBS}/stream/{job_id}") as stream:
        async for _ in stream.aiter_lines():
            pass
    return str((await status(client, job_id))["status"])


async def in_hand(client: httpx.AsyncClient, job_id: str) -> str:
    """The worker of a job that is being heard."""

    async def is_heard() -> bool:
        return int((await status(client, job_id))["progress"]) > 0

    await eventually(is_heard, within=120)
    return str((await status(client, job_id))["worker_id"])


async def knock(client: httpx.AsyncClient, job_id: str) -> None:
    """At doors that do not open."""
    for headers in (
        {"Authorization": f"Bearer {CANARY}"},
        {"X-API-Key": CANARY},
        {"Cookie": f"escriba_access={CANARY}"},
    ):
        await client.get("/users/me", headers=headers)
    await client.get(f"{JOBS}/stream/{job_id}", params={"ticket": CANARY})
    await client.get(f"/{CANARY}?token={CANARY}")
    await client.get(f"/media/{CANARY}")
    await client.post("/auth/token", data={"username": f"{CANARY}@example.org", "password": CANARY})
    await client.post("/api/contexts", json={"name": CANARY, "terms": [{"text": CANARY}, {"text": 7}]})
    await client.post("/api/webhooks", json={"url": f"https://{CANARY}.example/{CANARY}"})


async def test_nothing_of_a_job_is_told(talkative: Whole, collector: Collector) -> None:
    async with httpx.AsyncClient(base_url=talkative.url, timeout=180) as client:
        completed = await submit(client, SAMPLE)
        failed = await submit(client, CANARY.encode())
        assert (await ended(client, completed), await ended(client, failed)) == ("completed", "failed")
        cancelled = await submit(client, SAMPLE)
        await in_hand(client, cancelled)
        await client.post(f"{JOBS}/{cancelled}/cancel")
        assert await ended(client, cancelled) == "cancelled"
        crashed = await submit(client, SAMPLE)
        worker = await in_hand(client, crashed)
        await asyncio.to_thread(talkative.kill, "engine child")
        await asyncio.to_thread(talkative.kill, "worker", pid=int(worker.split("-")[-2]))
        assert await ended(client, crashed) == "completed"
        await knock(client, completed)
        text = (await client.get(f"{JOBS}/result/{completed}")).json()["text"]
        shown = (await client.get("/metrics")).text

        async def all_spans_have_come() -> bool:
            return {span.trace_id.hex() for span in collector.spans()} >= {
                job_id.replace("-", "") for job_id in (completed, failed, cancelled, crashed)
            }

        await eventually(all_spans_have_come, within=60)
    assert 'escriba_attempts_total{engine="sphinx",outcome="completed"} 2.0' in shown, "one by a worker that was killed"
    logs = {path.name: path.read_text() for path in [*talkative.home.glob("logs/*.log"), talkative.home / "up.log"]}
    told = {**logs, "metrics": shown, "spans": str(collector.spans())}
    words = text.split()
    said = [CANARY, *(" ".join(words[at : at + 3]) for at in range(len(words) - 2))]
    assert len(said) > 50
    assert {(name, word) for name, whole in told.items() for word in said if word in whole.lower()} == set()
    assert_whole_story(completed, logs, collector)


def assert_whole_story(job_id: str, logs: dict[str, str], collector: Collector) -> None:
    """Or the silence above would be that of processes which say nothing."""
    lines = [json.loads(line) for log in logs.values() for line in log.splitlines() if line.startswith("{")]
    of_job = [line for line in lines if line.get("job_id") == job_id]
    assert {line["process"] for line in of_job} == {"api", "worker"}
    assert [line["fence"] for line in of_job if line["message"] == "the attempt completed"] == [1]
    assert {line["trace_id"] for line in of_job if line["process"] == "worker"} == {job_id.replace("-", "")}
    spans = [span for span in collector.spans() if span.trace_id.hex() == job_id.replace("-", "")]
    assert {span.name for span in spans} >= {"attempt", "fetch", "decode", "hear", "save"}
    (attempt,) = (span for span in spans if span.name == "attempt")
    assert attributes_of(attempt)["escriba.outcome"] == "completed"
    assert [link.trace_id.hex() for span in collector.spans() for link in span.links].count(attempt.trace_id.hex()) == 1
