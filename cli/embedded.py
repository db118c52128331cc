"""The embedded platform: which children `escriba up` runs, and the settings that tell them of one another.

PostgreSQL and Redis come from wheels, objects lie in a folder, everything below one home. What the operator has set
(DATABASE_URL, REDIS_URL, ENGINE_SERVER_URL, WHISPERX_SERVICE_URL, an S3 endpoint) is used instead, and its child is
left out.
"""

import asyncio
import errno
import os
import random
import shutil
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import SecretStr

from cli import home as home_folder
from cli import postgres, redis_server
from cli.supervisor import Child, Supervisor, until_answers
from config.load import load_settings, read_values
from config.settings import ApiSettings, DatabaseSettings, Settings
from domain.errors import BadSettings

Migrate = Callable[[Settings], Awaitable[None]]

# Below the range from which Linux takes the ports of outgoing connections (32768 on), so that none of those can sit
# on a child's port while the child is started again. https://docs.kernel.org/networking/ip-sysctl.html
_PORTS = range(20_000, 32_768)
_BACKLOG = 2048  # connections that wait while the API is started again

WHISPERX_PYTHON = Path(__file__).parent.parent / ".venv-whisperx" / "bin" / "python"
"""Where `make whisperx` installs the engine server that hosts WhisperX."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """A platform that is ready to be started; made by `prepare`."""

    home: Path
    settings: Settings
    """As the API has them; for whatever runs in this process too, migrations included."""
    address: str
    """Where the API listens, as a URL that works on this machine."""
    servers: tuple[Child, ...]
    """PostgreSQL and Redis, as far as they are ours."""
    engine_servers: tuple[Child, ...]
    processes: tuple[Child, ...]
    """Workers and doors: they need the servers, and a migrated database."""

    async def start(self, supervisor: Supervisor, migrate: Migrate) -> None:
        """Start everything, each as soon as what it needs is there; returns when all of it is ready.

        `migrate` runs once the database answers, with `settings.database.migration_url` for it.

        Raises:
            BadSettings: a child does not come up.
        """
        try:
            async with asyncio.TaskGroup() as together:
                together.create_task(self._start_servers(supervisor, migrate))
                together.create_task(supervisor.start(*self.engine_servers))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        await supervisor.start(*self.processes)

    async def _start_servers(self, supervisor: Supervisor, migrate: Migrate) -> None:
        await supervisor.start(*self.servers)
        await migrate(self.settings)


@contextmanager
def prepare(
    home: Path,
    environ: Mapping[str, str] | None = None,
    *,
    env_file: Path | None = None,
    outside: Path = postgres.OUTSIDE,
    whisperx_python: Path = WHISPERX_PYTHON,
) -> Iterator[Embedded]:
    """Make everything in `home` ready to start, and hold the home and the API's port until the end.

    Args:
        environ, env_file: what the operator has set, as `config.load` reads it; our own processes get all of it.
        outside: where PostgreSQL's data go if it has to run as a user who cannot enter `home`.
        whisperx_python: runs the engine server of WhisperX, where it is there.

    Raises:
        BadSettings: says in a sentence what is in the way: the home is in use or cannot be written to, the disk is
            full, the port is taken, a server is not installed, a setting is wrong.
    """
    with home_folder.opened(home) as home:
        said, secrets = read_values(environ, env_file=env_file), home_folder.read_secrets(home)
        plan = _Plan(home, said, secrets, _free_ports(), whisperx_python)
        settings = load_settings(environ, env_file=env_file, overrides=plan.additions())
        with _listen(settings.api) as listener:
            with home_folder.explained(home):
                _empty(home / "work")  # recordings that were being worked on when everything was killed
                _empty(home / "metrics")  # another version may count otherwise
                servers = plan.servers(settings, outside)
            processes = plan.processes(settings, listener, os.environ if environ is None else environ)
            yield Embedded(home, settings, _address(listener), servers, *processes)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is ours to bring, and what the operator brings."""

    home: Path
    said: Mapping[str, str]
    """What the operator has set, by canonical name."""
    secrets: Mapping[str, str]
    ports: Mapping[str, int]
    whisperx_python: Path

    def additions(self) -> dict[str, str]:
        """The settings that the operator has left to us."""
        if self._ours("DATABASE_URL") and not self._ours("DATABASE_MIGRATION_URL"):
            raise BadSettings("DATABASE_MIGRATION_URL is set, but DATABASE_URL is not: set both, or neither")
        added = {
            "MODELS_DIR": str(self.home / "models"),
            "TMP_DIR": str(self.home / "work"),
            "METRICS_DIR": str(self.home / "metrics"),
            "LINK_SECRET": self.secrets["links"],
            "JWT_SECRET_KEY": self.secrets["tokens"],
        }
        if self._ours("DATABASE_URL"):
            added |= {"DATABASE_URL": self._database(postgres.APP)}
            added |= {"DATABASE_MIGRATION_URL": self._database(postgres.OWNER)}
        if self._ours("REDIS_URL"):
            added["REDIS_URL"] = f"redis://:{self.secrets['redis']}@127.0.0.1:{self.ports['redis']}/0"
        if self._ours("ENGINE_SERVER_URL"):
            added["ENGINE_SERVER_URL"] = f"http://127.0.0.1:{self.ports['engine_server']}"
            added["ENGINE_SERVER_TOKEN"] = self.secrets["engine_server"]
        if self._brings_whisperx():
            added["WHISPERX_SERVICE_URL"] = f"http://127.0.0.1:{self.ports['whisperx']}"
        if self._ours("MINIO_ENDPOINT"):
            added["STORAGE_DIR"] = str(self.home / "objects")
        if self._ours("RIVA_URI"):
            added["DEFAULT_TRANSCRIPTION_ENGINE"] = "auto"
        left = {name: value for name, value in added.items() if self._ours(name)}
        return left | {"ESCRIBA_HOME": str(self.home)}

    def servers(self, settings: Settings, outside: Path) -> tuple[Child, ...]:
        """PostgreSQL and Redis, made ready to start."""
        children = []
        if self._ours("DATABASE_URL"):
            children.append(self._postgres(settings, outside))
        if self._ours("REDIS_URL"):
            password = self.secrets["redis"]
            children.append(redis_server.child(self.home / "redis", port=self.ports["redis"], password=password))
        return tuple(children)

    def processes(
        self, settings: Settings, listener: socket.socket, environ: Mapping[str, str]
    ) -> tuple[tuple[Child, ...], tuple[Child, ...]]:
        """The engine servers; workers and doors. None of them gets to know the owner of the schema."""
        env = {**environ, **self.said, **self.additions(), "API_PORT": str(listener.getsockname()[1])}
        env.pop("DATABASE_MIGRATION_URL", None)
        worker_env = env | ({"DATABASE_URL": self._database(postgres.WORKER)} if self._ours("DATABASE_URL") else {})
        engine_servers = tuple(self._engine_servers(worker_env))
        workers = (
            Child(name, _python("workers"), worker_env, announces=True, stop_seconds=settings.workers.grace_seconds + 5)
            for name in _numbered("worker", settings.workers.count)
        )
        apis = (
            Child(
                name,
                _python("api", "--fd", str(listener.fileno())),
                env,
                pass_fds=(listener.fileno(),),
                announces=True,
                stop_seconds=settings.api.shutdown_grace_seconds + 5,
            )
            for name in _numbered("api", settings.api.workers)
        )
        return engine_servers, (*workers, *apis, *self._rabbitmq(settings, env))

    def _rabbitmq(self, settings: Settings, env: Mapping[str, str]) -> Iterator[Child]:
        """Its door, where the operator has a broker."""
        if not self._ours("RABBITMQ_URL"):
            patience = settings.rabbitmq.connect_attempts * settings.rabbitmq.connect_wait_seconds + 30
            yield Child(
                "rabbitmq",
                _python("rabbitmq"),
                env,
                announces=True,
                ready_seconds=patience,
                stop_seconds=settings.workers.grace_seconds + 5,
            )

    def _postgres(self, settings: Settings, outside: Path) -> Child:
        place = self.home / "postgres"
        server = postgres.Postgres.find(place, outside=outside)
        data = server.make_cluster(place)
        postgres.end_predecessors(data)
        server.set_up(data, {role: self.secrets[role] for role in postgres.ROLES})
        doors = settings.api.workers + (0 if self._ours("RABBITMQ_URL") else 1)
        pools = settings.worker_connections * settings.workers.count + settings.database.pool_size * doors
        return server.child(data, self.ports["postgres"], {"max_connections": str(max(100, pools + 20))})

    def _engine_servers(self, env: Mapping[str, str]) -> Iterator[Child]:
        if self._ours("ENGINE_SERVER_URL"):
            yield _engine_server("engine-server", sys.executable, self.ports["engine_server"], env)
        if self._brings_whisperx():
            yield _engine_server("whisperx-server", str(self.whisperx_python), self.ports["whisperx"], env)

    def _brings_whisperx(self) -> bool:
        return self._ours("WHISPERX_SERVICE_URL") and self.whisperx_python.exists()

    def _ours(self, name: str) -> bool:
        return name not in self.said

    def _database(self, role: str) -> str:
        return postgres.url(role, self.secrets[role], self.ports["postgres"])


