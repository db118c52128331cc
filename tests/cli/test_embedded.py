"""The embedded platform: real PostgreSQL and Redis under a real supervisor, started, killed and started again."""

import asyncio
import json
import os
import re
import shutil
import signal
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import httpx
import pytest
from redis import Redis
from redis.exceptions import AuthenticationError

from cli.embedded import erase
from cli.postgres import ROLES, Postgres, end_predecessors
from cli.supervisor import until_answers
from domain.errors import BadSettings
from tests.cli.conftest import Prepare
from tests.support.servers import Watch
from tests.support.stand_in_platform import StandInPlatform

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to run PostgreSQL as somebody else")


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def note(platform: StandInPlatform, text: str) -> None:
    """Keep `text` in a table of the platform's database."""
    async with connected(platform.url("DATABASE_MIGRATION_URL")) as owner:
        await owner.execute("CREATE TABLE IF NOT EXISTS notes (text text)")
    async with connected(platform.url("DATABASE_URL")) as app:
        await app.execute("INSERT INTO notes VALUES ($1)", text)


async def notes(platform: StandInPlatform) -> list[str]:
    async with connected(platform.url("DATABASE_URL")) as app:
        return [row["text"] for row in await app.fetch("SELECT text FROM notes")]


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory, stand_ins: Path, outside: Path) -> Iterator[StandInPlatform]:
    """One platform for the tests that only look at it."""
    with StandInPlatform(tmp_path_factory.mktemp("closed") / "home", stand_ins, outside=outside) as running:
        yield running


async def test_the_kernel_takes_every_child_along_when_the_supervisor_is_killed(platform_of: StandInPlatform) -> None:
    platform_of.start()
    assert len(platform_of.family) >= 7, "supervisor, PostgreSQL, Redis, engine server, two workers, API"
    platform_of.kill(all_processes=False)


async def test_data_survive_the_death_of_the_supervisor(platform_of: StandInPlatform) -> None:
    platform_of.start()
    await note(platform_of, "kept")
    platform_of.kill(all_processes=False)
    platform_of.start()
    assert await notes(platform_of) == ["kept"]


async def test_a_start_right_after_a_kill_waits_for_the_old_database_to_end(
    platform_of: StandInPlatform, prepare: Prepare
) -> None:
    platform_of.start()
    old = platform_of.child("bin/postgres")
    os.kill(old, signal.SIGSTOP)  # it has been told to end, and takes its time
    os.kill(platform_of.pid, signal.SIGKILL)
    platform_of.stop()
    with Watch([old]) as watch:
        waiting = asyncio.create_task(asyncio.to_thread(end_predecessors, platform_of.home / "postgres"))
        done, _ = await asyncio.wait([waiting], timeout=0.3)
        os.kill(old, signal.SIGCONT)
        await waiting
        assert not done
        watch.wait(0)
    with prepare({}):
        pass


async def test_data_survive_the_death_of_the_whole_tree(platform_of: StandInPlatform) -> None:
    platform_of.start()
    await note(platform_of, "kept")
    platform_of.kill(all_processes=True)
    platform_of.start()
    assert await notes(platform_of) == ["kept"]


async def test_a_lock_left_behind_whose_number_is_now_anothers_does_not_stop_the_start(
    platform_of: StandInPlatform,
) -> None:
    platform_of.start()
    await note(platform_of, "kept")
    platform_of.kill(all_processes=True)
    left = platform_of.home / "postgres" / "postmaster.pid"
    left.write_text(left.read_text().replace(left.read_text().splitlines()[0], str(os.getpid()), 1))
    platform_of.start()
    assert await notes(platform_of) == ["kept"]


async def test_a_killed_postgres_comes_back_on_its_port_with_its_data(platform_of: StandInPlatform) -> None:
    platform_of.start()
    await note(platform_of, "kept")
    killed = platform_of.child("bin/postgres")
    with Watch([killed]) as watch:
        os.kill(killed, signal.SIGKILL)
        watch.wait()
    port = int(platform_of.url("DATABASE_URL").rsplit(":", 1)[1].split("/")[0])
    await until_answers(port, _startup("postgres"), b"R")
    assert await notes(platform_of) == ["kept"]
    assert platform_of.child("bin/postgres") != killed


async def test_a_killed_redis_comes_back_on_its_port_with_its_data(platform_of: StandInPlatform) -> None:
    platform_of.start()
    url = platform_of.url("REDIS_URL")
    with Redis.from_url(url) as redis:
        redis.set("kept", "yes")
    killed = platform_of.child("redis-server")
    with Watch([killed]) as watch:
        os.kill(killed, signal.SIGKILL)
        watch.wait()
    await until_answers(int(url.rsplit(":", 1)[1].split("/")[0]), b"PING\r\n", b"-NOAUTH")
    with Redis.from_url(url) as redis:
        assert redis.get("kept") == b"yes"


