"""A home and stand-ins for the tests of the embedded platform."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from cli import embedded
from cli.embedded import Embedded
from tests.support.stand_in_platform import StandInPlatform, write_stand_ins


@pytest.fixture(scope="session")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stand_ins(tmp_path_factory.mktemp("stand-ins"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Below a folder that only this user may enter."""
    tmp_path.chmod(0o700)
    return tmp_path / "home"


@pytest.fixture(scope="session")
def made_home(tmp_path_factory: pytest.TempPathFactory, stand_ins: Path, outside: Path) -> Path:
    """A home in which a platform ran, and was stopped."""
    home = tmp_path_factory.mktemp("made") / "home"
    with StandInPlatform(home, stand_ins, outside=outside):
        return home


@pytest.fixture
def platform_of(home: Path, made_home: Path, stand_ins: Path, outside: Path) -> Iterator[StandInPlatform]:
    """A platform in `home` that is not running yet, and is stopped in the end."""
    if not (made_home / "postgres").is_symlink():  # making a database anew for every test would take most of the time
        shutil.copytree(made_home, home)
    platform = StandInPlatform(home, stand_ins, outside=outside)
    yield platform
    platform.stop()


@pytest.fixture(scope="session")
def outside() -> Iterator[Path]:
    """Where PostgreSQL's data go if it cannot enter `home`."""
    folder = Path(tempfile.mkdtemp(prefix="escriba-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


Prepare = Callable[[dict[str, str]], AbstractContextManager[Embedded]]


@pytest.fixture
def prepare(home: Path, outside: Path) -> Prepare:
    """`prepare(environ)`, for `home`, on any free port where none is given."""
    return lambda environ: embedded.prepare(
        home, {"API_PORT": "0"} | environ, outside=outside, whisperx_python=home / "not-installed"
    )
