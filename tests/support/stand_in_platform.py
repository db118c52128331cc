"""The embedded platform in a process of its own, with tiny stand-ins for API, workers and engine server.

Run as a program, it is that process: `python -m tests.support.stand_in_platform HOME OUTSIDE`. It prints one JSON line
once all is up, or the error that kept it from that.
"""

import asyncio
import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cli.embedded import prepare
from cli.supervisor import Supervisor
from config.settings import Settings
from domain.errors import BadSettings
from tests.support.servers import Watch, descendants, signal_all

ROOT = Path(__file__).parents[2]

_WORKER = """
import os, signal, sys
os.write(int(sys.argv[sys.argv.index("--ready-fd") + 1]), b"ready\\n")
signal.pause()
"""

_ANSWER = """
import os, socket, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        said = str(os.getpid()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)
        self.close_connection = True
"""

_API = (
    _ANSWER
    + """
server = HTTPServer(("127.0.0.1", 0), Answer, bind_and_activate=False)
server.socket.close()
server.socket = socket.socket(fileno=int(sys.argv[sys.argv.index("--fd") + 1]))
os.write(int(sys.argv[sys.argv.index("--ready-fd") + 1]), b"ready\\n")
server.serve_forever()
"""
)

_ENGINE_SERVER = (
    _ANSWER
    + """
HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Answer).serve_forever()
"""
)


def write_stand_ins(folder: Path) -> Path:
    """Packages of the names that the platform starts, to be put first on PYTHONPATH; answers `folder`."""
    for package, source in {"api": _API, "workers": _WORKER, "engines": "", "engines/server": _ENGINE_SERVER}.items():
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").touch()
        (folder / package / "__main__.py").write_text(source)
    return folder


class StandInPlatform:
    """`with StandInPlatform(home, stand_ins) as platform:` waits until it is up; leaving stops it with SIGTERM."""

    def __init__(self, home: Path, *first_on_path: Path, outside: Path, namespaces: bool = True) -> None:
        self.home = home
        self._outside = outside
        path = ":".join(map(str, [*first_on_path, ROOT]))
        self._env = {"PATH": os.environ["PATH"], "PYTHONPATH": path, "API_PORT": "0"}
        if not namespaces:
            self._env["FORBID_NAMESPACES"] = "1"
        self._process: subprocess.Popen[bytes] | None = None
        self.facts: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def family(self) -> list[int]:
        return [self.pid, *descendants(self.pid)]

    @property
    def address(self) -> str:
        return str(self.facts["address"])

    def url(self, setting: str) -> str:
        """DATABASE_URL, DATABASE_MIGRATION_URL or REDIS_URL, as the parent has them."""
        return str(self.facts[setting])

    def start(self) -> None:
        """Raises BadSettings with what the process said where it does not come up."""
        command = [sys.executable, "-m", "tests.support.stand_in_platform", str(self.home), str(self._outside)]
        self._process = subprocess.Popen(command, env=self._env, stdout=subprocess.PIPE, cwd=ROOT)
        assert self._process.stdout is not None
        self.facts = json.loads(self._process.stdout.readline() or '{"error": "it died in silence"}')
        if "error" in self.facts:
            self._reap()
            raise BadSettings(self.facts["error"])

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        self._reap()

    def kill(self, *, all_processes: bool) -> None:
        """SIGKILL to the supervisor or to everything at once; returns when everything is gone."""
        family = self.family
        with Watch(family) as watch:
            signal_all(family if all_processes else family[:1], signal.SIGKILL)
            self._reap()
            watch.wait()

    def child(self, word: str) -> int:
        """The process id of the child with `word` in its command line."""
        for process in (
            int(number) for number in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        ):
            if word.encode() in Path(f"/proc/{process}/cmdline").read_bytes():
                return process
        raise AssertionError(f"no child has {word!r} in its command line")

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait(timeout=60)
            if self._process.stdout is not None:
                self._process.stdout.close()


async def _nothing_to_migrate(settings: Settings) -> None:
    assert settings.database.migration_url is not None


async def _serve(home: Path, outside: Path, environ: Mapping[str, str]) -> None:
    with prepare(home, environ, outside=outside, whisperx_python=home / "not-installed") as platform:
        async with Supervisor(platform.home / "logs") as supervisor:
            await platform.start(supervisor, _nothing_to_migrate)
            database, redis = platform.settings.database, platform.settings.redis
            assert database.migration_url is not None
            facts = {
                "address": platform.address,
                "DATABASE_URL": database.url.get_secret_value(),
                "DATABASE_MIGRATION_URL": database.migration_url.get_secret_value(),
                "REDIS_URL": redis.url.get_secret_value(),
            }
            sys.stdout.write(f"{json.dumps(facts)}\n")
            sys.stdout.flush()
            await supervisor.until_asked()


def _forbid_namespaces() -> None:
    """Go on as root of a user namespace in which nobody may make a further one, as in many containers."""
    me, (theirs, ours) = os.getpid(), os.pipe()
    if os.fork() == 0:  # from outside, where it is root: only root may map other users
        os.close(ours)
        if os.read(theirs, 1):
            for kind in ("uid", "gid"):
                Path(f"/proc/{me}/{kind}_map").write_text("0 0 65536")
        os._exit(0)
    allowed = ctypes.CDLL(None).unshare(0x10000000) == 0  # CLONE_NEWUSER, linux/sched.h
    if allowed:
        os.write(ours, b"x")
    os.close(ours)
    os.wait()
    if allowed:
        Path("/proc/sys/user/max_user_namespaces").write_text("0")


def _main() -> None:
    if os.environ.get("FORBID_NAMESPACES"):
        _forbid_namespaces()
    home, outside = map(Path, sys.argv[1:])
    try:
        asyncio.run(_serve(home, outside, os.environ))
    except BadSettings as error:
        sys.stdout.write(json.dumps({"error": str(error)}))
        sys.exit(2)


if __name__ == "__main__":
    _main()
