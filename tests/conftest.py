"""Servers and a platform for every test that wants them: real PostgreSQL, real Redis, a real store."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config

from config.load import load_settings
from config.settings import Settings
from services.platform import Platform, open_platform
from tests.support.endpoints import run_sql
from tests.support.receiver import Receiver, receiving
from tests.support.servers import PostgresServer, RedisServer

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "data"

TEMPLATE = "template_escriba"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real recordings that stand beside the checkout; what needs them is skipped, by name, without them."""
    if not SHARED.is_dir():
        pytest.skip("needs the recordings of ../shared/data")
    return SHARED


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        migrate(server.owner_url)
        yield server


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


def migrate(url: str, *, to: str = "head") -> None:
    config = Config(ROOT / "alembic.ini")
    config.attributes["url"] = url
    command.upgrade(config, to)


@pytest.fixture(scope="module")
async def database(postgres: PostgresServer) -> AsyncIterator[str]:
    """A fresh, migrated database for one module of tests: its URL as the role that the platform uses."""
    name = await postgres.create_database()
    yield postgres.url_of("escriba_app", name)
    await postgres.drop_database(name)


@pytest.fixture(scope="module")
def environ(database: str, redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What an operator would have set, for processes of the platform that a test starts."""
    folder = tmp_path_factory.mktemp("platform")
    return {
        "DATABASE_URL": database,
        "REDIS_URL": redis.url,
        "STORAGE_DIR": str(folder / "objects"),
        "LINK_SECRET": "a-secret-for-tests-only-a-secret-for-tests",
        "TMP_DIR": str(folder),
        "MODELS_DIR": str(folder / "models"),
        "DEFAULT_TRANSCRIPTION_ENGINE": "auto",
        "ESCRIBA_HOME": str(folder / "home"),
    }


@pytest.fixture(scope="module")
def settings(environ: dict[str, str]) -> Settings:
    return load_settings(environ)


@pytest.fixture(scope="module")
async def platform(settings: Settings) -> AsyncIterator[Platform]:
    async with open_platform(settings, application="test") as platform:
        yield platform


def require_services() -> bool:
    """In CI a missing server is a failure, not a reason to skip."""
    return os.environ.get("REQUIRE_SERVICES") == "1"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Where webhooks arrive."""
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def nothing_owed(platform: Platform) -> None:
    """No webhook is left of the tests before."""
    await run_sql(platform, "DELETE FROM webhook_endpoints")
