"""What the tests of other systems' contracts share: the platform's API, engines that say little, and their clients."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Self
from uuid import UUID

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from config.settings import Settings
from domain.capabilities import EngineReport, ModelReport
from domain.events import Event
from domain.lifecycle import JobState
from services import attempts, engine_reports
from services.attempts import Attempt
from services.platform import Platform
from tests.api.conftest import serving, vouching
from tests.conftest import ROOT
from tests.support.at_work import at_work
from tests.support.openai_desk import ABLE, AWAY, PLAIN, Able, Desk, plain_engine
from tests.support.scripted import ScriptedEngine, registry_of
from workers.pipeline import run_attempt

MODELS = (ModelReport(name="base", state="ready"), ModelReport(name="medium", state="ready"))
SCRIPTED = EngineReport(
    engine="scripted",
    available=True,
    quality=99,
    detects_language=True,
    models=MODELS,
    default_model="base",
    memory=(),
)
SMALL = EngineReport(
    engine="little",
    available=True,
    quality=1,
    detects_language=True,
    models=(ModelReport(name="small", state="ready"),),
    default_model="small",
)

Message = dict[str, Any]


@pytest.fixture(scope="module")
async def url(settings: Settings, platform: Platform) -> AsyncIterator[str]:
    await engine_reports.record(platform, worker="worker-1", reports=[SCRIPTED, SMALL])
    async with vouching(platform), serving(settings) as url:
        yield url


@pytest.fixture(scope="module")
async def client(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        yield client


@pytest.fixture
def work(platform: Platform) -> Callable[..., Awaitable[None]]:
    """One attempt at a job, as a worker makes it."""

    async def attempt(job_id: str | UUID, engine: ScriptedEngine | None = None) -> None:
        engine = engine or ScriptedEngine(report=SCRIPTED)
        await run_attempt(platform, registry_of(engine), UUID(str(job_id)), worker="worker-1")

    return attempt


@pytest.fixture(scope="module")
async def openai_url(settings: Settings, platform: Platform) -> AsyncIterator[str]:
    await engine_reports.record(platform, worker="worker-1", reports=[ABLE, PLAIN, AWAY])
    async with vouching(platform), serving(settings) as url:
        yield url


@pytest.fixture
async def desk(openai_url: str, platform: Platform) -> AsyncIterator[Desk]:
    able, plain = Able(), plain_engine()
    async with (
        at_work(platform, able, plain),
        httpx.AsyncClient(base_url=openai_url, timeout=60) as client,
    ):
        yield Desk(client, able, plain)


@asynccontextmanager
async def api_process(environ: dict[str, str]) -> AsyncIterator[str]:
    """`python -m api` with these settings: its URL."""
    ready, told = os.pipe()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        kept = {"PATH": os.environ["PATH"], **environ}
        fds = (listener.fileno(), told)
        command = [sys.executable, "-m", "api", "--fd", str(fds[0]), "--ready-fd", str(fds[1])]
        process = await asyncio.create_subprocess_exec(*command, env=kept, cwd=ROOT, pass_fds=fds)
        os.close(told)
        try:
            assert await asyncio.to_thread(os.read, ready, 6) == b"ready\n", "the API did not start"
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            os.close(ready)
            process.terminate()
            await process.wait()


class Line:
    """One client of `/ws/transcription/{id}`, that talks as wscat does."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def hear(self) -> Message:
        async with asyncio.timeout(30):
            heard: Message = json.loads(await self.connection.recv())
        return heard

    async def hear_until(self, kind: str) -> list[Message]:
        """All that is said up to the first of this type."""
        heard = [await self.hear()]
        while heard[-1]["type"] != kind:
            heard.append(await self.hear())
        return heard

    async def hear_all(self) -> tuple[list[Message], int]:
        """All that is said until the server hangs up, and the code with which it does."""
        heard = []
        try:
            while True:
                heard.append(await self.hear())
        except ConnectionClosed:
            assert self.connection.close_code is not None
            return heard, self.connection.close_code

    async def say(self, message: object) -> None:
        await self.connection.send(message if isinstance(message, str | bytes) else json.dumps(message))

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, job_id: object, *, query: str = "", **options: Any) -> AsyncIterator[Self]:
        address = f"{url.replace('http', 'ws', 1)}/ws/transcription/{job_id}{query}"
        async with connect(address, **options) as connection:
            yield cls(connection)


async def claim(platform: Platform, job_id: UUID) -> Attempt:
    attempt = await attempts.claim(platform, job_id, worker="w")
    assert attempt is not None
    return attempt


async def announce(
    platform: Platform, attempt: Attempt, done: float | None, total: float = 60.0, *, message: str | None = None
) -> None:
    """As a worker announces how far it is."""
    event = Event(
        type="progress",
        job_id=attempt.job_id,
        status=JobState.PROCESSING,
        progress=int(100 * (done or 0) / total),
        message=message,
        audio_done=done,
        audio_total=total,
        eta_seconds=12.5,
        fence=attempt.fence,
    )
    await platform.events.publish(event)
