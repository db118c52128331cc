"""The folder of the embedded platform: one `escriba up` at a time, secrets made once, clear words where it fails."""

import errno
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.postgres import ROLES
from config.settings import Settings
from domain.errors import BadSettings

SECRETS = (*ROLES, "redis", "engine_server", "links", "tokens")
FOLDERS = ("logs", "metrics", "models", "objects", "redis", "work")
LEAST_FREE_BYTES = 256_000_000  # a new database takes 60 MB, its log of changes may grow by 64 MB before it is recycled


def chosen() -> Path:
    return Path(os.environ.get("ESCRIBA_HOME") or Settings.model_fields["home"].default).expanduser()


@contextmanager
def opened(home: Path) -> Iterator[Path]:
    """Make the folder (0700) where it is not there, and hold it: until the end, no other process can.

    Yields its absolute path. The lock goes with this process, however that ends.

    Raises:
        BadSettings: another process holds it, it cannot be written to, or the disk is full.
    """
    home = home.expanduser().absolute()
    with explained(home):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        with explained(home):
            _lock(lock, home)
            if shutil.disk_usage(home).free < LEAST_FREE_BYTES:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            for name in FOLDERS:
                (home / name).mkdir(mode=0o700, exist_ok=True)
        yield home
    finally:
        os.close(lock)


@contextmanager
def explained(home: Path) -> Iterator[None]:
    """What the system refuses within, in a sentence that says what to do."""
    try:
        yield
    except OSError as error:
        elsewhere = "or set ESCRIBA_HOME to another folder"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            megabytes = LEAST_FREE_BYTES // 1_000_000
            raise BadSettings(f"the disk of {home} is full: free at least {megabytes} MB, {elsewhere}") from error
        raise BadSettings(f"{home} cannot be used ({error.strerror}): make it yours to write, {elsewhere}") from error


def read_secrets(home: Path) -> dict[str, str]:
    """A secret for each of SECRETS, as they were made at the first start; kept in secrets.json (0600)."""
    path = home / "secrets.json"
    try:
        kept = json.loads(path.read_text()) if path.exists() else {}
    except ValueError as error:
        raise BadSettings(
            f"{path} is damaged: remove it, and new secrets are made; links to recordings stop working"
        ) from error
    missing = {name: secrets.token_urlsafe(32) for name in SECRETS if name not in kept}
    if missing:
        _write_privately(path, json.dumps(kept | missing, indent=1))
    path.chmod(0o600)
    return {name: (kept | missing)[name] for name in SECRETS}


def _lock(lock: int, home: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(lock, 20, 0).decode().strip() or "unknown"
        raise BadSettings(
            f"Escriba already runs in {home} (process {holder}): use that one, stop it, or set ESCRIBA_HOME and"
            " API_PORT for a second one"
        ) from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)


def _write_privately(path: Path, text: str) -> None:
    """Write the whole file or none of it, readable for its owner alone from the first byte."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
