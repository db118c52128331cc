"""A throw-away RabbitMQ for the tests: Debian's, as a node of its own with everything of its own."""

import os
import shutil
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

from config.parenthood import die_with_parent
from tests.support.servers import Server, free_port

LIBRARY = Path("/usr/lib/rabbitmq/lib")

CONFIG = """
listeners.tcp.1 = 127.0.0.1:{port}
disk_free_limit.absolute = 1MB
vm_memory_high_watermark.absolute = 1GB
log.console = true
log.console.level = error
log.file = false
"""


def find_program() -> Path | None:
    """The server itself, past Debian's wrapper, which insists on a user of its own."""
    return next(iter(sorted(LIBRARY.glob("rabbitmq_server-*/sbin/rabbitmq-server"), reverse=True)), None)


def is_installed() -> bool:
    return find_program() is not None


class RabbitMQServer(Server):
    """RabbitMQ with guest as its user. Messages that it has confirmed outlive `kill`."""

    name = "rabbitmq"
    stop = signal.SIGTERM
    announcement = b"completed with"

    def __init__(self) -> None:
        super().__init__()
        self._mapper_port = free_port()
        self._mapper: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        if self._mapper is not None:
            self._mapper.kill()
            self._mapper.wait()
        super().__exit__(kind, error, trace)

    def _prepare(self) -> tuple[list[str], dict[str, Any]]:
        program = find_program()
        assert program is not None, "rabbitmq-server is not installed: make ci-services"
        (self.folder / "rabbitmq.conf").write_text(CONFIG.format(port=self.port))
        (self.folder / "enabled_plugins").write_text("[].")
        environ = {
            **{name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ},
            "HOME": str(self.folder),  # where the cookie lies
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none",
            "RUNNING_UNDER_SYSTEMD": "1",  # to be Erlang itself, and not a shell with Erlang as its child
        }
        self._start_mapper(environ)
        return [str(program)], {"env": environ, "cwd": self.folder}

    def _start_mapper(self, environ: dict[str, str]) -> None:
        """Erlang would start its port mapper itself, as a daemon that stays."""
        mapper = shutil.which("epmd")
        assert mapper is not None, "epmd is not installed: make ci-services"
        kept = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._mapper = subprocess.Popen([mapper], env=environ, preexec_fn=die_with_parent(signal.SIGKILL), **kept)
