"""Seed 004 as its users meet it: the commands of its document, and of ours, over a whole platform; a real browser."""

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import async_playwright

from tests.conftest import ROOT, SHARED, require_services
from tests.contracts.conftest import Line
from tests.support.by_curl import plain
from tests.support.whole import Whole, whole_platform

CHROMIUM = Path("/usr/bin/chromium")
HOW_TO = (ROOT / "docs/howto/socket-clients.md").read_text(encoding="utf-8")
ADDRESS = "http://localhost:9000"

SUBMIT = """curl -X POST "http://localhost:9000/transcribe-job" \\
  -F "file=@audio.wav" \\
  -F "language=auto" \\
  -F "model=medium" \\
  -F "return_timestamps=true"
"""
"""As the seed has it, sign by sign; the how-to has it as well."""

SUBMIT_BRIEFLY = """curl -X POST "http://localhost:9000/transcribe-job" \\
  -F "file=@test_audio.wav" \\
  -F "model=medium" | jq
"""

MEDIUM = Path("models/models--Systran--faster-whisper-medium")
MICRO = SHARED / "models" / "whisper-micro-ct2"

RUN = """
async (jobId) => { %s
  const told = [];
  const code = await follow(jobId, (message) => told.push(message));
  return {told, code};
}
"""

Answer = dict[str, Any]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """Engine sphinx by default; and a small network that has learnt the recordings by heart stands in for `medium`."""
    if not MICRO.is_dir():
        pytest.skip("needs the models of ../shared/data")
    home = tmp_path_factory.mktemp("whole")
    cached = home / MEDIUM
    shutil.copytree(MICRO, cached / "snapshots" / "here")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("here")
    environ = {"DEFAULT_TRANSCRIPTION_ENGINE": "sphinx", "WHISPER_DEVICE": "cpu", "WORKERS_COUNT": "1"}
    with whole_platform(home, MODELS_OFFLINE="1", **environ) as platform:
        yield platform


@pytest.fixture
def recording(shared_data: Path) -> Path:
    return shared_data / "en" / "arctic_a0024.wav"


def shell(whole: Whole, command: str, **instead: object) -> Answer:
    """What the command answers at this platform's address, with a real curl."""
    for said, meant in instead.items():
        assert said.replace("__", ".") in command
        command = command.replace(said.replace("__", "."), str(meant))
    command = command.replace(ADDRESS, f"http://localhost:{whole.port}")
    done = subprocess.run(["sh", "-euc", command], env={"PATH": os.environ["PATH"]}, capture_output=True, check=True)
    answer: Answer = json.loads(done.stdout)
    return answer


def commands(language: str, text: str) -> list[str]:
    """The lines, or the whole block, of our how-to that have `text`."""
    blocks: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", HOW_TO, re.DOTALL | re.MULTILINE)
    return [block for block in blocks if text in block]


async def test_the_seeds_commands_run_as_written(whole: Whole, recording: Path) -> None:
    assert commands("sh", "transcribe-job") == [SUBMIT]
    queued = await asyncio.to_thread(shell, whole, SUBMIT, audio__wav=recording)
    brief = await asyncio.to_thread(shell, whole, SUBMIT_BRIEFLY, test_audio__wav=recording)
    assert queued["status"] == brief["status"] == "queued"
    assert queued["websocket_url"] == f"ws://localhost:{whole.port}/ws/transcription/{queued['job_id']}"
    for answer in (queued, brief):
        async with Line.open(whole.url, answer["job_id"]) as line:
            told, code = await line.hear_all()
        result = told[-1]["data"]["result"]
        assert (told[0]["type"], told[-1]["type"], code) == ("connected", "completed", 1000)
        assert result["language"] == "en"
        assert plain(result["text"]) == plain(recording.with_suffix(".txt").read_text())
    read, line_up, cancel = commands("sh", "/job/JOB_ID")[0].splitlines()
    job = await asyncio.to_thread(shell, whole, read, JOB_ID=queued["job_id"])
    assert (job["status"], job["result"]["text"]) == ("completed", result["text"])
    info = await asyncio.to_thread(shell, whole, line_up)
    assert (info["queue"]["is_running"], info["queue"]["max_concurrent_jobs"]) == (True, 3)
    refused = await asyncio.to_thread(shell, whole, cancel, JOB_ID=queued["job_id"])
    assert refused["error"]["code"] == "already_completed"
    native = await asyncio.to_thread(whole.result, queued["job_id"])
    assert native["engine"] in ("whisper", "whisperx")  # the second where it is installed
    assert native["model"] == "medium"


async def test_a_conversation_as_wscat_has_it(whole: Whole, recording: Path, shared_data: Path) -> None:
    without = SUBMIT.replace('  -F "model=medium" \\\n', "")
    ahead = await asyncio.to_thread(shell, whole, without, audio__wav=shared_data / "en" / "librivox-austen-0870.wav")
    job_id = ahead["job_id"]
    told: list[Answer] = []
    async with Line.open(whole.url, job_id) as line:
        told += await line.hear_until("progress")
        (said,) = commands("json", '"get_status"')
        for message in said.replace("JOB_ID", job_id).splitlines():
            await line.say(message)
        told += await line.hear_until("pong")
        rest, code = await line.hear_all()
        told += rest
    kinds = [message["type"] for message in told]
    assert (kinds[0], kinds[-1], code) == ("connected", "completed", 1000)
    assert kinds.count("pong") == kinds.count("completed") == 1
    progress = [message["data"]["progress"] for message in told if message["type"] == "progress"]
    assert progress == sorted(progress)
    assert any(0 < done < 100 for done in progress)
    result = told[-1]["data"]["result"]
    assert [warning["code"] for warning in result["warnings"]] == ["default_model_not_offered"]  # sphinx has no models
    assert result["segments"]
    assert result["processing_time"] > 0


async def test_a_browser_follows_with_the_how_tos_own_code(whole: Whole, recording: Path) -> None:
    if not CHROMIUM.exists():
        reason = "needs Debian's chromium; `make ci-services` installs it"
        (pytest.fail if require_services() else pytest.skip)(reason)
    job_id = (await asyncio.to_thread(shell, whole, SUBMIT, audio__wav=recording))["job_id"]
    (follow,) = commands("js", "new WebSocket")
    arguments = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = await browser.new_page()
        await page.goto(f"{whole.url}/health")
        seen = await page.evaluate(RUN % follow, job_id)
        await browser.close()
    kinds = [message["type"] for message in seen["told"]]
    assert (kinds[0], kinds[-1], seen["code"]) == ("connected", "completed", 1000)
    assert plain(seen["told"][-1]["data"]["result"]["text"]) == plain(recording.with_suffix(".txt").read_text())
