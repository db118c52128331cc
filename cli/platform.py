"""`escriba up` and `escriba demo`: the whole platform on this machine."""

import asyncio
import tempfile
from collections.abc import Mapping
from pathlib import Path
from time import monotonic

from alembic import command
from alembic.config import Config
from rich.console import Console

from cli import embedded
from cli.client import Client
from cli.supervisor import Supervisor
from cli.transcribing import Bars, show_transcript, transcribe
from config.settings import DatabaseSettings, Settings
from db.session import NOBODY, Sessions
from services import administration

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "samples" / "consultation.flac"


def migrate_now(database: DatabaseSettings) -> None:
    """Bring the schema to the newest version, as its owner."""
    config = Config(ROOT / "alembic.ini")
    config.attributes["url"] = (database.migration_url or database.url).get_secret_value()
    command.upgrade(config, "head")


async def migrate(settings: Settings) -> None:
    await asyncio.to_thread(migrate_now, settings.database)


async def up(console: Console, home: Path) -> None:
    """Serve until asked to stop."""
    began = monotonic()
    with embedded.prepare(home) as platform:
        async with Supervisor(platform.home / "logs") as supervisor:
            with console.status("starting PostgreSQL, Redis, engines, workers and the API"):
                await platform.start(supervisor, migrate)
            console.print(
                f"Escriba is up at [bold]{platform.address}[/] ({monotonic() - began:.1f} s).  Ctrl-C stops it."
            )
            console.print(f"  try    escriba transcribe --url {platform.address} RECORDING")
            console.print(f"  API    {platform.address}/docs")
            console.print(f"  data   {platform.home}")
            if await _lacks_admin(platform.settings):
                console.print("  nobody can log in yet: [bold]escriba users add --admin EMAIL[/], in another terminal")
            await supervisor.until_asked()
        console.print("stopped; everything is kept in", str(platform.home))


async def _lacks_admin(settings: Settings) -> bool:
    if settings.api.auth == "off":
        return False
    sessions = Sessions.connect(settings.database, application="up", sees=NOBODY)
    try:
        return not await administration.has_admin(sessions)
    finally:
        await sessions.close()


async def demo(console: Console, environ: Mapping[str, str]) -> bool:
    """Start everything in a temporary home, transcribe the sample through the public API, print it, and stop."""
    home = Path(tempfile.mkdtemp(prefix="escriba-demo-"))
    try:
        with embedded.prepare(home, {**environ, "API_PORT": "0"}) as platform:
            async with Supervisor(platform.home / "logs") as supervisor:
                with console.status("starting PostgreSQL, Redis, engines, workers and the API"):
                    await platform.start(supervisor, migrate)
                console.print(f"Escriba is up at [bold]{platform.address}[/]; sending the sample consultation.")
                return await asyncio.to_thread(_transcribe_sample, console, platform.address)
    finally:
        embedded.erase(home)
    return False  # asked to stop before the end


def _transcribe_sample(console: Console, address: str) -> bool:
    with Client(address, patience_seconds=1) as client:  # it is our own child: gone means that we were asked to stop
        with Bars(console) as bars:
            job_id = transcribe(client, SAMPLE, {"language": "en"}, bars)
        if job_id is None:
            return False
        result = client.result(job_id)
        console.print(
            f"\n[bold]Heard by {result['engine']}[/] ({result['engine_reason']}), {result['duration']:.0f} s:\n"
        )
        show_transcript(console, result)
        console.print()
    return True
