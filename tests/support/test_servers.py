"""The servers that the tests rest on: they keep what they were told, and never outlive the tests."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from redis import Redis
from redis.exceptions import TimeoutError as RedisTimeout

from tests.support.servers import PostgresServer, RedisServer, Watch

ROOT = Path(__file__).parents[2]

_RUN = """
import signal
from tests.support.servers import PostgresServer, RedisServer
with PostgresServer() as postgres, RedisServer() as redis:
    print(postgres.pid, redis.pid, flush=True)
    signal.pause()
"""


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[PostgresServer]:
    """Not the one that other tests share: these tests kill it."""
    with PostgresServer() as server:
        yield server


async def _keep(url: str, statement: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url)
    try:
        rows: list[asyncpg.Record] = await connection.fetch(statement)
        return rows
    finally:
        await connection.close()


async def test_a_killed_postgres_has_every_commit_when_it_is_started_again(own_postgres: PostgresServer) -> None:
    await _keep(own_postgres.owner_url, "CREATE TABLE kept AS SELECT 1 AS a")
    own_postgres.kill()
    with pytest.raises(OSError):
        await _keep(own_postgres.owner_url, "SELECT 1")
    own_postgres.restart()
    assert await _keep(own_postgres.app_url, "SELECT a FROM kept") == [(1,)]


async def test_a_stopped_postgres_answers_nobody_until_it_goes_on(own_postgres: PostgresServer) -> None:
    own_postgres.stop_signal()
    with pytest.raises(TimeoutError):
        await asyncpg.connect(own_postgres.url, timeout=0.2)
    own_postgres.cont()
    assert await _keep(own_postgres.url, "SELECT 1 AS a") == [(1,)]


async def test_each_database_is_a_fresh_one_with_the_platforms_rights(own_postgres: PostgresServer) -> None:
    names = [await own_postgres.create_database(), await own_postgres.create_database()]
    for name in names:
        await _keep(own_postgres.url_of("escriba_owner", name), "CREATE TABLE mine AS SELECT 1 AS a")
        assert await _keep(own_postgres.url_of("escriba_app", name), "SELECT a FROM mine") == [(1,)]
        await own_postgres.drop_database(name)
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await _keep(own_postgres.url_of("escriba_app", names[0]), "SELECT 1")


def test_a_killed_redis_has_its_keys_when_it_is_started_again() -> None:
    with RedisServer() as server, Redis.from_url(server.url) as client:
        client.set("kept", "yes")
        server.kill()
        server.restart()
        assert client.get("kept") == b"yes"


def test_a_stopped_redis_answers_nobody_until_it_goes_on() -> None:
    with RedisServer() as server, Redis.from_url(server.url, socket_timeout=0.2) as client:
        server.stop_signal()
        with pytest.raises(RedisTimeout):
            client.ping()
        server.cont()
        assert client.ping()


def test_the_servers_end_with_the_tests_however_those_end() -> None:
    with tempfile.TemporaryDirectory(prefix="escriba-test-") as left:
        Path(left).chmod(0o755)  # where PostgreSQL has to run as another user, that user must pass
        env = os.environ | {"TMPDIR": left}
        tests = subprocess.Popen([sys.executable, "-c", _RUN], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)
        with tests:
            assert tests.stdout is not None
            with Watch(map(int, tests.stdout.readline().split())) as servers:
                tests.send_signal(signal.SIGKILL)
                servers.wait()
