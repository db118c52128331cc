"""Seed 003 as its users meet it: the commands of its demo, and of our how-to, over a whole platform."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from imageio_ffmpeg import get_ffmpeg_exe

from tests.conftest import ROOT, SHARED
from tests.support.by_curl import plain
from tests.support.films import subtitles_of
from tests.support.waiting import until
from tests.support.whole import Whole, whole_platform

HOW_TO = (ROOT / "docs/howto/subtitle-clients.md").read_text(encoding="utf-8")
MICRO = SHARED / "models" / "whisper-micro-ct2"
ADDRESS = "http://localhost:8000"

UPLOAD = """curl -F "file=@inputs/input.mp4" http://localhost:8000/upload
"""
RUN = """curl -X POST http://localhost:8000/jobs/<job_id>/run \\
  -H "Content-Type: application/json" \\
  -d '{"output_type":"subtitle"}'
"""
STATUS = "curl http://localhost:8000/jobs/<job_id>/status\n"
RESULT = "curl -O http://localhost:8000/jobs/<job_id>/result\n"
METRICS = "curl http://localhost:8000/admin/metrics\n"
"""As the seed's demo has them, sign by sign; the how-to has them as well."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """A small network that has learnt the recordings by heart hears, named as the seed names a model."""
    if not MICRO.is_dir():
        pytest.skip("needs the models of ../shared/data")
    environ = {"WHISPER_MODEL": str(MICRO), "WHISPER_DEVICE": "cpu", "TRANSCRIPTION_MODEL": "whisper"}
    with whole_platform(tmp_path_factory.mktemp("whole"), WORKERS_COUNT="1", **environ) as platform:
        yield platform


@pytest.fixture
def place(tmp_path: Path, shared_data: Path) -> Path:
    """The folder of somebody with a film of a person who speaks, under `inputs`."""
    (tmp_path / "inputs").mkdir()
    speech = str(shared_data / "en" / "arctic_a0024.wav")
    picture = ["-f", "lavfi", "-i", "color=c=black:s=320x180:r=10", "-i", speech, "-shortest"]
    command = [
        get_ffmpeg_exe(),
        "-v",
        "error",
        *picture,
        "-preset",
        "ultrafast",
        str(tmp_path / "inputs" / "input.mp4"),
    ]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return tmp_path


def shell(whole: Whole, place: Path, command: str, job_id: str = "") -> str:
    """What a real curl says in that folder, at this platform's address."""
    command = command.replace(ADDRESS, f"http://localhost:{whole.port}").replace("<job_id>", job_id)
    silent = command.replace("curl", "curl -s", 1)
    done = subprocess.run(
        ["sh", "-euc", silent], env={"PATH": os.environ["PATH"]}, cwd=place, capture_output=True, check=True
    )
    return done.stdout.decode()


def state(whole: Whole, place: Path, job_id: str) -> str:
    return str(json.loads(shell(whole, place, STATUS, job_id))["status"])


def test_the_demo_runs_as_written(whole: Whole, place: Path, shared_data: Path) -> None:
    uploaded = json.loads(shell(whole, place, UPLOAD))
    job_id = uploaded["job_id"]
    assert uploaded["status"] == state(whole, place, job_id) == "uploaded"
    assert json.loads(shell(whole, place, RUN, job_id))["output_type"] == "subtitle"
    until(lambda: state(whole, place, job_id) == "completed", within=120)
    shell(whole, place, RESULT, job_id)
    said = (place / "result").read_text()
    words = [word for line in said.splitlines() if "-->" not in line and not line.isdecimal() for word in plain(line)]
    assert words == plain((shared_data / "en" / "arctic_a0024.txt").read_text())
    counted = json.loads(shell(whole, place, METRICS))
    assert counted["jobs"]["completed"] >= 1
    assert [line["engine"] for line in counted["durations"]] == ["whisper"]


def test_a_video_comes_of_the_same_upload_without_hearing_it_again(whole: Whole, place: Path) -> None:
    job_id = json.loads(shell(whole, place, UPLOAD))["job_id"]
    shell(whole, place, RUN, job_id)
    until(lambda: state(whole, place, job_id) == "completed", within=120)
    heard = whole.status(job_id)["completed_at"]
    shell(whole, place, RUN.replace('"subtitle"', '"video","mode":"track"'), job_id)
    until(lambda: state(whole, place, job_id) == "completed", within=120)
    shell(whole, place, RESULT, job_id)
    assert "-->" in subtitles_of((place / "result").read_bytes(), place)
    assert whole.status(job_id)["completed_at"] == heard


def test_the_how_to_has_the_commands_of_the_demo() -> None:
    blocks = "".join(re.findall(r"^```sh\n(.*?)^```$", HOW_TO, re.DOTALL | re.MULTILINE))
    for command in (UPLOAD, RUN, STATUS, RESULT, METRICS):
        assert command.replace("<job_id>", "JOB_ID") in blocks
