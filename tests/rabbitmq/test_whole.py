"""The whole platform as `escriba up` runs it, asked by message: a real recording, heard by a real engine."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT
from tests.support.amqp_client import RESULTS, AmqpClient
from tests.support.broker import RabbitMQServer
from tests.support.waiting import eventually
from tests.support.whole import Whole, whole_platform

SAMPLES = ROOT / "samples"


@pytest.fixture
async def whole(broker: RabbitMQServer, tmp_path: Path) -> AsyncIterator[Whole]:
    settings = {"RABBITMQ_URL": broker.url, "AUDIO_FILE_ROOTS": str(SAMPLES), "WORKERS_COUNT": "1"}
    platform = whole_platform(tmp_path / "home", **settings)
    yield await asyncio.to_thread(platform.__enter__)
    await asyncio.to_thread(platform.__exit__, None, None, None)


async def test_a_consultation_is_heard_though_everything_dies_in_between(client: AmqpClient, whole: Whole) -> None:
    said = {"attachment_id": 7, "audio_file_path": f"{SAMPLES}/consultation.flac", "language": "en"}
    await client.publish(said, message_id="the seventh")
    await eventually(lambda: is_known(whole))
    await asyncio.to_thread(whole.kill_everything)
    await asyncio.to_thread(whole.start)
    result = (await client.receive(within=600)).said
    assert (result["attachment_id"], result["success"]) == (7, True), result
    assert "cough" in result["texto"]
    assert 58 < result["duration"] < 61
    assert await client.count(RESULTS) == 0


async def is_known(whole: Whole) -> bool:
    """Is there a job?"""
    async with httpx.AsyncClient(base_url=whole.url, timeout=60) as http:
        return "job_id" in (await http.get("/api/transcribe/jobs")).text
