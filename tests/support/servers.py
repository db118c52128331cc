"""A throw-away PostgreSQL and Redis for the tests: the wheels' own servers, fast instead of durable.

They end with the test process, however it ends. Start them from the main thread: the kernel watches that thread.
"""

import os
import select
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self
from uuid import uuid4

import asyncpg

from cli import redis_server
from cli.postgres import APP, DATABASE, OWNER, SUPERUSER, WORKER, Postgres
from config.parenthood import die_with_parent


class Server:
    """One server process on a free port of loopback; kill, stop_signal, cont and restart are for tests of faults."""

    name: str
    stop: signal.Signals
    """Asks the server to end in good order, and soon."""
    announcement: bytes
    """What the server writes once it can be used."""

    def __init__(self) -> None:
        self.port = free_port()
        self._home = tempfile.TemporaryDirectory(prefix=f"escriba-test-{self.name}-", ignore_cleanup_errors=True)
        self.folder = Path(self._home.name)
        self._process: subprocess.Popen[bytes] | None = None
        self._drain: threading.Thread | None = None

    def __enter__(self) -> Self:
        try:
            command, options = self._prepare()
            self._command, self._options = command, options
            self._start()
        except BaseException:
            self._home.cleanup()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        self._home.cleanup()

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} has not been started"
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL to all processes of the server; returns when they are gone."""
        family = [self.pid, *descendants(self.pid)]
        with Watch(family) as watch:
            signal_all(family, signal.SIGKILL)
            self._reap()
            watch.wait()

    def stop_signal(self) -> None:
        """SIGSTOP to all processes of the server: connections stay open, and nothing answers."""
        signal_all([self.pid, *descendants(self.pid)], signal.SIGSTOP)

    def cont(self) -> None:
        """SIGCONT: undoes `stop_signal`."""
        signal_all([self.pid, *descendants(self.pid)], signal.SIGCONT)

    def restart(self) -> None:
        """Start again on the same port and data: after `kill`, or by an orderly stop where it still runs."""
        self._end()
        self._start()

    def _prepare(self) -> tuple[list[str], dict[str, Any]]:
        """Make what the server needs in `folder`; its command, and further arguments for subprocess.Popen."""
        raise NotImplementedError

    def _start(self) -> None:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent(signal.SIGKILL),
            **self._options,
        )
        output = self._process.stdout
        assert output is not None
        said = []
        for line in output:
            said.append(line)
            if self.announcement in line:
                break
        else:
            self._reap()
            raise AssertionError(f"{self.name} did not start:\n{b''.join(said).decode()}")
        # Goes on reading, as a server whose output nobody takes stops in the middle of a line.
        self._drain = threading.Thread(target=_read_to_end, args=(output,), daemon=True)
        self._drain.start()

    def _end(self) -> None:
        if self._process is None or self._process.poll() is not None:
            self._reap()
            return
        self.cont()
        self._process.send_signal(self.stop)
        self._reap()

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait(timeout=30)
        if self._drain is not None:
            self._drain.join()


class PostgresServer(Server):
    """PostgreSQL 18 with the platform's roles, which need no password here, and its database, without tables.

    The rights in it are as `escriba up` gives them, so that row-level security can be tested with `app_url`.
    """

    name = "postgres"
    stop = signal.SIGINT
    announcement = b"database system is ready to accept connections"

    @property
    def url(self) -> str:
        """The superuser, in the database `escriba`."""
        return self.url_of(SUPERUSER)

    @property
    def owner_url(self) -> str:
        """The role that owns the schema: for migrations."""
        return self.url_of(OWNER)

    @property
    def app_url(self) -> str:
        return self.url_of(APP)

    @property
    def worker_url(self) -> str:
        return self.url_of(WORKER)

    def url_of(self, role: str, database: str = DATABASE) -> str:
        return f"postgresql://{role}@127.0.0.1:{self.port}/{database}"

    async def create_database(self, template: str = DATABASE) -> str:
        """A new database like `template`, to which nobody may be connected just now; answers its name."""
        name = f"test_{uuid4().hex}"
        connection = await asyncpg.connect(self.url_of(SUPERUSER, "postgres"))
        try:
            await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" OWNER {OWNER}')
        finally:
            await connection.close()
        return name

    async def drop_database(self, name: str) -> None:
        """Drop it, whoever is connected."""
        connection = await asyncpg.connect(self.url_of(SUPERUSER, "postgres"))
        try:
            await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        finally:
            await connection.close()

    def _prepare(self) -> tuple[list[str], dict[str, Any]]:
        self.folder.chmod(0o755)  # where PostgreSQL has to run as another user, that user must pass
        place = self.folder / "data"
        postgres = Postgres.find(place, outside=self.folder / "outside", durable=False)
        data = postgres.make_cluster(place)
        postgres.set_up(data, passwords=None)
        # Commits still reach the system, so `kill` loses none of them; only a crash of the machine would.
        settings = {"fsync": "off", "full_page_writes": "off", "max_connections": "200"}
        return postgres.command(data, self.port, settings), postgres.account.popen


class RedisServer(Server):
    """Redis 6.2 without a password. Its data outlive `kill`, as they reach the system with each command."""

    name = "redis"
    stop = signal.SIGTERM
    announcement = b"Ready to accept connections"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def _prepare(self) -> tuple[list[str], dict[str, Any]]:
        config = redis_server.write_config(self.folder, port=self.port, password=None)
        return [str(redis_server.find_program()), str(config)], {"cwd": self.folder}


class Watch:
    """Waits for processes, ours or not, to be gone: enter it while they live."""

    def __init__(self, processes: Iterable[int]) -> None:
        self._processes = list(processes)
        self._descriptors: list[int] = []

    def __enter__(self) -> Self:
        for process in self._processes:
            with suppress(ProcessLookupError):
                self._descriptors.append(os.pidfd_open(process))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for descriptor in self._descriptors:
            os.close(descriptor)

    def wait(self, seconds: float = 30) -> None:
        """Returns when all are gone; fails where one still lives after `seconds`."""
        for descriptor in self._descriptors:
            assert select.select([descriptor], [], [], seconds)[0], "a process outlived the one it belongs to"


def descendants(process: int) -> list[int]:
    """The children of `process`, their children and so on, as they are now."""
    try:
        children = [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except FileNotFoundError:
        return []
    return children + [further for child in children for further in descendants(child)]


def signal_all(processes: Iterable[int], what: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, what)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _read_to_end(output: IO[bytes]) -> None:
    with output:
        while output.read(65536):
            pass
