"""Connections to PostgreSQL: one engine for a process, a transaction for a use case."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Self

import asyncpg
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from config.settings import DatabaseSettings
from domain.errors import DatabaseUnavailable

IDLE_SECONDS = 3
"""How long a transaction may stand still before PostgreSQL ends it: a process that was stopped in the middle of one, or
cut off, holds the locks of rows, and a worker that waits for one to renew its lease would lose it."""

COMMAND_TIMEOUT_SECONDS = 60
"""Backstop for a connection whose other end has vanished. Long, as PostgreSQL may pause and return."""

AWAY = ("08", "25P03", "57P01", "57P02", "57P03", "53300")
"""SQLSTATE classes and codes that say "not now": connection failures, a transaction that stood still for too long,
shutdowns, start-up, too many connections."""


def async_url(url: str) -> str:
    """The same database in the spelling that selects asyncpg."""
    scheme, separator, rest = url.partition("://")
    return f"postgresql+asyncpg{separator}{rest}" if scheme in ("postgres", "postgresql") else url


class Sessions:
    """Hands out transactions. `async with sessions.begin() as session:` commits at its end, or rolls back on an error.

    Raises DatabaseUnavailable where PostgreSQL cannot be reached, or no connection of the pool has come free for 30 s:
    then nothing, or everything, was committed.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self._make = async_sessionmaker(engine, expire_on_commit=False)
        self._alone = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._make_alone = async_sessionmaker(self._alone, expire_on_commit=False)

    @classmethod
    def connect(cls, settings: DatabaseSettings, *, application: str) -> Self:
        """Prepare a pool; nothing is opened before the first use, so a process may start before its database."""
        engine = create_async_engine(
            async_url(settings.url.get_secret_value()),
            pool_size=settings.pool_size,
            max_overflow=0,
            connect_args={
                "command_timeout": COMMAND_TIMEOUT_SECONDS,
                "server_settings": {
                    "application_name": f"escriba-{application}",
                    "jit": "off",
                    "idle_in_transaction_session_timeout": f"{IDLE_SECONDS}s",
                },
            },
        )
        event.listen(engine.sync_engine, "checkout", _refuse_closed)
        return cls(engine)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncSession]:
        with _translated():
            async with self._make.begin() as session:
                yield session

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[AsyncSession]:
        """For one statement, which is a transaction of its own: the ways to PostgreSQL for BEGIN and COMMIT are saved.

        Raises DatabaseUnavailable, as `begin`.
        """
        with _translated():
            async with self._make_alone() as session:
                yield session

    @asynccontextmanager
    async def directly(self) -> AsyncIterator[AsyncConnection]:
        """`alone`, for a statement that asks for values and no objects: past the session, which costs as much again.

        Raises DatabaseUnavailable, as `begin`.
        """
        with _translated():
            async with self._alone.connect() as connection:
                yield connection

    async def close(self) -> None:
        await self.engine.dispose()


def _refuse_closed(connection: Any, _record: object, _proxy: object) -> None:
    """Have the pool open another connection in place of one on which a restarted server has hung up.

    asyncpg knows of that by itself; asking the server (`pool_pre_ping`) would cost every transaction another way there.
    """
    if connection.driver_connection.is_closed():
        raise DisconnectionError


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (OSError, PoolTimeoutError, asyncpg.InterfaceError, asyncpg.CannotConnectNowError) as error:
        raise DatabaseUnavailable from error
    except DBAPIError as error:
        if _is_away(error):
            raise DatabaseUnavailable from error
        raise


def _is_away(error: DBAPIError) -> bool:
    state = str(getattr(error.orig, "sqlstate", None) or "")
    return error.connection_invalidated or state.startswith(AWAY) or isinstance(error, InterfaceError)
