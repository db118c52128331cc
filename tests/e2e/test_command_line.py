"""`escriba` as a person types it, against a running platform."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.whole import ESCRIBA, Whole

SAMPLE = ROOT / "samples" / "consultation.flac"


def escriba(whole: Whole, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environ = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(whole.home),
        "ESCRIBA_URL": whole.url,
        "ESCRIBA_HOME": str(whole.home),
    }
    return subprocess.run(
        [ESCRIBA, *arguments], env=environ, cwd=whole.home, capture_output=True, text=True, timeout=300
    )


def test_a_recording_is_transcribed_to_standard_output(whole: Whole, shared_data: Path) -> None:
    found = escriba(whole, "transcribe", "-e", "sphinx", shared_data / "en" / "arctic_a0024.wav")
    assert found.returncode == 0, found.stderr
    assert len(found.stdout.split()) >= 3
    assert "completed" in found.stderr


def test_subtitles_of_several_recordings_go_into_a_folder(whole: Whole, shared_data: Path, tmp_path: Path) -> None:
    names = ("arctic_a0024.wav", "jfk.flac")
    recordings = [shared_data / "en" / name for name in names]
    found = escriba(whole, "transcribe", "-e", "sphinx", "-f", "srt", "-o", tmp_path, *recordings)
    assert found.returncode == 0, found.stderr
    for name in names:
        assert (tmp_path / f"{name}.srt").read_text().startswith("1\n00:00:")


def test_a_transcript_as_json_is_the_api_s(whole: Whole, shared_data: Path) -> None:
    found = escriba(whole, "transcribe", "-e", "sphinx", "-f", "json", shared_data / "en" / "arctic_a0024.wav")
    assert json.loads(found.stdout)["engine"] == "sphinx"


def test_a_bad_recording_among_good_ones_fails_alone(whole: Whole, shared_data: Path) -> None:
    bad, empty = shared_data / "bad" / "text_named.mp3", shared_data / "bad" / "empty.wav"
    good = shared_data / "en" / "arctic_a0024.wav"
    found = escriba(whole, "transcribe", "-e", "sphinx", bad, empty, good)
    assert found.returncode == 1
    assert len(found.stdout.split()) >= 3
    assert "media_empty" in found.stderr


def test_the_engines_are_shown(whole: Whole) -> None:
    found = escriba(whole, "engines")
    assert found.returncode == 0
    assert "sphinx" in found.stdout
    assert "RIVA_URI" in found.stdout


@pytest.mark.parametrize("command", ["transcribe", "engines"])
def test_a_platform_that_is_not_there_is_named(whole: Whole, command: str) -> None:
    more = [SAMPLE] if command == "transcribe" else []
    found = escriba(whole, command, "--url", "http://127.0.0.1:9", *more)
    assert found.returncode == 3
    assert "http://127.0.0.1:9" in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["transcribe", "--help"], ["up", "--help"], ["--version"]])
def test_help_teaches(whole: Whole, arguments: list[str]) -> None:
    found = escriba(whole, *arguments)
    assert found.returncode == 0
    assert "escriba" in found.stdout


def test_a_misspelt_setting_stops_the_start_and_is_named(whole: Whole, tmp_path: Path) -> None:
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "WORKERS_COUT": "4"}
    found = subprocess.run([ESCRIBA, "up"], env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert found.returncode == 2
    assert "WORKERS_COUT" in found.stderr
    assert "WORKERS_COUNT" in found.stderr
    assert "Traceback" not in found.stderr


def test_a_network_is_served_only_when_that_is_said(whole: Whole, tmp_path: Path) -> None:
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "API_HOST": "0.0.0.0"}
    found = subprocess.run([ESCRIBA, "up"], env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert found.returncode == 2
    assert "INSECURE_NO_AUTH" in found.stderr


def test_accounts_are_seen_to_in_the_database_of_the_platform_that_runs(whole: Whole) -> None:
    assert escriba(whole, "users", "invite").returncode == 0
    found = escriba(whole, "users", "disable", "nobody@example.org")
    assert (found.returncode, "user_not_found" in found.stderr) == (1, True)
