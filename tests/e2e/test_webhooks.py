"""Webhooks of the whole platform, over the death of everything: what its workers owe is delivered."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.support.endpoints import OPEN
from tests.support.receiver import receiving
from tests.support.waiting import eventually
from tests.support.whole import Whole, whole_platform


@pytest.fixture
async def open_whole(tmp_path: Path) -> AsyncIterator[Whole]:
    """Its webhooks may be on loopback."""
    platform = whole_platform(tmp_path / "home", **OPEN)
    yield await asyncio.to_thread(platform.__enter__)
    await asyncio.to_thread(platform.__exit__, None, None, None)


async def test_the_end_of_a_job_is_told_though_the_platform_dies_in_between(open_whole: Whole, tmp_path: Path) -> None:
    recording = tmp_path / "not_a_recording.wav"
    recording.write_bytes(b"there is nothing to be heard in this")
    async with receiving() as receiver, httpx.AsyncClient(base_url=f"{open_whole.url}/api", timeout=60) as client:
        made = (await client.post("/webhooks", json={"url": receiver.url})).json()
        path = f"/webhooks/{made['webhook_id']}"
        await client.patch(path, json={"state": "paused"})
        job_id = await asyncio.to_thread(open_whole.submit, recording)

        async def is_owed() -> bool:
            return bool((await client.get(f"{path}/deliveries")).json()["deliveries"])

        await eventually(is_owed, within=60)
        await client.patch(path, json={"state": "active"})
        await asyncio.to_thread(open_whole.kill_everything)
        await asyncio.to_thread(open_whole.start)
        received = (await receiver.has(1))[0].verified(made["secret"])
    assert (received["type"], received["data"]["job_id"]) == ("job.failed", job_id)
