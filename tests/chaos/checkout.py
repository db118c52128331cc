"""The product's code as it is now, in a folder of its own: what a campaign runs, with or without a planted bug."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parent.parent.parent
PATCHES = ROOT / "tests" / "mutants"
PLUGINS = ROOT / "tests" / "support" / "plugins"

PARTS = (
    *("api", "cli", "config", "db", "domain", "engines", "media", "messaging", "rabbitmq", "services", "storage"),
    *("workers", "migrations", "alembic.ini"),
)
TESTS = ("tests", "pyproject.toml")
"""What named tests need besides."""


class DoesNotApply(Exception):
    """A planted bug no longer fits the code: bring the patch up to date."""


@contextmanager
def checkout(patch: str | None = None, *also: str) -> Iterator[Path]:
    """A copy of the code and `also`, with the bug of `tests/mutants/PATCH.patch` in it. Raises DoesNotApply.

    Nobody's edits reach a campaign that runs for an hour.
    """
    with TemporaryDirectory(prefix="escriba-chaos-code-") as folder:
        copy = Path(folder)
        for part in (*PARTS, *also):
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy / part)
        if patch is not None:
            apply(PATCHES / f"{patch}.patch", copy)
        yield copy


def apply(patch: Path, copy: Path) -> None:
    # A folder that lies in somebody's repository is none of git's business here.
    environ = {**os.environ, "GIT_CEILING_DIRECTORIES": str(copy.parent)}
    found = subprocess.run(["git", "apply", str(patch)], cwd=copy, env=environ, capture_output=True, text=True)
    if found.returncode != 0:
        raise DoesNotApply(f"{patch.name} no longer applies, bring it up to date:\n{found.stderr}")


def environ_of(copy: Path) -> dict[str, str]:
    """What makes a process of this environment run the copy, with the campaigns' engines beside it."""
    return {"PYTHONPATH": os.pathsep.join([str(copy), str(PLUGINS)]), "PATH": _path()}


def _path() -> str:
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
