"""The settings of the contract, as an operator brings them along, and what is said where they are wrong."""

from pathlib import Path

import pytest

from config.load import load_settings
from config.rabbitmq_settings import Root
from config.settings import Settings
from domain.errors import BadSettings

NEEDED = {"DATABASE_URL": "postgresql://d", "REDIS_URL": "redis://r"}

OF_THE_CONTRACT = {
    "RABBITMQ_URL": "amqp://guest:guest@localhost:5672/",
    "WORKERS_COUNT": "4",
    "PROCESS_IDLE_TIMEOUT_MIN": "5",
    "WHISPER_MODEL": "base",
    "WHISPER_DEVICE": "cpu",
    "WHISPER_COMPUTE_TYPE": "int8",
    "MODELS_DIR": "./models",
    "MAX_FILE_SIZE_MB": "100",
    "MAX_AUDIO_DURATION_SEC": "3600",
    "AUDIO_SAMPLE_RATE": "16000",
    "TMP_DIR": "/tmp/whisper",
    "PYTHON_PATH": "/usr/bin/python3",
    "WORKER_SCRIPT": "/app/python/worker.py",
}
"""With the defaults that its document has."""


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_settings_of_the_contract_start_the_platform_and_mean_what_they_meant() -> None:
    settings = load_settings(NEEDED | OF_THE_CONTRACT)
    assert settings.rabbitmq.url.get_secret_value() == OF_THE_CONTRACT["RABBITMQ_URL"]
    assert settings.workers.count == 4
    assert settings.engines.idle_timeout_minutes == 5
    assert (settings.engines.whisper_model, settings.engines.whisper_device) == ("base", "cpu")
    assert settings.engines.whisper_compute_type == "int8"
    assert settings.engines.models_dir == Path("models")
    assert settings.api.max_file_size_bytes == 100_000_000
    assert settings.media.max_duration_seconds == 3600
    assert settings.media.sample_rate_hz == 16_000
    assert settings.media.work_dir == Path("/tmp/whisper")


def test_what_the_contract_defaults_to_is_the_default_but_for_what_its_table_says() -> None:
    settings = load_settings(NEEDED)
    assert settings.rabbitmq.url.get_secret_value() == OF_THE_CONTRACT["RABBITMQ_URL"]
    assert (settings.rabbitmq.connect_attempts, settings.rabbitmq.connect_wait_seconds) == (10, 5)
    assert settings.engines.idle_timeout_minutes == 5
    assert settings.engines.whisper_model == "base"
    assert settings.engines.models_dir == Path("models")
    assert settings.api.max_file_size_bytes == 100_000_000
    assert settings.media.sample_rate_hz == 16_000
    assert (settings.workers.count, settings.media.max_duration_seconds, settings.media.work_dir) == (2, 36_000, None)
    assert (settings.engines.whisper_device, settings.engines.whisper_compute_type) == ("auto", "auto")


def roots(text: str) -> Settings:
    return load_settings(NEEDED | {"AUDIO_FILE_ROOTS": text})


def test_roots_are_folders_with_or_without_an_owner() -> None:
    assert roots("/srv/a, /srv/b=ana").rabbitmq.audio_roots == (
        Root(Path("/srv/a"), "local"),
        Root(Path("/srv/b"), "ana"),
    )


@pytest.mark.parametrize("text", ["srv/a", "/srv/../etc", "/srv/a=", "=ana"])
def test_a_root_that_is_no_folder_stops_the_start(text: str) -> None:
    with pytest.raises(BadSettings, match="AUDIO_FILE_ROOTS: should be absolute folders"):
        roots(text)


def test_a_url_of_another_kind_stops_the_start_and_is_not_repeated() -> None:
    with pytest.raises(BadSettings, match="RABBITMQ_URL: should start with amqp://") as refused:
        load_settings(NEEDED | {"RABBITMQ_URL": "http://guest:a-secret@localhost/"})
    assert "a-secret" not in str(refused.value)
