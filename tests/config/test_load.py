"""Environment and `.env` → Settings: what is read, what goes before what, and what stops a start."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from config.load import load_section, load_settings, read_values
from config.settings import DatabaseSettings
from domain.errors import BadSettings

REPOSITORY = Path(__file__).parents[2]
NO_FILE = Path(os.devnull)
NEEDED = {"DATABASE_URL": "postgresql://someone:s3cret@localhost:5432/escriba", "REDIS_URL": "redis://localhost:6379/0"}

SEED_001 = """
# Engine padrão
DEFAULT_TRANSCRIPTION_ENGINE=asr
REDIS_URL=redis://redis:6379/0
REDIS_JOB_TTL=3600  # 60 minutos
MINIO_ENDPOINT=minio:9000
MINIO_ACCESS_KEY=minioadmin
MINIO_SECRET_KEY=minioadmin
MINIO_BUCKET_NAME=transcriptions
MINIO_USE_SSL=false
RIVA_URI=parakeet-nim:50051
RIVA_MODEL=parakeet-0-6b-ctc-en-us
RIVA_LANGUAGE=en-US
WHISPERX_SERVICE_URL=http://whisperx:9000
WHISPERX_AVAILABLE_MODELS=tiny,base,small,medium,large-v2,large-v3
WHISPERX_DEFAULT_MODEL=base
WHISPERX_TIMEOUT=300
"""


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def refusal(environ: dict[str, str], env_file: Path = NO_FILE) -> list[str]:
    """The problems that stop a start with the needed settings and `environ`, one line each."""
    with pytest.raises(BadSettings) as caught:
        load_settings({**NEEDED, **environ}, env_file=env_file)
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


def test_only_a_database_and_a_redis_have_to_be_named() -> None:
    settings = load_settings(NEEDED, env_file=NO_FILE)
    assert settings.database.url.get_secret_value() == NEEDED["DATABASE_URL"]
    assert settings.redis.url.get_secret_value() == NEEDED["REDIS_URL"]
    assert (settings.api.host, settings.api.port, settings.engines.default_engine) == ("127.0.0.1", 8000, "asr")


def test_what_is_missing_is_named_with_advice() -> None:
    with pytest.raises(BadSettings) as caught:
        load_settings({}, env_file=NO_FILE)
    text = str(caught.value)
    assert "DATABASE_URL: is not set" in text
    assert "REDIS_URL: is not set" in text
    assert text.count("`escriba up` brings its own") == 2


def test_values_arrive_in_their_types() -> None:
    given = {
        "API_PORT": "0",
        "ALLOWED_HOSTS": "escriba.example, notes.example",
        "MODELS_OFFLINE": "yes",
        "JOB_LEASE_SEC": "2.5",
        "AUDIO_SAMPLE_RATE": "16000",
        "LOG_LEVEL": "INFO",
        "ESCRIBA_HOME": "~/escriba",
    }
    settings = load_settings(NEEDED | given, env_file=NO_FILE)
    assert settings.api.port == 0
    assert settings.api.allowed_hosts == ("escriba.example", "notes.example")
    assert settings.engines.offline is True
    assert settings.workers.lease_seconds == 2.5
    assert settings.media.sample_rate_hz == 16_000
    assert settings.log.level == "info"
    assert settings.home == Path.home() / "escriba"


def test_an_empty_value_counts_as_not_set(env_file: Path) -> None:
    env_file.write_text("API_PORT=9000\nRIVA_URI=\n")
    settings = load_settings(NEEDED | {"API_PORT": " "}, env_file=env_file)
    assert settings.api.port == 9000
    assert settings.engines.riva_uri is None


def test_the_environment_goes_before_the_file(env_file: Path) -> None:
    env_file.write_text("API_PORT=9000\nAPI_WORKERS=4\n")
    settings = load_settings(NEEDED | {"API_PORT": "9001"}, env_file=env_file)
    assert (settings.api.port, settings.api.workers) == (9001, 4)


def test_the_file_of_the_working_directory_is_read(env_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env_file.write_text("API_PORT=9000\n")
    monkeypatch.chdir(env_file.parent)
    assert load_settings(NEEDED).api.port == 9000
    env_file.unlink()
    assert load_settings(NEEDED).api.port == 8000


def test_the_process_environment_is_read_when_no_other_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in NEEDED.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("API_PORT", "9002")
    assert load_settings(env_file=NO_FILE).api.port == 9002


def test_overrides_go_before_everything_and_silence_aliases() -> None:
    environ = {"GRABADORA_REDIS_URL": "redis://elsewhere", "REDIS_URL": "redis://third", "API_PORT": "9000"}
    overrides = NEEDED | {"REDIS_URL": "redis://here", "API_PORT": "0"}
    settings = load_settings(environ, env_file=NO_FILE, overrides=overrides)
    assert settings.redis.url.get_secret_value() == "redis://here"
    assert settings.api.port == 0


def test_an_override_that_is_no_setting_is_the_callers_bug() -> None:
    with pytest.raises(KeyError):
        load_settings(NEEDED, env_file=NO_FILE, overrides={"API_PROT": "0"})


class TestAliases:
    def test_an_alias_is_as_good_as_the_name(self) -> None:
        settings = load_settings(
            {"GRABADORA_DATABASE_URL": "postgresql+asyncpg://db/x", "GRABADORA_REDIS_URL": "rediss://r"},
            env_file=NO_FILE,
        )
        assert settings.database.url.get_secret_value() == "postgresql+asyncpg://db/x"

    @pytest.mark.parametrize(("megabytes", "size"), [("200", 200_000_000), ("0.1", 100_000), ("1.5", 1_500_000)])
    def test_an_alias_in_another_unit_is_converted(self, megabytes: str, size: int) -> None:
        settings = load_settings(NEEDED | {"MAX_FILE_SIZE_MB": megabytes}, env_file=NO_FILE)
        assert settings.api.max_file_size_bytes == size

    @pytest.mark.parametrize("amount", ["much", "1e9", "-1", "inf", "0.12345678", "٣"])
    def test_an_alias_in_another_unit_must_be_a_plain_number(self, amount: str) -> None:
        (problem,) = refusal({"MAX_FILE_SIZE_MB": amount})
        assert problem.startswith("MAX_FILE_SIZE_MB: ")

    def test_two_names_for_one_setting_may_agree(self) -> None:
        given = {"MAX_FILE_SIZE": "100000000", "MAX_FILE_SIZE_MB": "100"}
        assert load_settings(NEEDED | given, env_file=NO_FILE).api.max_file_size_bytes == 100_000_000

    def test_two_names_that_disagree_are_both_named(self, env_file: Path) -> None:
        env_file.write_text("S3_BUCKET=ours\n")
        (problem,) = refusal({"MINIO_BUCKET_NAME": "theirs"}, env_file)
        assert problem.startswith("MINIO_BUCKET_NAME and S3_BUCKET: ")

    def test_a_malformed_alias_is_named_as_it_was_written(self) -> None:
        (problem,) = refusal({"GRABADORA_TRANSCRIPTION_QUANTIZATION": "int3"})
        assert problem.startswith("GRABADORA_TRANSCRIPTION_QUANTIZATION: should be ")


class TestMalformed:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("API_PORT", "eighty"),
            ("API_PORT", "70000"),
            ("API_WORKERS", "0"),
            ("MAX_AUDIO_DURATION_SEC", "129601"),
            ("MODELS_OFFLINE", "perhaps"),
            ("WHISPER_DEVICE", "gpu"),
            ("AUDIO_SAMPLE_RATE", "8000"),
            ("JOB_LEASE_SEC", "inf"),
            ("JOB_MAX_RETRIES", "-1"),
            ("DATABASE_URL", "mysql://someone:s3cret@localhost/x"),
            ("REDIS_URL", "http://:s3cret@localhost"),
            ("DATABASE_MIGRATION_URL", "s3cret"),
        ],
    )
    def test_a_malformed_value_is_named_and_not_repeated(self, name: str, value: str) -> None:
        (problem,) = refusal({name: value})
        assert problem.startswith((f"{name}: should be ", f"{name}: should start "))
        assert "s3cret" not in problem

    def test_everything_wrong_is_said_at_once(self, env_file: Path) -> None:
        env_file.write_text("API_PROT=1\n")
        problems = refusal({"API_PORT": "x", "API_WORKERS": "x", "REDIS_JOB_TTL": "x", "RIVA_URL": "x"}, env_file)
        named = {problem.partition(":")[0] for problem in problems}
        assert named == {"API_PROT", "API_PORT", "API_WORKERS", "REDIS_JOB_TTL", "RIVA_URL"}


class TestUnknownNames:
    def test_an_unknown_key_in_the_file_is_named_with_the_likely_right_one(self, env_file: Path) -> None:
        env_file.write_text("MAX_AUDIO_DURATION_SECS=60\nNOTHING_LIKE_IT=1\n")
        problems = refusal({}, env_file)
        assert "did you mean MAX_AUDIO_DURATION_SEC?" in problems[0]
        assert problems[1].startswith("NOTHING_LIKE_IT: ")
        assert "did you mean" not in problems[1]

    @pytest.mark.parametrize("name", ["ESCRIBA_HOUSE", "GRABADORA_X", "RIVA_URL", "WHISPER_SIZE", "WHISPERX_MODEL"])
    def test_an_unknown_name_under_our_prefixes_is_named(self, name: str) -> None:
        (problem,) = refusal({name: "x"})
        assert problem.startswith(f"{name}: ")

    @pytest.mark.parametrize(
        "slip",
        ["REDIS_URI", "DATABASEURL", "DATABASE__URL", "API_PROT", "PAI_PORT", "API_POR", "API_PORTS", "api_port"],
    )
    def test_a_name_one_letter_off_is_named_with_the_right_one(self, slip: str) -> None:
        right = {"RED": "REDIS_URL", "DAT": "DATABASE_URL"}.get(slip[:3], "API_PORT")
        (problem,) = refusal({slip: "x"})
        assert problem.startswith(f"{slip}: ")
        assert right in problem

    def test_names_two_letters_off_are_none_of_our_business(self) -> None:
        load_settings(NEEDED | {"PATH": "/bin", "REDIS_HOST": "x", "API_PROTO": "x", "DB_URL": "x"}, env_file=NO_FILE)

    def test_names_of_other_readers_near_ours_are_let_be(self, env_file: Path) -> None:
        env_file.write_text("POSTGRES_PASSWORD=x\nCOMPOSE_PROJECT_NAME=x\n")
        load_settings(NEEDED | {"TMPDIR": "/tmp", "PYTHONPATH": "/app"}, env_file=env_file)

    def test_what_kubernetes_says_of_a_service_called_riva_is_let_be(self) -> None:
        links = {
            "RIVA_SERVICE_HOST": "x",
            "RIVA_SERVICE_PORT_GRPC": "x",
            "RIVA_PORT_50051_TCP_ADDR": "x",
            "RIVA_PORT": "x",
        }
        load_settings(NEEDED | links, env_file=NO_FILE)


class TestFile:
    def test_the_settings_of_seed_001_work_as_written(self, env_file: Path) -> None:
        env_file.write_text(SEED_001)
        settings = load_settings({"DATABASE_URL": NEEDED["DATABASE_URL"]}, env_file=env_file)
        assert settings.redis.job_ttl_seconds == 3600
        assert settings.storage.endpoint == "minio:9000"
        assert settings.storage.use_ssl is False
        assert settings.engines.whisperx_models == ("tiny", "base", "small", "medium", "large-v2", "large-v3")
        assert settings.engines.silence_timeout_seconds == 300

    def test_a_byte_order_mark_and_quotes_and_export_are_understood(self, env_file: Path) -> None:
        env_file.write_text("\ufeffAPI_PORT='9000'\nexport WHISPER_MODEL=\"tiny\"\n")
        settings = load_settings(NEEDED, env_file=env_file)
        assert (settings.api.port, settings.engines.whisper_model) == (9000, "tiny")

    def test_a_line_that_is_no_assignment_is_named_by_its_number_only(self, env_file: Path) -> None:
        env_file.write_text("API_PORT=9000\ns3cret\nAPI_WORKERS 4\n")
        problems = refusal({}, env_file)
        assert [problem.partition(":")[0] for problem in problems] == ["the .env file, line 2", "the .env file, line 3"]
        assert "s3cret" not in "".join(problems)

    def test_a_file_that_was_named_must_be_there(self, env_file: Path) -> None:
        (problem,) = refusal({}, env_file)
        assert "the .env file" in problem

    def test_a_file_that_cannot_be_read_says_why(self, env_file: Path) -> None:
        env_file.mkdir()
        assert "directory" in refusal({}, env_file)[0]

    def test_a_file_that_is_not_text_says_so(self, env_file: Path) -> None:
        env_file.write_bytes(b"API_PORT=\xff\xfe\n")
        assert "UTF-8" in refusal({}, env_file)[0]


class TestSafeByDefault:
    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "escriba.example"])
    def test_a_network_address_is_refused(self, host: str) -> None:
        (problem,) = refusal({"API_HOST": host})
        assert problem.startswith("API_HOST: ")
        assert "INSECURE_NO_AUTH=1" in problem

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost"])
    def test_loopback_is_served(self, host: str) -> None:
        assert load_settings(NEEDED | {"API_HOST": host}, env_file=NO_FILE).api.host == host

    def test_a_network_is_served_once_it_is_said(self) -> None:
        settings = load_settings(NEEDED | {"API_HOST": "0.0.0.0", "INSECURE_NO_AUTH": "1"}, env_file=NO_FILE)
        assert settings.api.host == "0.0.0.0"

    def test_accounts_need_a_key_that_signs(self) -> None:
        (problem,) = refusal({"AUTH": "required"})
        assert problem.startswith("AUTH=required needs JWT_SECRET_KEY")

    @pytest.mark.parametrize("name", ["JWT_SECRET_KEY", "GRABADORA_JWT_SECRET_KEY", "JWT_PREVIOUS_SECRET_KEYS"])
    @pytest.mark.parametrize("key", ["secret", "changeme" * 4, "a" * 40])
    def test_a_key_that_can_be_guessed_is_refused_and_not_printed(self, name: str, key: str) -> None:
        (problem,) = refusal({name: key})
        assert problem.startswith(f"{name}: ")
        assert key not in problem.removeprefix(name)

    def test_a_network_is_served_to_those_who_say_who_they_are(self) -> None:
        said = {"API_HOST": "0.0.0.0", "AUTH": "required", "JWT_SECRET_KEY": "Zk3q9vXw0mB7nT5rY8uJ1aLc4dHf6sGe"}
        assert load_settings(NEEDED | said, env_file=NO_FILE).api.auth == "required"

    def test_nobody_is_let_in_unasked_where_everybody_is_asked(self) -> None:
        said = {"INSECURE_NO_AUTH": "1", "AUTH": "required", "JWT_SECRET_KEY": "Zk3q9vXw0mB7nT5rY8uJ1aLc4dHf6sGe"}
        (problem,) = refusal(said)
        assert "contradict" in problem

    def test_no_secret_is_printed_with_the_settings(self) -> None:
        assert "s3cret" not in repr(load_settings(NEEDED, env_file=NO_FILE))


class TestParts:
    def test_a_section_alone_asks_for_no_other(self) -> None:
        section = load_section(DatabaseSettings, {"DATABASE_URL": NEEDED["DATABASE_URL"]}, env_file=NO_FILE)
        assert section.url.get_secret_value() == NEEDED["DATABASE_URL"]

    def test_a_section_names_what_it_misses(self) -> None:
        with pytest.raises(BadSettings, match="DATABASE_URL: is not set"):
            load_section(DatabaseSettings, {}, env_file=NO_FILE)

    def test_values_come_by_their_canonical_names(self) -> None:
        environ = {"MAX_FILE_SIZE_MB": "5", "GRABADORA_REDIS_URL": "redis://r", "HOME": "/home/someone"}
        assert read_values(environ, env_file=NO_FILE) == {"MAX_FILE_SIZE": "5000000", "REDIS_URL": "redis://r"}

    def test_values_are_not_given_out_where_a_name_is_unknown(self) -> None:
        with pytest.raises(BadSettings, match="RIVA_URL"):
            read_values({"RIVA_URL": "x"}, env_file=NO_FILE)


class TestAUserWithoutAHome:
    """As in a container that runs as a number: `~` leads nowhere there."""

    def test_can_name_another_folder(self) -> None:
        # In a process of its own, as the import of the settings must not need a home either.
        script = (
            "from pathlib import Path; from config.load import load_settings; "
            f"print(load_settings({NEEDED | {'ESCRIBA_HOME': '/data'}!r}, env_file=Path({os.devnull!r})).home)"
        )
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=REPOSITORY,
            env={"HOME": "~"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == "/data"

    def test_is_told_to_name_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", "~")
        (problem,) = refusal({})
        assert problem.startswith("ESCRIBA_HOME: ")
        assert "full path" in problem


@pytest.mark.parametrize("missing", ["MINIO_ACCESS_KEY", "MINIO_SECRET_KEY"])
def test_an_s3_server_comes_with_keys(missing: str) -> None:
    keys = {"MINIO_ENDPOINT": "s3.example:9000", "MINIO_ACCESS_KEY": "key", "MINIO_SECRET_KEY": "secret"}
    assert load_settings({**NEEDED, **keys}, env_file=NO_FILE).storage.endpoint == "s3.example:9000"
    (problem,) = refusal({name: value for name, value in keys.items() if name != missing})
    assert problem.startswith(f"{missing}: should be set")
