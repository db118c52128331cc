"""The schema: migrations reach the models, and the trigger is the one that the table of moves asks for."""

import asyncio

import asyncpg
from alembic import command
from alembic.config import Config
from sqlalchemy import text

from db.tables import guard_function
from services.platform import Platform
from tests.conftest import ROOT, migrate
from tests.support.servers import PostgresServer


async def test_the_models_and_the_newest_migration_agree(postgres: PostgresServer) -> None:
    config = Config(ROOT / "alembic.ini")
    config.attributes["url"] = postgres.owner_url
    await asyncio.to_thread(command.check, config)  # raises where it would generate anything


async def test_a_schema_can_go_down_to_nothing_and_up_again(postgres: PostgresServer) -> None:
    name = await postgres.create_database()
    url = postgres.url_of("escriba_owner", name)
    config = Config(ROOT / "alembic.ini")
    config.attributes["url"] = url
    await asyncio.to_thread(command.downgrade, config, "base")
    connection = await asyncpg.connect(url)
    left = await connection.fetch(
        "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE n.nspname = 'public' AND relkind = 'r'"
    )
    await connection.close()
    assert [row["relname"] for row in left] == ["alembic_version"]
    await asyncio.to_thread(migrate, url)
    await postgres.drop_database(name)


async def test_the_trigger_is_generated_from_the_table_of_moves(platform: Platform) -> None:
    async with platform.sessions.begin() as session:
        source = await session.scalar(text("SELECT prosrc FROM pg_proc WHERE proname = 'guard_transcript_jobs'"))
    assert source == guard_function(), "domain.lifecycle.MOVES has changed: write a migration that replaces the trigger"


async def test_every_table_of_user_data_has_an_owner(platform: Platform) -> None:
    async with platform.sessions.begin() as session:
        rows = await session.scalars(
            text(
                "SELECT table_name FROM information_schema.tables t WHERE table_schema = 'public' AND NOT EXISTS"
                " (SELECT 1 FROM information_schema.columns c"
                " WHERE c.table_name = t.table_name AND c.column_name = 'owner')"
            )
        )
    platform_s = {"alembic_version", "duties", "engine_reports", "login_tries"}
    assert set(rows) == platform_s | {"users", "profiles", "login_sessions", "api_keys", "invites"}