def test_a_request_made_while_the_api_is_down_is_answered_by_the_next(platform_of: StandInPlatform) -> None:
    platform_of.start()
    first = int(httpx.get(platform_of.address).text)
    with Watch([first]) as watch:
        os.kill(first, signal.SIGKILL)
        watch.wait()
    assert int(httpx.get(platform_of.address).text) != first


async def test_a_second_start_in_the_same_home_is_told_who_runs_there(platform: StandInPlatform) -> None:
    with pytest.raises(BadSettings, match=f"already runs in .* \\(process {platform.pid}\\).*ESCRIBA_HOME"):
        StandInPlatform(platform.home, outside=Path("/nowhere")).start()


async def test_the_home_is_free_again_after_a_kill(platform_of: StandInPlatform, prepare: Prepare) -> None:
    platform_of.start()
    platform_of.kill(all_processes=True)
    with prepare({}) as again:
        assert [child.name for child in again.servers] == ["postgres", "redis"]


async def test_the_home_and_all_secrets_are_closed_to_others(platform: StandInPlatform) -> None:
    def mode(path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)

    assert mode(platform.home) == 0o700
    assert mode(platform.home / "secrets.json") == 0o600
    assert mode(platform.home / "redis" / "redis.conf") == 0o600
    assert {mode(folder) for folder in platform.home.iterdir() if folder.is_dir()} == {0o700}
    assert {mode(log) for log in (platform.home / "logs").iterdir()} == {0o600}


async def test_no_secret_is_seen_in_a_command_line(platform: StandInPlatform) -> None:
    secrets = json.loads((platform.home / "secrets.json").read_text()).values()
    lines = [Path(f"/proc/{process}/cmdline").read_bytes().decode() for process in platform.family]
    assert not [secret for secret in secrets if any(secret in line for line in lines)]


async def test_the_schemas_owner_is_known_to_no_child(platform: StandInPlatform) -> None:
    owners = json.loads((platform.home / "secrets.json").read_text())["escriba_owner"]
    children = [process for process in platform.family if process != platform.pid]
    assert not [process for process in children if owners in Path(f"/proc/{process}/environ").read_bytes().decode()]


async def test_lost_secrets_are_made_anew_and_the_data_stay_reachable(platform_of: StandInPlatform) -> None:
    platform_of.start()
    await note(platform_of, "kept")
    platform_of.stop()
    (platform_of.home / "secrets.json").unlink()
    platform_of.start()
    assert await notes(platform_of) == ["kept"]


@pytest.mark.parametrize("role", ["escriba_app", "escriba_worker"])
async def test_api_and_workers_may_write_rows_but_not_change_the_schema(platform: StandInPlatform, role: str) -> None:
    await note(platform, "read me")
    async with connected(_as(platform, role)) as user:
        assert await user.fetchval("SELECT count(*) FROM notes") > 0
        await user.execute("DELETE FROM notes WHERE text = 'nothing like it'")
        forbidden = (
            "CREATE TABLE mine (a int)",
            "CREATE TEMP TABLE mine (a int)",
            "CREATE SCHEMA mine",
            "ALTER TABLE notes ADD COLUMN b int",
            "TRUNCATE notes",
            "DROP TABLE notes",
            "CREATE ROLE mine",
            "SET ROLE postgres",
            "SET ROLE escriba_owner",
            "COPY notes TO PROGRAM 'cat'",
        )
        for statement in forbidden:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await user.execute(statement)


@pytest.mark.parametrize("role", ["escriba_owner", "escriba_app", "escriba_worker"])
async def test_row_level_security_binds_every_role_of_ours(platform: StandInPlatform, role: str) -> None:
    async with connected(platform.url("DATABASE_MIGRATION_URL")) as owner:
        await owner.execute(f"CREATE TABLE secret_{role} (owner text)")
        await owner.execute(f"INSERT INTO secret_{role} VALUES ('me'), ('you')")
        await owner.execute(f"ALTER TABLE secret_{role} ENABLE ROW LEVEL SECURITY")
        await owner.execute(f"ALTER TABLE secret_{role} FORCE ROW LEVEL SECURITY")
        await owner.execute(f"CREATE POLICY mine ON secret_{role} USING (owner = current_setting('escriba.owner'))")
    async with connected(_as(platform, role)) as user:
        await user.execute("SET escriba.owner = 'me'")
        assert await user.fetch(f"SELECT owner FROM secret_{role}") == [("me",)]


