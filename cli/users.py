"""`escriba users`: accounts, by whoever runs the machine.

A password comes from a prompt, or from standard input where that is no terminal. It never stands in the command line,
which everybody on the machine can read.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.table import Table

from cli import home
from cli.embedded import running_database
from config.account_settings import AccountSettings
from config.load import load_section, read_values
from config.settings import DatabaseSettings
from db.account_tables import User
from db.session import NOBODY, Sessions
from domain.credentials import Email, NewPassword
from services import accounts, administration

Found = TypeVar("Found")

MOST_JOBS, MOST_HOURS = 2**31 - 1, 1_000_000

out = Console(highlight=False)


@click.group()
def users() -> None:
    """See to accounts (AUTH=required), on the machine that the platform runs on.

    \b
    Works on the database that DATABASE_URL names, else on that of the `escriba up` that runs in ESCRIBA_HOME:
        escriba users add --admin ana@example.org     the first account
        escriba users invite                          a token with which one person makes their own
    """


def read_email(_: click.Context, __: click.Parameter, said: str) -> str:
    return _checked(Email, said)


email_argument = click.argument("email", callback=read_email)


@users.command()
@email_argument
@click.option("--admin", is_flag=True, help="Let them see to users, quotas and invitations.")
def add(email: str, admin: bool) -> None:
    """Make an account for EMAIL, whatever REGISTRATION says."""
    password = read_password()
    _in_database(lambda sessions: administration.add_user(sessions, email, password, is_admin=admin))
    out.print(f"{email} can log in{', and is an administrator' if admin else ''}", markup=False)


@users.command()
@click.option("--admin", is_flag=True, help="Whoever takes it becomes an administrator.")
def invite(admin: bool) -> None:
    """Print a token with which one person makes an account, by POST /users."""
    settings = load_section(AccountSettings)
    made = _in_database(lambda sessions: accounts.invite(sessions, settings, None, is_admin=admin))
    click.echo(made.token)


@users.command("list")
def list_users() -> None:
    """Show everybody who has an account."""
    table = Table("email", "role", "jobs a month", "hours of audio a month", "since")
    for user in _in_database(_everybody):
        role = ("administrator" if user.is_admin else "user") + (", disabled" if user.disabled_at else "")
        seconds = user.monthly_audio_seconds
        hours = "-" if seconds is None else f"{seconds / 3600:g}"
        table.add_row(user.email, role, str(user.monthly_jobs or "-"), hours, f"{user.created_at:%Y-%m-%d}")
    out.print(table)


@users.command()
@email_argument
def disable(email: str) -> None:
    """Have EMAIL out within seconds: tokens, keys and open streams end."""
    _change(email, {"disabled": True})


@users.command()
@email_argument
def enable(email: str) -> None:
    """Let EMAIL in again."""
    _change(email, {"disabled": False})


@users.command("set")
@email_argument
@click.option("--admin/--no-admin", default=None, help="Whether they see to users, quotas and invitations.")
@click.option("--jobs", type=click.IntRange(1, MOST_JOBS), help="Jobs that they may have done in a month.")
@click.option("--audio-hours", type=click.FloatRange(0, MOST_HOURS, min_open=True), help="Hours of audio, likewise.")
@click.option("--default-quotas", is_flag=True, help="Leave both to QUOTA_JOBS and QUOTA_AUDIO_HOURS again.")
def set_user(email: str, admin: bool | None, jobs: int | None, audio_hours: float | None, default_quotas: bool) -> None:
    """Give EMAIL another role, or quotas of their own."""
    changes: dict[str, Any] = {"monthly_jobs": None, "monthly_audio_seconds": None} if default_quotas else {}
    said = {"is_admin": admin, "monthly_jobs": jobs, "monthly_audio_seconds": audio_hours and 3600 * audio_hours}
    changes |= {name: value for name, value in said.items() if value is not None}
    if not changes:
        raise click.UsageError("say what is to change: --admin, --no-admin, --jobs, --audio-hours or --default-quotas")
    _change(email, changes)


@users.command("password")
@email_argument
def reset_password(email: str) -> None:
    """Give EMAIL a new password; every log-in of theirs ends."""
    password = read_password()
    _in_database(lambda sessions: administration.reset_password(sessions, email, password))
    out.print(f"{email} has a new password", markup=False)


def read_password() -> str:
    if sys.stdin.isatty():
        said = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        said = sys.stdin.readline().removesuffix("\n")
    return _checked(NewPassword, said, "the password: ")


def _checked(kind: Any, said: str, what: str = "") -> str:
    """Raises BadParameter, without what was said."""
    try:
        return str(TypeAdapter(kind).validate_python(said))
    except ValidationError as error:
        message = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise click.BadParameter(what + message.removeprefix("Value error, ")) from None


async def _everybody(sessions: Sessions) -> list[User]:
    found: list[User] = []
    while page := await accounts.users(sessions, limit=accounts.LARGEST_PAGE, after=found[-1].email if found else None):
        found.extend(page)
    return found


def _change(email: str, changes: dict[str, Any]) -> None:
    async def change(sessions: Sessions) -> User:
        user = await administration.user_named(sessions, email)
        return await accounts.change_user(sessions, user.id, changes)

    user = _in_database(change)
    role = "an administrator" if user.is_admin else "a user"
    out.print(f"{email} is {role}{', disabled' if user.disabled_at else ''}", markup=False)


def _in_database(work: Callable[[Sessions], Awaitable[Found]]) -> Found:
    async def do() -> Found:
        sessions = Sessions.connect(_database(), application="users", sees=NOBODY)
        try:
            return await work(sessions)
        finally:
            await sessions.close()

    return asyncio.run(do())


def _database() -> DatabaseSettings:
    return load_section(DatabaseSettings) if "DATABASE_URL" in read_values() else running_database(home.chosen())
