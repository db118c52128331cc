"""The role that the platform logs in as, made by whoever migrates.

Row-level security binds no superuser, nor a role that may bypass it: a platform that logs in as one would see every
owner's rows, whatever it was told (docs/decisions/0008).
"""

import asyncpg
from sqlalchemy.engine import make_url

from config.settings import DatabaseSettings
from domain.errors import BadSettings

MAKE = "CREATE ROLE %I LOGIN PASSWORD %L NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"

RIGHTS = (
    "GRANT USAGE ON SCHEMA public TO %I",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO %I",
    "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO %I",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO %I",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO %I",
)
"""To rows, and not to the schema. Given once, when the role is made, so that what a migration takes away stays away."""


async def make_app_role(database: DatabaseSettings) -> str | None:
    """Make the role that DATABASE_URL names, where DATABASE_MIGRATION_URL is another's and there is none: its name.

    None where there was nothing to make.

    Raises:
        BadSettings: the role of DATABASE_MIGRATION_URL may not make roles, or DATABASE_URL has no password for it.
    """
    if database.migration_url is None:
        return None
    app, owner = (make_url(url.get_secret_value()) for url in (database.url, database.migration_url))
    if app.username is None or app.username == owner.username:
        return None
    connection = await asyncpg.connect(owner.set(drivername="postgresql").render_as_string(hide_password=False))
    try:
        if await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", app.username):
            return None
        if app.password is None:
            raise BadSettings(f"there is no role {app.username}, and DATABASE_URL has no password to make it with")
        async with connection.transaction():
            for statement in (MAKE, *RIGHTS):
                spelt = "SELECT format($1, VARIADIC $2::text[])"  # a name or password that is SQL stays what it is
                names = [app.username, app.password] if statement == MAKE else [app.username]
                await connection.execute(await connection.fetchval(spelt, statement, names))
    except asyncpg.InsufficientPrivilegeError as error:
        raise BadSettings(
            f"there is no role {app.username}, and {owner.username} may not make it: make it yourself, as LOGIN"
            " NOSUPERUSER NOBYPASSRLS, or give DATABASE_MIGRATION_URL a role with CREATEROLE"
        ) from error
    finally:
        await connection.close()
    return app.username
