"""OpenAI's official library, unchanged, in each major version that its users have: requirements/openai-*.txt.

Each is installed in an environment of its own, where `tests.support.openai_library` does what a user does, once for all
of the tests of a version.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from config.load import load_settings
from services.platform import Platform
from tests.api.conftest import serving
from tests.conftest import ROOT, require_services
from tests.support.at_work import at_work
from tests.support.cutting_proxy import CuttingProxy
from tests.support.endpoints import run_sql
from tests.support.openai_desk import RECORDING, SAID, SECONDS, TEXT, Able, plain_engine

Made = dict[str, Any]

FORMATS = ("json", "text", "srt", "vtt", "verbose_json", "diarized_json")
STREAMED = ("json", "text", "diarized_json")
USAGE = {"type": "duration", "seconds": SECONDS}

LOST = 2
"""Answers that are lost on the way, as many as the library bears."""


@pytest.fixture(scope="module", params=[1, 2, 3], ids=["openai 1", "openai 2", "openai 3"])
def version(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found


@pytest.fixture(scope="module")
def python(version: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an environment with that library and nothing else, from what uv has kept, else from the package index."""
    python = tmp_path_factory.mktemp("library") / "bin" / "python"
    lock = str(ROOT / f"requirements/openai-{version}.txt")
    uv("venv", "--allow-existing", "--python", sys.executable, str(python.parent.parent), offline=True)
    install = ("pip", "install", "-p", str(python), "--require-hashes", "--no-deps", "-r", lock)
    found = uv(*install, offline=True)
    if found.returncode != 0:
        found = uv(*install, offline=False)
    if found.returncode != 0 and not require_services():
        pytest.skip("needs a package index, as uv has kept too little for an environment")
    assert found.returncode == 0, found.stderr
    return python


