"""The whole embedded platform as an operator starts it: `escriba up`, its processes, and ways to hurt them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import httpx
import psutil

from cli.client import Client
from tests.support.servers import free_port

ROOT = Path(__file__).parent.parent.parent
ESCRIBA = Path(sys.executable).parent / "escriba"


def _module(argv: list[str]) -> str | None:
    """What `python -m` runs."""
    return argv[argv.index("-m") + 1] if "-m" in argv[:-1] else None


WHO: dict[str, Callable[[list[str]], bool]] = {
    "worker": lambda argv: _module(argv) == "workers",
    "api": lambda argv: _module(argv) == "api",
    "engine server": lambda argv: _module(argv) == "engines.server",
    "engine child": lambda argv: _module(argv) == "engines.server.child",
    "redis": lambda argv: "redis-server" in argv[0],
    "postgres": lambda argv: argv[0].endswith("/postgres") and "-D" in argv,
}


def _is_forked_off(process: psutil.Process, others: Container[int]) -> bool:
    try:
        return process.ppid() in others
    except psutil.NoSuchProcess:
        return False


class Whole:
    """One `escriba up`. Killing everything and starting again keeps home and port."""

    def __init__(self, home: Path, environ: dict[str, str]) -> None:
        self.home = home
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        self._environ = {**kept, "HOME": str(home), "ESCRIBA_HOME": str(home), "API_PORT": str(self.port), **environ}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        with (self.home / "up.log").open("ab") as log:
            self._process = subprocess.Popen([ESCRIBA, "up"], env=self._environ, cwd=self.home, stdout=log, stderr=log)
        while not self.answers():
            assert self._process.poll() is None, (self.home / "up.log").read_text()
            time.sleep(0.02)
        return self

    def answers(self) -> bool:
        """Is the API up, and would a worker take a job?"""
        try:
            health = httpx.get(f"{self.url}/health", timeout=5)
        except httpx.TransportError:
            return False
        return health.status_code == 200 and bool(health.json()["workers"])

    @property
    def family(self) -> list[psutil.Process]:
        assert self._process is not None
        return [psutil.Process(self._process.pid), *psutil.Process(self._process.pid).children(recursive=True)]

    def processes(self, who: str) -> list[psutil.Process]:
        """The processes of one kind, by what they were started as; not those that they have forked of themselves."""
        found: dict[int, psutil.Process] = {}
        for process in self.family:  # parents first
            try:
                if WHO[who](process.cmdline()):
                    found[process.pid] = process
            except (psutil.NoSuchProcess, IndexError):
                continue
        return [process for process in found.values() if not _is_forked_off(process, found)]

    def kill(self, who: str, *, pid: int | None = None) -> None:
        """SIGKILL the processes of one kind, or one of them; returns when they are gone."""
        victims = [process for process in self.processes(who) if pid in (None, process.pid)]
        assert victims, f"there is no {who}"
        for victim in victims:
            victim.kill()
        psutil.wait_procs(victims, timeout=30)

    def kill_everything(self) -> None:
        family = self.family
        for process in family:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        assert self._process is not None
        self._process.wait()
        _, left = psutil.wait_procs(family[1:], timeout=30)
        assert not left

    @contextmanager
    def stopped(self, who: str) -> Iterator[None]:
        """SIGSTOP the processes of one kind for a while."""
        processes = self.processes(who)
        assert processes
        family = [*processes, *(child for process in processes for child in process.children(recursive=True))]
        for process in family:
            process.suspend()
        try:
            yield
        finally:
            for process in family:
                process.resume()

    def stop(self) -> int:
        """Ask it to stop, as Ctrl-C does; its exit status."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        return self._process.wait(timeout=60)

    def submit(self, recording: Path, **fields: str) -> str:
        with Client(self.url) as client:
            return str(client.submit(recording, fields, on_read=lambda _: None)["job_id"])

    def status(self, job_id: str) -> dict[str, object]:
        answer: dict[str, object] = httpx.get(f"{self.url}/api/transcribe/jobs/status/{job_id}", timeout=60).json()
        return answer

    def result(self, job_id: str) -> dict[str, object]:
        with Client(self.url) as client:
            return client.result(job_id)


@contextmanager
def whole_platform(home: Path, **environ: str) -> Iterator[Whole]:
    home.mkdir(parents=True, exist_ok=True)
    platform = Whole(home, environ).start()
    try:
        yield platform
    finally:
        platform.stop()
