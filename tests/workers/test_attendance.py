"""The attempts of one worker process, and how a drain ends."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from config.load import load_settings
from domain.transcript import Heard
from engines.contract import Hearing
from services.platform import Platform, open_platform
from tests.conftest import migrate
from tests.support.audio import tone
from tests.support.cells import Unused
from tests.support.jobs import make_job
from tests.support.scripted import ScriptedEngine, registry_of
from tests.support.servers import PostgresServer
from workers import pipeline
from workers.attendance import Attendance


@pytest.fixture
def mortal() -> Iterator[PostgresServer]:
    """A PostgreSQL that no other test needs."""
    with PostgresServer() as server:
        migrate(server.owner_url)
        yield server


@pytest.fixture
async def on_it(mortal: PostgresServer, environ: dict[str, str]) -> AsyncIterator[Platform]:
    settings = load_settings({**environ, "DATABASE_URL": mortal.app_url})
    async with open_platform(settings, application="test") as platform:
        yield platform


async def for_ever(_: Path, __: Hearing) -> AsyncIterator[Heard]:
    await asyncio.Event().wait()
    yield


async def test_a_drain_ends_while_postgres_is_away(
    mortal: PostgresServer, on_it: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "RELEASE_SECONDS", 0.3)
    engine = ScriptedEngine(for_ever)
    attendance = Attendance(on_it, registry_of(engine), Unused(), worker="w")
    attending = asyncio.create_task(attendance.attend(await make_job(on_it, content=tone(1.0))))
    await engine.began.wait()
    mortal.kill()
    await asyncio.wait_for(attendance.drain(0.1), 30)
    with suppress(asyncio.CancelledError):
        await attending
    assert engine.ended.is_set()
