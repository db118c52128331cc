"""A platform on which everybody says who they are, an administrator, and somebody who is none."""

from collections.abc import AsyncIterator

import httpx
import pytest

from config.load import load_settings
from config.settings import Settings
from services.platform import Platform
from tests.api.conftest import JOBS, serving
from tests.support.endpoints import run_sql
from tests.support.people import Person, administrator, person

KEY, EARLIER_KEY = "a signing key for tests of 32 bytes", "an earlier key which is still good"


@pytest.fixture(scope="module")
def settings(environ: dict[str, str]) -> Settings:
    said = {"AUTH": "required", "JWT_SECRET_KEY": KEY, "JWT_PREVIOUS_SECRET_KEYS": EARLIER_KEY, "REGISTRATION": "open"}
    return load_settings(environ | said)


@pytest.fixture(scope="module")
async def url(settings: Settings, platform: Platform) -> AsyncIterator[str]:
    async with serving(settings) as url:
        yield url


@pytest.fixture(scope="module")
async def admin(client: httpx.AsyncClient, platform: Platform) -> Person:
    return await administrator(platform, client)


@pytest.fixture(autouse=True)
async def nobody_has_tried(platform: Platform, admin: Person) -> None:
    await run_sql(platform, "DELETE FROM login_tries")


@pytest.fixture
async def ana(client: httpx.AsyncClient, platform: Platform) -> Person:
    found = await person(client)
    await run_sql(platform, "DELETE FROM login_tries")  # hers among them
    return found


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def jobs_of(client: httpx.AsyncClient, headers: dict[str, str]) -> httpx.Response:
    return await client.get(JOBS, headers=headers)