async def test_a_wrong_password_is_refused(platform: StandInPlatform) -> None:
    for role in ROLES:
        with pytest.raises(asyncpg.InvalidPasswordError):
            async with connected(re.sub(r"//[^@]*@", f"//{role}:wrong@", platform.url("DATABASE_URL"))):
                pass
    stranger = Redis.from_url(re.sub(r"//[^@]*@", "//", platform.url("REDIS_URL")))
    with stranger, pytest.raises(AuthenticationError):
        stranger.ping()


async def test_nothing_is_heard_beyond_loopback(platform: StandInPlatform) -> None:
    listening = [
        fields[1].split(":")[0]
        for name in ("tcp", "tcp6")
        for fields in (line.split() for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:])
        if fields[3] == "0A" and fields[9] in _sockets(platform.family)
    ]
    assert len(listening) >= 4
    assert set(listening) == {"0100007F"}


async def test_commits_wait_for_the_disk(platform: StandInPlatform) -> None:
    async with connected(platform.url("DATABASE_URL")) as app:
        assert await app.fetchval("SHOW fsync") == "on"
        assert await app.fetchval("SHOW synchronous_commit") == "on"
        assert await app.fetchval("SHOW server_encoding") == "UTF8"
    with Redis.from_url(platform.url("REDIS_URL")) as redis:
        assert redis.config_get("append*")["appendfsync"] == "everysec"


async def test_what_postgres_logs_of_a_failure_has_no_values(platform: StandInPlatform) -> None:
    async with connected(platform.url("DATABASE_MIGRATION_URL")) as owner:
        await owner.execute("CREATE TABLE once (text text PRIMARY KEY)")
        await owner.execute("INSERT INTO once VALUES ('what was said')")
        with pytest.raises(asyncpg.UniqueViolationError):
            await owner.execute("INSERT INTO once VALUES ('what was said')")
    log = (platform.home / "logs" / "postgres.log").read_text()
    assert "duplicate key" in log
    assert "what was said" not in log


@only_root
async def test_where_namespaces_are_forbidden_root_keeps_the_database_where_nobody_can_reach_it(
    home: Path, stand_ins: Path, outside: Path
) -> None:
    with StandInPlatform(home, stand_ins, outside=outside, namespaces=False) as platform:
        await note(platform, "kept")
        assert (home / "postgres").readlink().parent == outside
        assert stat.S_IMODE((home / "postgres").stat().st_mode) == 0o700
        assert (home / "postgres").stat().st_uid == Path(f"/proc/{platform.child('bin/postgres')}").stat().st_uid != 0
        platform.kill(all_processes=False)
        platform.start()
        assert await notes(platform) == ["kept"]
        platform.kill(all_processes=True)
    with StandInPlatform(home, stand_ins, outside=outside) as platform:
        assert await notes(platform) == ["kept"], "a machine that allows namespaces again goes on with the same data"
    data = (home / "postgres").readlink()
    erase(home)
    assert not home.exists()
    assert not data.exists()


@only_root
async def test_programs_that_nobody_can_reach_are_copied(
    home: Path, stand_ins: Path, outside: Path, tmp_path: Path
) -> None:
    """As with a clone, or a Python, below root's home."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    package = Postgres.find(tmp_path / "x", outside=outside).programs.parents[1]
    for name in (package.name, f"{package.name}.libs"):
        shutil.copytree(package.with_name(name), closed / name, ignore=shutil.ignore_patterns("pginstall"))
    with StandInPlatform(home, closed, stand_ins, outside=outside, namespaces=False) as platform:
        await note(platform, "kept")
        assert outside in Path(f"/proc/{platform.child('bin/postgres')}/exe").readlink().parents
        assert await notes(platform) == ["kept"]


def _startup(user: str) -> bytes:
    fields = f"user\0{user}\0\0".encode()
    return (8 + len(fields)).to_bytes(4, "big") + (196608).to_bytes(4, "big") + fields


def _as(platform: StandInPlatform, role: str) -> str:
    password = json.loads((platform.home / "secrets.json").read_text())[role]
    return re.sub(r"//[^@]*@", f"//{role}:{password}@", platform.url("DATABASE_URL"))


def _sockets(processes: list[int]) -> set[str]:
    """The inode numbers of the sockets that `processes` hold."""
    links = [str(link.readlink()) for process in processes for link in Path(f"/proc/{process}/fd").iterdir()]
    return {link[8:-1] for link in links if link.startswith("socket:[")}
