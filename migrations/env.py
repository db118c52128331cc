"""Runs migrations as the owner of the schema. Called by `escriba migrate` and by `alembic upgrade head`."""

import asyncio

from alembic import context
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from config.load import load_section
from config.settings import DatabaseSettings
from db import account_tables, video_tables, webhook_tables
from db.session import async_url

MODULES = (account_tables, video_tables, webhook_tables)
METADATA = account_tables.Base.metadata
assert {module.Base.metadata for module in MODULES} == {METADATA}, "all share one Base; each has to be imported"

LOCK = 7_246_352
"""An arbitrary number: two migrations at once take turns."""


def _url() -> str:
    given: str | None = context.config.attributes.get("url")
    if given:
        return async_url(given)
    database = load_section(DatabaseSettings)
    return async_url((database.migration_url or database.url).get_secret_value())


def _migrate(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=METADATA, compare_server_default=True)
    with context.begin_transaction():
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
        connection.exec_driver_sql("SET LOCAL escriba.owner = '*'")  # every row, of tables that hide others' (0009)
        context.run_migrations()


async def _run() -> None:
    engine = create_async_engine(_url(), poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(_migrate)
        await connection.commit()
    await engine.dispose()


if context.is_offline_mode():
    context.configure(dialect_name="postgresql", target_metadata=METADATA, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    asyncio.run(_run())
