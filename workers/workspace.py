"""The folder that recordings are worked on in: private, and swept of what killed workers left behind."""

import dataclasses
import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.platform import Platform

PREFIX = "escriba-worker-"


@contextmanager
def hold(parent: Path | None) -> Iterator[Path]:
    """A private folder for this process; folders whose process is gone (their lock is free) are removed first."""
    root = Path(parent or tempfile.gettempdir())
    root.mkdir(parents=True, exist_ok=True)
    for other in root.glob(f"{PREFIX}*"):
        _remove_if_left(other)
    unnamed = Path(tempfile.mkdtemp(prefix="making-", dir=root))
    with (unnamed / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = unnamed.rename(root / f"{PREFIX}{unnamed.name.removeprefix('making-')}")
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_if_left(folder: Path) -> None:
    try:
        with (folder / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        return  # in use, another user's, or not there any more


def working_in(platform: Platform, folder: Path) -> Platform:
    """The same platform, whose attempts keep their files in `folder`."""
    settings = platform.settings
    media = settings.media.model_copy(update={"work_dir": folder})
    return dataclasses.replace(platform, settings=settings.model_copy(update={"media": media}))
