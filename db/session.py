"""Connections to PostgreSQL: one engine for a process, a transaction for a use case."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any, Self

import asyncpg
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from config.settings import DatabaseSettings
from domain.errors import DatabaseUnavailable, RowsUnguarded

IDLE_SECONDS = 3
"""How long a transaction may stand still before PostgreSQL ends it: a process that was stopped in the middle of one, or
cut off, holds the locks of rows, and a worker that waits for one to renew its lease would lose it."""

TRANSACTION_SECONDS = 12
"""How long a transaction may take in all. A process may also stop between two messages of one statement, which asyncpg
prepares and then runs, and PostgreSQL does not call that standing still. Less than a lease, several times what the
longest of ours takes. PostgreSQL 17 and later know it; with an older one such locks last until the process goes on."""

COMMAND_TIMEOUT_SECONDS = 60
"""Backstop for a connection whose other end has vanished. Long, as PostgreSQL may pause and return."""

AWAY = ("08", "25006", "25P03", "25P04", "53", "57P01", "57P02", "57P03")
"""SQLSTATE classes and codes that say "not now": connection failures, a transaction that stood still, or took, for too
long, shutdowns, start-up, too many connections."""


EVERYBODY, NOBODY = "*", ""
"""In place of an owner: for the platform's own queries, and for those that should have said whose they are."""

SEES = "escriba.owner"
"""What the policies of row-level security ask (migration 0009), and what a connection was last told."""

BOUND = "escriba.bound"
"""Of a connection that row-level security binds."""

_owner: ContextVar[str] = ContextVar("owner", default=EVERYBODY)


def async_url(url: str) -> str:
    """The same database in the spelling that selects asyncpg."""
    scheme, separator, rest = url.partition("://")
    return f"postgresql+asyncpg{separator}{rest}" if scheme in ("postgres", "postgresql") else url


class Sessions:
    """Hands out transactions. `async with sessions.begin() as session:` commits at its end, or rolls back on an error.

    Raises DatabaseUnavailable where PostgreSQL cannot be reached, or no connection of the pool has come free for 30 s:
    then nothing, or everything, was committed.
    """

    def __init__(self, engine: AsyncEngine, *, sees: str = EVERYBODY) -> None:
        """`sees`: whose rows a transaction sees that does not say whose."""
        self.engine, self._sees = engine, sees
        self._make = async_sessionmaker(engine, expire_on_commit=False)
        self._alone = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._make_alone = async_sessionmaker(self._alone, expire_on_commit=False)

    @classmethod
    def connect(
        cls, settings: DatabaseSettings, *, application: str, sees: str = EVERYBODY, guarded: bool = False
    ) -> Self:
        """Prepare a pool; nothing is opened before the first use, so a process may start before its database.

        `guarded`: have every transaction raise RowsUnguarded where row-level security does not bind our role.
        """
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
        event.listen(engine.sync_engine, "connect", _limit_transactions)
        event.listen(engine.sync_engine, "checkout", _refuse_closed)
        if guarded:
            event.listen(engine.sync_engine, "checkout", _refuse_unguarded)
        event.listen(engine.sync_engine, "checkout", _say_whose)
        return cls(engine, sees=sees)

    @asynccontextmanager
    async def begin(self, *, owner: str | None = None) -> AsyncIterator[AsyncSession]:
        """`owner`: whose rows are seen; PostgreSQL holds that besides the WHERE of every query (row-level security)."""
        with _translated(), self._seeing(owner):
            async with self._make.begin() as session:
                yield session

    @asynccontextmanager
    async def alone(self, *, owner: str | None = None) -> AsyncIterator[AsyncSession]:
        """Each statement is a transaction of its own: the ways to PostgreSQL for BEGIN and COMMIT are saved.

        Raises DatabaseUnavailable, as `begin`.
        """
        with _translated(), self._seeing(owner):
            async with self._make_alone() as session:
                yield session

    @asynccontextmanager
    async def directly(self, *, owner: str | None = None) -> AsyncIterator[AsyncConnection]:
        """`alone`, for a statement that asks for values and no objects: past the session, which costs as much again.

        Raises DatabaseUnavailable, as `begin`.
        """
        with _translated(), self._seeing(owner):
            async with self._alone.connect() as connection:
                yield connection

    @contextmanager
    def _seeing(self, owner: str | None) -> Iterator[None]:
        token = _owner.set(self._sees if owner is None else owner)
        try:
            yield
        finally:
            _owner.reset(token)

    async def close(self) -> None:
        await self.engine.dispose()


def _limit_transactions(connection: Any, _record: object) -> None:
    if connection.driver_connection.get_server_version().major >= 17:
        connection.run_async(lambda raw: raw.execute(f"SET transaction_timeout = '{TRANSACTION_SECONDS}s'"))


def _refuse_closed(connection: Any, _record: object, _proxy: object) -> None:
    """Have the pool open another connection in place of one on which a restarted server has hung up.

    asyncpg knows of that by itself; asking the server (`pool_pre_ping`) would cost every transaction another way there.
    """
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _say_whose(connection: Any, record: Any, _proxy: object) -> None:
    """Tell PostgreSQL whose rows are to be seen, where this connection was last told otherwise.

    For the connection and not for the transaction: a platform with one owner then says it once.
    """
    owner = _owner.get()
    if record.info.get(SEES) == owner:
        return
    _ask(connection, record, f"SELECT set_config('{SEES}', $1, false)", owner)
    record.info[SEES] = owner


def _refuse_unguarded(connection: Any, record: Any, _proxy: object) -> None:
    """Asked once of each connection. A superuser sees all rows, whoever they are for, and so does BYPASSRLS."""
    if BOUND in record.info:
        return
    if _ask(connection, record, "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"):
        raise RowsUnguarded
    record.info[BOUND] = True


def _ask(connection: Any, record: Any, statement: str, *given: str) -> Any:
    """Raises DatabaseUnavailable, DisconnectionError."""
    try:
        return connection.run_async(lambda raw: raw.fetchval(statement, *given))
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        if SEES in record.info:  # it was used before, and its server may be back: the pool opens another one
            raise DisconnectionError from error
        raise DatabaseUnavailable from error


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
