"""docs/reference/settings.md says what the code does, and has a row for every setting that users may bring along."""

from pathlib import Path

import pytest

from config.names import ELSEWHERE, RESERVED, every_setting
from config.reference import render

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"

SEEDS = {
    "000": """GRABADORA_REDIS_URL GRABADORA_DATABASE_URL GRABADORA_S3_ENDPOINT_URL GRABADORA_S3_ACCESS_KEY
        GRABADORA_S3_SECRET_KEY GRABADORA_JWT_SECRET_KEY GRABADORA_TRANSCRIPTION_QUANTIZATION""",
    "001": """DEFAULT_TRANSCRIPTION_ENGINE REDIS_URL REDIS_JOB_TTL MINIO_ENDPOINT MINIO_ACCESS_KEY MINIO_SECRET_KEY
        MINIO_BUCKET_NAME MINIO_USE_SSL RIVA_URI RIVA_MODEL RIVA_LANGUAGE WHISPERX_SERVICE_URL
        WHISPERX_AVAILABLE_MODELS WHISPERX_DEFAULT_MODEL WHISPERX_TIMEOUT MAX_FILE_SIZE""",
    "002": """RABBITMQ_URL WORKERS_COUNT PROCESS_IDLE_TIMEOUT_MIN WHISPER_MODEL WHISPER_DEVICE WHISPER_COMPUTE_TYPE
        MODELS_DIR MAX_FILE_SIZE_MB MAX_AUDIO_DURATION_SEC AUDIO_SAMPLE_RATE TMP_DIR PYTHON_PATH WORKER_SCRIPT
        RABBITMQ_DEFAULT_USER RABBITMQ_DEFAULT_PASS""",
    "003": "TRANSCRIPTION_MODEL",
    "004": "DEFAULT_MODEL MAX_CONCURRENT_JOBS WEBSOCKET_PING_INTERVAL WEBSOCKET_TIMEOUT",
}


def rows() -> dict[str, str]:
    """First cell → the rest, of every row on the page."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    cells = [line.strip("| ").partition("` | ") for line in lines]
    assert len({first for first, _, _ in cells}) == len(cells), "a name has two rows"
    return {first.strip("`"): rest for first, _, rest in cells}


def test_the_page_is_what_the_code_makes() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), "run: python -m config.reference > docs/reference/settings.md"


@pytest.mark.parametrize("seed", SEEDS)
def test_every_setting_of_the_seed_has_a_row(seed: str) -> None:
    assert set(SEEDS[seed].split()) <= rows().keys()


def test_every_setting_says_what_it_means() -> None:
    page = rows()
    assert {setting.name for setting in every_setting()} | RESERVED.keys() | ELSEWHERE.keys() <= page.keys()
    assert all(len(rest) > 5 for rest in page.values())


def test_no_name_means_two_things() -> None:
    names = [name for setting in every_setting() for name in (setting.name, *(alias.name for alias in setting.aliases))]
    names += [*RESERVED, *ELSEWHERE]
    assert len(names) == len(set(names))
