"""The platform's real processes in a temporary home, as `escriba up` starts them, for as long as a bench lasts."""

import os
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import psutil

from cli.embedded import Embedded, prepare
from cli.platform import migrate
from cli.supervisor import Supervisor
from db.session import EVERYBODY, SEES

KEPT = ("PATH", "LANG", "HOME", "TMPDIR")
"""Of our own environment: a bench measures the defaults, not the settings of whoever runs it."""


@dataclass(frozen=True, slots=True)
class Running:
    embedded: Embedded
    supervisor: Supervisor

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.embedded.address)
        assert parts.hostname is not None and parts.port is not None
        return parts.hostname, parts.port

    async def connect(self) -> asyncpg.Connection:
        """To PostgreSQL, as the owner of the schema, and seeing everybody's rows."""
        database = self.embedded.settings.database
        url = database.migration_url or database.url
        return await asyncpg.connect(url.get_secret_value(), server_settings={SEES: EVERYBODY})

    def process(self, module: str) -> psutil.Process:
        """The one process that was started by `python -m MODULE`."""
        (found,) = self.processes(module)
        return found

    def processes(self, module: str) -> list[psutil.Process]:
        """All that were started by `python -m MODULE`; not those that they have forked of themselves."""
        found = [each for each in psutil.Process().children(recursive=True) if _runs(each, module)]
        pids = {each.pid for each in found}
        return [each for each in found if each.ppid() not in pids]


def _runs(process: psutil.Process, module: str) -> bool:
    try:
        argv = process.cmdline()
    except psutil.NoSuchProcess:  # one that has just ended
        return False
    return "-m" in argv and argv[argv.index("-m") + 1] == module


@asynccontextmanager
async def running(environ: Mapping[str, str] | None = None, *, workers: bool = True) -> AsyncIterator[Running]:
    """Everything, or (without `workers`) PostgreSQL, Redis and the API alone: then jobs stay in the queue."""
    said = {name: os.environ[name] for name in KEPT if name in os.environ} | {"API_PORT": "0"} | dict(environ or {})
    with (
        tempfile.TemporaryDirectory(prefix="escriba-bench-") as folder,
        prepare(Path(folder) / "home", said) as embedded,
    ):
        async with Supervisor(embedded.home / "logs") as supervisor:
            if workers:
                await embedded.start(supervisor, migrate)
            else:
                await supervisor.start(*embedded.servers)
                await migrate(embedded.settings)
                await supervisor.start(*(child for child in embedded.processes if child.name.startswith("api")))
            yield Running(embedded, supervisor)