def uv(*arguments: str, offline: bool) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "uv"), *arguments]
    environ = {**os.environ, "UV_OFFLINE": str(int(offline)), "UV_SYSTEM_CERTS": "1"}
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
async def made(
    version: int, python: Path, openai_url: str, platform: Platform, environ: dict[str, str], tmp_path_factory: Any
) -> AsyncIterator[Made]:
    """What came of all that a user wishes for, and what was asked of the engine."""
    folder: Path = tmp_path_factory.mktemp("recordings")
    recording, broken = folder / "speech.wav", folder / "broken.wav"
    recording.write_bytes(RECORDING)
    broken.write_bytes(b"no recording at all" * 100)
    able = Able()
    accounts = {"AUTH": "required", "JWT_SECRET_KEY": "a signing key for tests of 32 bytes"}
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(at_work(platform, able, plain_engine()))
        small = await stack.enter_async_context(serving(load_settings(environ | {"MAX_FILE_SIZE": "1000"})))
        guarded = await stack.enter_async_context(serving(load_settings(environ | accounts)))
        cutting = await stack.enter_async_context(CuttingProxy.running(openai_url, lost=LOST))
        wishes = {"url": openai_url, "large": small, "key": guarded, "cut": cutting.url}
        given = {name: f"{url}/v1" for name, url in wishes.items()} | {
            "recording": str(recording),
            "broken": str(broken),
        }
        before = await _count_jobs(platform)
        process = await asyncio.create_subprocess_exec(
            python, ROOT / "tests/support/openai_library.py", json.dumps(given), stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        said, _ = await process.communicate()
        assert process.returncode == 0
        jobs = await _count_jobs(platform) - before
        yield {**json.loads(said), "heard": able.heard, "jobs": jobs, "requests": cutting.requests}


async def _count_jobs(platform: Platform) -> int:
    return int((await run_sql(platform, "SELECT count(*) FROM transcript_jobs"))[0][0])


def test_it_is_that_version(made: Made, version: int) -> None:
    assert made["cut"]["version"].startswith(f"{version}.")


@pytest.mark.parametrize("response_format", FORMATS)
def test_every_format_reads_as_the_library_says(made: Made, response_format: str) -> None:
    found = made["formats"][response_format]
    if response_format in ("text", "srt", "vtt"):
        assert isinstance(found, str)
        assert all(word in found for word in TEXT.split())
        return
    assert (found["text"], found["usage"]) == (TEXT, USAGE)
    assert found["job_id"], "what is added is kept"
    if response_format == "verbose_json":
        assert (found["language"], found["duration"]) == ("english", SECONDS)
        assert [word["word"] for word in found["words"]] == TEXT.split()
        assert [segment["text"] for segment in found["segments"]] == [text for text, _ in SAID]
    if response_format == "diarized_json":
        assert [segment["speaker"] for segment in found["segments"]] == ["A", "B", "B", "A"]


@pytest.mark.parametrize("response_format", STREAMED)
def test_every_event_of_a_stream_is_one_that_the_library_knows(made: Made, response_format: str) -> None:
    told = made["streams"][response_format]
    deltas = [event["delta"] for event in told if event["type"] == "transcript.text.delta"]
    assert "".join(deltas) == told[-1]["text"] == TEXT
    assert len(deltas) == len(TEXT.split())
    others = [event["type"] for event in told if event["type"] != "transcript.text.delta"]
    segments = ["transcript.text.segment"] * len(SAID) if response_format == "diarized_json" else []
    assert others == [*segments, "transcript.text.done"]


def test_translations_are_made(made: Made) -> None:
    found = made["translations"]
    assert (found["json"]["text"], found["text"].strip()) == (TEXT, TEXT)
    assert found["verbose_json"]["language"] == "english"
    assert [heard.options for heard in made["heard"]].count({"task": "translate"}) == len(found)


def test_every_model_that_is_listed_can_be_had(made: Made) -> None:
    listed = made["models"]["listed"]
    assert {"whisper-1", "gpt-4o-transcribe-diarize", "able", "able-base", "able-large-v3", "plain"} <= set(listed)
    assert made["models"]["got"] == listed


def test_options_reach_the_engine(made: Made) -> None:
    prompted = next(heard for heard in made["heard"] if heard.options.get("initial_prompt") == "Minutes:")
    assert [term.text for term in prompted.terms] == ["metoprolol", "Dr. Okafor"]
    assert (prompted.num_speakers, prompted.language) == (2, "en")
    elsewhere = next(heard for heard in made["heard"] if heard.options.get("initial_prompt") == "As elsewhere:")
    assert ([term.text for term in elsewhere.terms], elsewhere.enable_diarization) == (
        ["metoprolol", "Dr. Okafor"], True,
    )  # fmt: skip
    assert "warnings" not in made["options"]["auto"]
    assert made["options"]["server_vad"]["warnings"][0]["message"].startswith("chunking_strategy")
    assert "".join(each["token"] for each in made["options"]["logprobs"]["logprobs"]) == TEXT


@pytest.mark.parametrize(
    ("wish", "raised", "status", "code", "says"),
    [
        ("unknown model", "NotFoundError", 404, "model_not_found", "choose one of whisper-1"),
        ("bad temperature", "BadRequestError", 400, "invalid_request", "temperature: Input should be less than"),
        ("unsupported", "BadRequestError", 400, "unsupported_option", "engine 'plain' cannot honour 'prompt'"),
        ("samples", "BadRequestError", 400, "invalid_request", "voices are not recognised by samples"),
        ("broken", "BadRequestError", 400, "media_unsupported", "recording"),
        ("no such path", "NotFoundError", 404, "not_found", "Not Found"),
        ("no such method", "APIStatusError", 405, "method_not_allowed", "Method Not Allowed"),
        ("no such model", "NotFoundError", 404, "model_not_found", "there is no model 'gigantic'"),
        ("no form", "BadRequestError", 400, "malformed_upload", "send the recording as multipart/form-data"),
    ],
)
def test_an_error_is_raised_with_what_to_do(
    made: Made, wish: str, raised: str, status: int, code: str, says: str
) -> None:
    found = made["errors"][wish]
    assert (found["raised"], found["status"], found["code"]) == (raised, status, code)
    assert says in found["said"]
    assert found["request_id"]


def test_a_stream_that_fails_raises_with_what_to_do(made: Made) -> None:
    found = made["errors"]["broken stream"]
    assert (found["raised"], found["code"]) == ("APIError", "media_unsupported")
    assert "recording" in found["said"]


def test_a_recording_that_is_too_large_is_told_once(made: Made) -> None:
    assert (made["large"]["raised"], made["large"]["status"]) == ("APIStatusError", 413)
    assert "1,000 bytes" in made["large"]["said"]


def test_a_key_of_nobody_is_told(made: Made) -> None:
    assert (made["key"]["raised"], made["key"]["code"]) == ("AuthenticationError", "bad_token")


def test_answers_that_are_lost_on_the_way_make_no_other_job(made: Made) -> None:
    """All wishes together make a job each: what the library sends again meets the first."""
    assert made["cut"]["made"]["text"] == TEXT
    assert made["requests"] == LOST + 1
    wished = len(FORMATS) + len(STREAMED) + len(made["translations"]) + len(made["options"])
    broken = 2
    assert made["jobs"] == wished + broken + 1
