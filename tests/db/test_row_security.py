"""Row-level security: PostgreSQL holds a second time that nobody sees another's rows."""

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ProgrammingError

from config.load import load_settings
from config.settings import Settings
from db.session import EVERYBODY, NOBODY, Sessions
from domain.access import Caller
from domain.errors import DatabaseUnavailable
from services.platform import Platform
from tests.api.conftest import serving
from tests.support.jobs import make_job
from tests.support.servers import PostgresServer

ANA, BEN = Caller("ana"), Caller("ben")


@pytest.fixture
async def door(settings: Settings) -> AsyncIterator[Sessions]:
    """What a door has, with one connection for everybody."""
    database = settings.database.model_copy(update={"pool_size": 1})
    sessions = Sessions.connect(database, application="test", sees=NOBODY)
    yield sessions
    await sessions.close()


@pytest.fixture(scope="module")
async def jobs(platform: Platform) -> dict[str, UUID]:
    return {caller.owner: await make_job(platform, owner=caller) for caller in (ANA, BEN)}


async def owners_seen(sessions: Sessions, owner: str | None, table: str = "transcript_jobs") -> set[str]:
    async with sessions.begin(owner=owner) as session:
        return set(await session.scalars(text(f"SELECT DISTINCT owner FROM {table}")))


async def test_every_table_with_an_owner_is_secured(platform: Platform) -> None:
    async with platform.sessions.alone() as session:
        rows = await session.execute(
            text(
                "SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity, count(p.polname) FROM pg_class c"
                " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'owner' AND NOT a.attisdropped"
                " LEFT JOIN pg_policy p ON p.polrelid = c.oid"
                " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' GROUP BY c.oid"
            )
        )
        found = {name: (secured, policies) for name, secured, policies in rows}
    assert len(found) > 10
    assert set(found.values()) == {(True, 1)}, found


async def test_an_owner_sees_their_rows_and_no_others(door: Sessions, jobs: dict[str, UUID]) -> None:
    for table in ("transcript_jobs", "transcripts", "job_events"):
        assert await owners_seen(door, "ana", table) == {"ana"}
        assert await owners_seen(door, "ben", table) == {"ben"}
        assert await owners_seen(door, EVERYBODY, table) >= {"ana", "ben"}


async def test_who_does_not_say_whose_rows_sees_none(door: Sessions, jobs: dict[str, UUID]) -> None:
    assert await owners_seen(door, None) == set()
    await owners_seen(door, "ana")
    assert await owners_seen(door, None) == set(), "what the connection was told before is over"
    async with door.alone() as session:
        assert await session.scalar(text("SELECT count(*) FROM transcript_jobs")) == 0
    async with door.directly() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM transcript_jobs")) == 0


async def test_an_owner_that_looks_like_a_command_is_a_name(door: Sessions, jobs: dict[str, UUID]) -> None:
    assert await owners_seen(door, "x', false); SELECT set_config('escriba.owner', '*', false); --") == set()


async def test_nobody_writes_what_would_be_another_s(door: Sessions, jobs: dict[str, UUID]) -> None:
    take = text("UPDATE transcript_jobs SET message = 'mine' WHERE id = :id RETURNING id").bindparams(id=jobs["ben"])
    async with door.begin(owner="ana") as session:
        assert (await session.execute(take)).all() == []
    with pytest.raises(ProgrammingError, match="row-level security"):
        async with door.begin(owner="ana") as session:
            await session.execute(text("INSERT INTO contexts (id, owner, name) VALUES (gen_random_uuid(), 'ben', 'x')"))


async def test_a_transaction_that_is_rolled_back_leaves_the_next_owner_alone(
    door: Sessions, jobs: dict[str, UUID]
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with door.begin(owner="ana") as session:
            await session.execute(text("SELECT 1"))
            raise ZeroDivisionError
    assert await owners_seen(door, "ben") == {"ben"}
    assert await owners_seen(door, "ana") == {"ana"}


async def test_a_server_that_goes_while_it_is_told_is_a_database_that_is_away(
    door: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dies(*_: object, **__: object) -> None:
        raise asyncpg.AdminShutdownError("terminating connection")

    monkeypatch.setattr(asyncpg.Connection, "execute", dies)
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable):
            await owners_seen(door, "ana")
    monkeypatch.undo()
    assert await owners_seen(door, "nobody in particular") == set()


@pytest.fixture(params=["SUPERUSER", "BYPASSRLS"])
async def all_seeing(
    request: pytest.FixtureRequest, postgres: PostgresServer, settings: Settings
) -> AsyncIterator[str]:
    """The URL of a role that policies do not bind."""
    role, database = f"seer_{uuid4().hex}", make_url(settings.database.url.get_secret_value()).database
    connection = await asyncpg.connect(postgres.url)
    await connection.execute(f"CREATE ROLE {role} LOGIN {request.param} IN ROLE escriba_app")
    yield postgres.url_of(role, database or "")
    await connection.execute(f"DROP ROLE {role}")
    await connection.close()


async def test_where_callers_are_told_apart_nobody_is_served_by_a_role_that_sees_all(
    environ: dict[str, str], all_seeing: str
) -> None:
    said = {"AUTH": "required", "JWT_SECRET_KEY": "a signing key for tests of 32 bytes", "DATABASE_URL": all_seeing}
    async with serving(load_settings(environ | said)) as url, httpx.AsyncClient(base_url=url, timeout=30) as client:
        for _ in range(20):  # more than the pool has connections
            answer = await client.get("/health")
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "rows_unguarded")


async def test_where_there_is_one_owner_any_role_will_do(environ: dict[str, str], all_seeing: str) -> None:
    settings = load_settings(environ | {"DATABASE_URL": all_seeing})
    async with serving(settings) as url, httpx.AsyncClient(base_url=url, timeout=30) as client:
        assert (await client.get("/health")).status_code == 200
