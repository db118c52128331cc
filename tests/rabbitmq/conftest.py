"""A broker of the tests' own, the door to it, and an outside client."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest

from config.load import load_settings
from config.settings import Settings
from db.session import NOBODY
from rabbitmq.audio_files import AudioFiles
from rabbitmq.main import Door
from services.platform import Platform, open_platform
from tests.conftest import require_services
from tests.support.amqp_client import AmqpClient
from tests.support.audio import tone
from tests.support.broker import RabbitMQServer, is_installed
from tests.support.endpoints import run_sql


@pytest.fixture(scope="session")
def broker() -> Iterator[RabbitMQServer]:
    if not is_installed() and not require_services():
        pytest.skip("needs rabbitmq-server: make ci-services")
    with RabbitMQServer() as server:
        yield server


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder whose files requests may name; it has one."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "a.wav").write_bytes(tone(0.1))
    return folder


@pytest.fixture(scope="module")
def environ(environ: dict[str, str], broker: RabbitMQServer, served: Path) -> dict[str, str]:
    return {
        **environ,
        "RABBITMQ_URL": broker.url,
        "AUDIO_FILE_ROOTS": str(served),
        "RABBITMQ_CONNECT_WAIT_SEC": "0.1",
        "RABBITMQ_CONFIRM_TIMEOUT_SEC": "2",
    }


@pytest.fixture
async def client(broker: RabbitMQServer, platform: Platform) -> AsyncIterator[AmqpClient]:
    """With a broker that has nothing of what was there before, and nothing that is owed to it."""
    await run_sql(platform, "DELETE FROM outbox_events")
    async with AmqpClient.connected(broker.url) as client:
        await client.delete_all()
        yield client


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[None]:
    """The door, as its process has it, in this one."""
    reading, writing = os.pipe()
    files, stop = AudioFiles(settings.rabbitmq, limit=settings.api.max_file_size_bytes), asyncio.Event()
    async with open_platform(settings, application="rabbitmq", sees=NOBODY) as platform:
        serving = asyncio.create_task(Door(platform, files, writing).serve(stop))
        ready = asyncio.create_task(asyncio.to_thread(os.read, reading, 16))
        try:
            await asyncio.wait([serving, ready], return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                await serving
            yield
        finally:
            stop.set()
            await serving
            os.close(reading)
            await files.close()


@pytest.fixture
async def door(settings: Settings, client: AmqpClient) -> AsyncIterator[None]:
    async with opened(settings):
        yield


def under(environ: dict[str, str], **changed: str) -> Settings:
    """The settings, but for these."""
    return load_settings({**environ, **changed})


numbers = count(1000)


@pytest.fixture
def number() -> int:
    """An attachment that no other test speaks of."""
    return next(numbers)
