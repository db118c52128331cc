"""A long recording, followed to its end by a browser's EventSource and by curl, over a cut in the middle."""

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import async_playwright

from tests.conftest import require_services
from tests.support.whole import Whole

CHROMIUM = Path("/usr/bin/chromium")

# As the README has it, and every event kept for the test to read.
FOLLOW = """
(jobId) => new Promise((resolve) => {
  const told = [];
  const events = new EventSource(`/api/transcribe/jobs/stream/${jobId}`);
  events.onmessage = (event) => {
    const data = JSON.parse(event.data);
    told.push({id: event.lastEventId, ...data});
    if (["completed", "failed", "cancelled"].includes(data.status) && data.type === "state") {
      events.close();
      resolve(told);
    }
  };
})
"""

Event = dict[str, Any]


async def in_browser(url: str, job_id: str) -> list[Event]:
    arguments = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = await browser.new_page()
        await page.goto(f"{url}/health")
        told: list[Event] = await page.evaluate(FOLLOW, job_id)
        await browser.close()
    return told


async def with_curl(url: str, job_id: str) -> list[Event]:
    """`curl -N`, cut off after its third segment, then once more with `Last-Event-ID`."""
    first = await curl(url, job_id, "", stop_after_segments=3)
    last = [event["id"] for event in first if event["id"]][-1]
    return first + await curl(url, job_id, last)


async def curl(url: str, job_id: str, last: str, *, stop_after_segments: int | None = None) -> list[Event]:
    command = ["curl", "-sN", "-H", f"Last-Event-ID: {last}", f"{url}/api/transcribe/jobs/stream/{job_id}"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    told: list[Event] = []
    event_id = ""
    async for line in process.stdout:
        name, _, value = line.decode().rstrip("\r\n").partition(": ")
        if name == "id":
            event_id = value
        if name == "data":
            told.append({**json.loads(value), "id": event_id, "came": time.monotonic()})
            event_id = ""
        if stop_after_segments is not None and len(segments(told)) >= stop_after_segments:
            process.kill()
            break
    await process.wait()
    return told


def segments(told: list[Event]) -> list[Event]:
    return [event for event in told if event["type"] == "segment"]


def texts(told: list[Event]) -> list[str]:
    return [event["segment"]["text"] for event in segments(told)]


@pytest.fixture(scope="session")
def chromium() -> None:
    if not CHROMIUM.exists():
        reason = "needs Debian's chromium; `make ci-services` installs it"
        (pytest.fail if require_services() else pytest.skip)(reason)


async def test_a_long_recording_is_followed_to_its_end(whole: Whole, shared_data: Path, chromium: None) -> None:
    began = time.monotonic()
    job_id = await asyncio.to_thread(whole.submit, shared_data / "long" / "columbia.wma", engine="sphinx")
    browsing = asyncio.create_task(in_browser(whole.url, job_id))
    steady = await curl(whole.url, job_id, "", stop_after_segments=5)
    await asyncio.to_thread(whole.kill, "api")  # the browser's connection breaks, and it reconnects by itself
    browsed = await browsing
    wall = time.monotonic() - began
    result = await asyncio.to_thread(whole.result, job_id)
    heard = [segment["text"] for segment in result["segments"]]  # type: ignore[attr-defined]

    assert len(heard) >= 5
    assert texts(browsed) == heard
    assert [event["status"] for event in browsed if event["type"] == "state"].count("completed") == 1
    assert browsed[0]["type"] == "snapshot"
    first = segments(steady)[0]
    assert first["came"] - began < wall / 2
    done = [event["audio_done"] for event in steady if event["type"] == "progress"]
    assert done == sorted(done)
    assert len(set(done)) > 1


async def test_curl_goes_on_where_it_broke_off(whole: Whole, shared_data: Path) -> None:
    job_id = await asyncio.to_thread(whole.submit, shared_data / "long" / "two_cities_16k.wav", engine="sphinx")
    told = await with_curl(whole.url, job_id)
    result = await asyncio.to_thread(whole.result, job_id)
    assert texts(told) == [segment["text"] for segment in result["segments"]]  # type: ignore[attr-defined]
    assert told[-1]["status"] == "completed"


async def test_a_stream_that_is_asked_for_behind_the_end_stops_the_client(whole: Whole, shared_data: Path) -> None:
    job_id = await asyncio.to_thread(whole.submit, shared_data / "en" / "arctic_a0024.wav", engine="sphinx")
    told = await curl(whole.url, job_id, "")
    command = ["curl", "-s", "-o", os.devnull, "-w", "%{http_code}", "-H", f"Last-Event-ID: {told[-1]['id']}"]
    url = f"{whole.url}/api/transcribe/jobs/stream/{job_id}"
    process = await asyncio.create_subprocess_exec(*command, url, stdout=asyncio.subprocess.PIPE)
    assert (await process.communicate())[0] == b"204"
