"""Whoever migrates makes the role that the platform logs in as, and it is one that row-level security binds."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import quote
from uuid import uuid4

import asyncpg
import pytest
from pydantic import SecretStr

from cli.platform import migrate
from cli.roles import make_app_role
from config.load import load_settings
from config.settings import DatabaseSettings
from db.session import NOBODY
from domain.access import Caller
from domain.errors import BadSettings
from services.platform import open_platform
from tests.support.jobs import make_job
from tests.support.servers import PostgresServer


@dataclass(frozen=True, slots=True)
class Made:
    server: PostgresServer
    database: str
    role: str

    def settings(self, *, owner: str = "postgres", password: str | None = "secret") -> DatabaseSettings:
        secret = "" if password is None else f":{password}"
        return DatabaseSettings(
            url=SecretStr(f"postgresql://{self.role}{secret}@127.0.0.1:{self.server.port}/{self.database}"),
            migration_url=SecretStr(self.server.url_of(owner, self.database)),
        )


@pytest.fixture
async def made(postgres: PostgresServer) -> AsyncIterator[Made]:
    """A database of nobody's yet, and the name of a role that is not there."""
    database, role = await postgres.create_database("template0"), f"role_{uuid4().hex}"
    yield Made(postgres, database, role)
    await postgres.drop_database(database)
    connection = await asyncpg.connect(postgres.url)
    await connection.execute(f"DROP ROLE IF EXISTS {role}")
    await connection.close()


async def test_the_role_reads_and_writes_and_sees_only_what_it_says(made: Made, environ: dict[str, str]) -> None:
    settings = made.settings()
    assert await make_app_role(settings) == made.role
    assert await make_app_role(settings) is None, "it is there"
    whole = load_settings(environ).model_copy(update={"database": settings})
    await migrate(whole)
    async with open_platform(whole, application="test", sees=NOBODY) as platform:
        mine = await make_job(platform, owner=Caller("ana"))
    connection = await asyncpg.connect(settings.url.get_secret_value())
    try:
        assert await connection.fetch("SELECT id FROM transcript_jobs") == []
        await connection.execute("SELECT set_config('escriba.owner', 'ana', false)")
        assert await connection.fetchval("SELECT id FROM transcript_jobs") == mine
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("ALTER TABLE transcript_jobs DISABLE ROW LEVEL SECURITY")
    finally:
        await connection.close()


async def test_a_name_and_a_password_that_look_like_sql_are_no_more_than_that(made: Made) -> None:
    assert await make_app_role(made.settings(password=quote('it\'s %I a "password"'))) == made.role


async def test_one_role_for_all_needs_no_other(made: Made) -> None:
    alone = made.settings().model_copy(update={"migration_url": made.settings().url})
    assert await make_app_role(alone) is None


async def test_who_may_not_make_roles_is_told_what_to_do(made: Made) -> None:
    with pytest.raises(BadSettings, match="may not make it"):
        await make_app_role(made.settings(owner="escriba_owner"))


async def test_without_a_password_there_is_no_role(made: Made) -> None:
    with pytest.raises(BadSettings, match="no password"):
        await make_app_role(made.settings(password=None))
