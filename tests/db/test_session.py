"""Transactions on real PostgreSQL, one that hangs up and one that is not there."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from config.settings import DatabaseSettings, Settings
from db import session as session_module
from db.session import Sessions
from domain.errors import DatabaseUnavailable
from tests.support.servers import free_port
from tests.support.waiting import eventually

Way = Callable[[Sessions], AbstractAsyncContextManager[AsyncSession | AsyncConnection]]


@pytest.fixture(params=["begin", "alone", "directly"])
def way(request: pytest.FixtureRequest) -> Way:
    return lambda sessions: getattr(sessions, request.param)()


@pytest.fixture
async def sessions(settings: Settings) -> AsyncIterator[Sessions]:
    made = Sessions.connect(settings.database.model_copy(update={"pool_size": 1}), application="test")
    yield made
    await made.close()


async def test_a_connection_that_the_server_closed_is_replaced_unnoticed(
    way: Way, sessions: Sessions, settings: Settings
) -> None:
    async with way(sessions) as session:
        backend = await session.scalar(text("SELECT pg_backend_pid()"))
        connection = await session.connection() if isinstance(session, AsyncSession) else session
        closed = (await connection.get_raw_connection()).driver_connection
    assert closed is not None
    superuser = await asyncpg.connect(settings.database.url.get_secret_value().replace("escriba_app@", "postgres@"))
    await superuser.execute("SELECT pg_terminate_backend($1)", backend)
    await superuser.close()
    await eventually(closed.is_closed)
    async with way(sessions) as session:
        assert await session.scalar(text("SELECT pg_backend_pid()")) != backend


async def test_a_database_that_is_away_is_said_to_be(way: Way) -> None:
    nowhere = DatabaseSettings(url=f"postgresql://nobody@127.0.0.1:{free_port()}/none")
    sessions = Sessions.connect(nowhere, application="test")
    with pytest.raises(DatabaseUnavailable):
        async with way(sessions) as session:
            await session.execute(text("SELECT 1"))


async def test_what_is_done_is_there_for_others(way: Way, sessions: Sessions, settings: Settings) -> None:
    name = {"name": str(uuid4())}
    async with way(sessions) as session:
        await session.execute(text("INSERT INTO duties (name, holder, until) VALUES (:name, 'me', now())"), name)
    other = Sessions.connect(settings.database, application="other")
    async with other.begin() as session:
        assert await session.scalar(text("SELECT holder FROM duties WHERE name = :name"), name) == "me"
    await other.close()


async def test_a_pool_that_is_used_up_is_as_a_database_that_is_away(
    way: Way, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions.engine.pool, "_timeout", 0.05)
    async with way(sessions) as session:
        await session.execute(text("SELECT 1"))
        with pytest.raises(DatabaseUnavailable):
            async with way(sessions) as another:
                await another.execute(text("SELECT 1"))


async def test_a_process_that_stops_between_the_messages_of_a_statement_does_not_keep_its_locks(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "TRANSACTION_SECONDS", 1)
    name = {"name": str(uuid4())}
    stopped = Sessions.connect(settings.database, application="stopped")
    with pytest.raises(DatabaseUnavailable):
        async with stopped.begin() as session:
            await session.execute(text("INSERT INTO duties (name, holder, until) VALUES (:name, 'it', now())"), name)
            connection = (await (await session.connection()).get_raw_connection()).driver_connection
            assert connection is not None
            await connection.prepare("SELECT count(*) FROM duties")  # PostgreSQL now waits to be told to run it
            await eventually(connection.is_closed)
    async with stopped.begin() as session:
        assert await session.scalar(text("SELECT holder FROM duties WHERE name = :name"), name) is None
    await stopped.close()