def _engine_server(name: str, python: str, port: int, env: Mapping[str, str]) -> Child:
    question = b"GET /health HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n"
    ready = partial(until_answers, port, question, b"HTTP/1.1 200")
    argv = _python("engines.server", "--host", "127.0.0.1", "--port", str(port), executable=python)
    return Child(name, argv, env, ready=ready)


def _python(module: str, *arguments: str, executable: str = sys.executable) -> list[str]:
    # -P: a folder of the same name in the working directory is not ours.
    return [executable, "-P", "-m", module, *arguments]


def _empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir(mode=0o700)


def _numbered(name: str, count: int) -> list[str]:
    return [name] if count == 1 else [f"{name}-{number}" for number in range(1, count + 1)]


def _free_ports() -> dict[str, int]:
    ports: dict[str, int] = {}
    names = ["postgres", "redis", "engine_server", "whisperx"]
    for port in random.sample(_PORTS, len(_PORTS)):
        if len(ports) == len(names):
            return ports
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            ports[names[len(ports)]] = port
    raise BadSettings(f"there are no four free ports from {_PORTS.start} to {_PORTS.stop} on 127.0.0.1")


def _listen(api: ApiSettings) -> socket.socket:
    """Bind the API's port here, so that connections wait in line, not refused, while the API is started again."""
    try:
        family = socket.getaddrinfo(api.host, api.port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((api.host, api.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise BadSettings(
                f"port {api.port} of {api.host} is taken by another program: stop that one, or set API_PORT to another"
                " port (0 takes a free one)"
            ) from error
        if error.errno == errno.EACCES:
            raise BadSettings(f"port {api.port} needs more rights than ours: set API_PORT to 1024 or more") from error
        raise BadSettings(f"API_HOST {api.host} is not an address of this machine") from error


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def running_database(home: Path) -> DatabaseSettings:
    """That of the platform that runs in `home` now, as its API has it.

    Raises:
        BadSettings: none does.
    """
    port = postgres.port_of(home / "postgres")
    if port is None:
        raise BadSettings(f"no platform runs in {home}: start it with `escriba up`, or set DATABASE_URL")
    password = home_folder.read_secrets(home)[postgres.APP]
    return DatabaseSettings(url=SecretStr(postgres.url(postgres.APP, password, port)))


def erase(home: Path) -> None:
    """Remove the home, with a database that had to lie elsewhere. Not while a platform runs there.

    Raises:
        BadSettings: one does.
    """
    with home_folder.opened(home) as home:
        database = home / "postgres"
        if database.is_symlink():
            shutil.rmtree(database.readlink(), ignore_errors=True)
        shutil.rmtree(home)
