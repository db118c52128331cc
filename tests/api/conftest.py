"""The API over real HTTP, in the test's own loop, and a worker's attempts beside it where a test asks for one."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import UUID

import httpx
import pytest
import uvicorn
from sqlalchemy import text

from api.app import create_app
from config.settings import Settings
from domain.capabilities import EngineReport, ModelReport
from services import engine_reports
from services.platform import Platform
from tests.support.scripted import ScriptedEngine, registry_of
from workers.pipeline import run_attempt
from workers.schedule import VOUCH_SECONDS

JOBS = "/api/transcribe/jobs"

REPORTS = [
    EngineReport(engine="scripted", available=True, quality=99, detects_language=True),
    EngineReport(
        engine="english",
        available=True,
        quality=1,
        languages=("en-US",),
        models=(ModelReport(name="small", state="ready"),),
        default_model="small",
    ),
]


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[str]:
    """An API process's worth of API, on a free port of loopback: its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(create_app(settings), log_config=None, access_log=False, timeout_graceful_shutdown=1)
    )
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.005)
        if task.done():
            task.result()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


@pytest.fixture(scope="module")
async def url(settings: Settings, platform: Platform) -> AsyncIterator[str]:
    await engine_reports.record(platform, worker="worker-1", reports=REPORTS)
    async with vouching(platform), serving(settings) as url:
        yield url


@asynccontextmanager
async def vouching(platform: Platform) -> AsyncIterator[None]:
    """Within this, every worker that a test has made up lives."""

    async def vouch() -> None:
        while True:
            async with platform.sessions.begin() as session:
                await session.execute(text("UPDATE engine_reports SET reported_at = now()"))
            await asyncio.sleep(VOUCH_SECONDS)

    task = asyncio.create_task(vouch())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


@pytest.fixture(scope="module")
async def client(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        yield client


@pytest.fixture
def work(platform: Platform) -> Callable[[str], Awaitable[None]]:
    """One attempt at a job, as a worker makes it."""

    async def attempt(job_id: str, engine: ScriptedEngine | None = None) -> None:
        await run_attempt(platform, registry_of(engine or ScriptedEngine()), UUID(job_id), worker="worker-1")

    return attempt
