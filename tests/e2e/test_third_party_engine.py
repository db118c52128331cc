"""Two engines that strangers wrote, by the guide and nothing else, in a fresh environment with an untouched Escriba."""

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path

import httpx
import imageio_ffmpeg
import numpy as np
import pytest

from config.load import load_settings
from domain.errors import EngineFailed
from engines.contract import Hearing
from tests.conftest import ROOT, require_services
from tests.engines.harness import INFRASTRUCTURE, hear
from tests.support.servers import free_port
from tests.support.transcription_server import KEY, SpeechService, speech_service
from tests.support.waiting import until
from tests.support.whole import Whole, whole_platform

GUIDE = (ROOT / "docs/howto/add-an-engine.md").read_text()
IN_GUIDE = dict(re.findall(r"^`examples/(\S+)`\n\n```\w+\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL))
"""The files that the guide shows, by their path below examples/."""

STRANGERS = ("speech-service", "touch-tones")

PRESSED = "4711*0#29A"
KEYPAD_HZ = {
    key: (row, column)
    for row, keys in zip((697, 770, 852, 941), ("123A", "456B", "789C", "*0#D"), strict=True)
    for column, key in zip((1209, 1336, 1477, 1633), keys, strict=True)
}
TURN_SECONDS = 5.0
"""A turn in samples/consultation.flac, with the pauses around it."""


def test_the_guide_shows_the_examples_as_they_are() -> None:
    examples = {
        str(path.relative_to(ROOT / "examples")): path.read_text()
        for path in (ROOT / "examples").glob("engine-*/*")
        if path.suffix in (".py", ".toml")
    }
    assert examples == IN_GUIDE


@pytest.mark.parametrize("path", [path for path in IN_GUIDE if path.endswith(".py") and "test_" not in path])
def test_an_example_keeps_to_what_engines_may_import(path: str) -> None:
    ours = r"^from ((?:config|domain|engines)\S*) import"
    allowed = re.search(r"^An engine may import(.*?);", GUIDE, re.MULTILINE | re.DOTALL)
    assert allowed is not None
    patterns = [name.replace(".", r"\.").replace("*", r"\w+") for name in re.findall(r"`(\S+?)`", allowed[1])]
    found = re.findall(ours, IN_GUIDE[path], re.MULTILINE)
    assert found
    assert [name for name in found if not any(re.fullmatch(pattern, name) for pattern in patterns)] == []


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Escriba as it is now, in an environment of its own with all that the lock names; the guide's files beside it."""
    checkout = tmp_path_factory.mktemp("stranger") / "escriba"
    shutil.copytree(ROOT, checkout, ignore=shutil.ignore_patterns(".*", "__pycache__", "examples"))
    _install_locked(checkout)
    for path, text in IN_GUIDE.items():
        target = checkout.parent / path
        target.parent.mkdir(exist_ok=True)
        target.write_text(text)
    yield checkout
    shutil.rmtree(checkout / ".venv")  # a gigabyte, where uv had to copy


def _install_locked(checkout: Path) -> None:
    """As scripts/setup.sh does, from what uv has kept of the last time that it did; by that script where it has not."""
    python, uv = shlex.quote(sys.executable), shlex.quote(str(Path(sys.executable).parent / "uv"))
    steps = (
        f"{uv} venv --python {python} .venv",
        f"{uv} pip install -p .venv --require-hashes --no-deps -r requirements/dev.txt",
        f"{uv} pip install -p .venv --no-deps --no-build-isolation -e .",
        f"ln -s {uv} .venv/bin/uv",
    )
    if all(run(step, checkout).returncode == 0 for step in steps):
        return
    shutil.rmtree(checkout / ".venv", ignore_errors=True)
    found = run("sh scripts/setup.sh dev", checkout, UV_OFFLINE="0")
    if found.returncode != 0 and not require_services():
        pytest.skip("needs a package index, as uv has kept too little for an environment")
    assert found.returncode == 0, found.stderr


def run(command: str, checkout: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """What a person types in the checkout, with no network."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        command,
        shell=True,
        cwd=checkout,
        env={**kept, "UV_OFFLINE": "1", **environ},
        capture_output=True,
        text=True,
        timeout=600,
    )


def run_from_guide(beginning: str, checkout: Path, **environ: str) -> None:
    """The guide's commands that begin so, to the letter."""
    commands = re.findall(rf"^{re.escape(beginning)}.*$", GUIDE, re.MULTILINE)
    assert commands
    for command in commands:
        found = run(command, checkout, **environ)
        assert found.returncode == 0, f"{command}\n{found.stdout}\n{found.stderr}"


@pytest.fixture(scope="module")
def files_before(checkout: Path) -> dict[str, str]:
    return fingerprint(checkout)


@pytest.fixture(scope="module")
def service() -> Iterator[SpeechService]:
    with speech_service() as service:
        yield service


@pytest.fixture(scope="module")
def platform(
    checkout: Path, files_before: dict[str, str], service: SpeechService, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Whole]:
    """`escriba up` of that environment, with both packages in it."""
    run_from_guide(".venv/bin/uv pip install", checkout)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.support.whole.ESCRIBA", checkout / ".venv/bin/escriba")
        with whole_platform(tmp_path_factory.mktemp("home"), **environ_of(service)) as platform:
            yield platform


def environ_of(service: SpeechService) -> dict[str, str]:
    return {"SPEECH_SERVICE_URL": service.url, "SPEECH_SERVICE_KEY": KEY}


def fingerprint(checkout: Path) -> dict[str, str]:
    """All of Escriba, without its environment and what tools keep for themselves."""
    own = (path for path in checkout.rglob("*") if path.is_file())
    parts = {path: path.relative_to(checkout).parts for path in own}
    return {
        "/".join(named): hashlib.sha256(path.read_bytes()).hexdigest()
        for path, named in parts.items()
        if not any(part.startswith(".") or part == "__pycache__" for part in named)
    }


def write_speech(target: Path, *, seconds: float) -> Path:
    """The sample from its start, as engines get it."""
    cut = ["-i", str(ROOT / "samples/consultation.flac"), "-t", str(seconds), "-ac", "1", "-ar", "16000"]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *cut, str(target)], check=True)
    return target


def write_presses(target: Path) -> Path:
    """PRESSED on a telephone: the nth key from n + 0.5 to n + 0.6 seconds, in noise 20 dB below."""
    rate_hz = 16_000
    samples = np.random.default_rng(1).normal(0, 0.02, rate_hz * (len(PRESSED) + 1))
    times = np.arange(rate_hz // 10) / rate_hz
    for number, key in enumerate(PRESSED):
        start = rate_hz * number + rate_hz // 2
        samples[start : start + times.size] += sum(0.2 * np.sin(2 * np.pi * hz * times) for hz in KEYPAD_HZ[key])
    with wave.open(str(target), "wb") as file:
        file.setparams((1, 2, rate_hz, 0, "NONE", ""))
        file.writeframes((samples * 32_767).astype("<i2").tobytes())
    return target


def engines(platform: Whole) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = httpx.get(f"{platform.url}/engines", timeout=60).json()["engines"]
    return found


def available(platform: Whole) -> set[str]:
    return {name for name, engine in engines(platform).items() if engine["available"]}


def transcribe(platform: Whole, recording: Path, **fields: str) -> dict[str, object]:
    job_id = platform.submit(recording, **fields)
    until(lambda: platform.status(job_id)["status"] in ("completed", "failed"))
    status = platform.status(job_id)
    assert status["status"] == "completed", status
    return platform.result(job_id)


def plain(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


@pytest.mark.parametrize("engine", STRANGERS)
def test_a_stranger_s_engine_is_listed_with_what_it_can_do(platform: Whole, engine: str) -> None:
    listed = engines(platform)[engine]
    assert listed["available"] is True, listed
    assert listed["description"]
    assert listed["options"]


def test_a_remote_service_transcribes_word_for_word(platform: Whole, service: SpeechService, tmp_path: Path) -> None:
    recording = write_speech(tmp_path / "two-turns.wav", seconds=2 * TURN_SECONDS)
    options = {"prompt": "A consultation."}
    result = transcribe(platform, recording, engine="speech-service", options=json.dumps(options))
    turns = (ROOT / "samples/consultation.txt").read_text().splitlines()[:2]
    assert plain(str(result["text"])) == plain(" ".join(turn.split(maxsplit=3)[3] for turn in turns))
    assert result["engine"] == "speech-service"
    assert service.asked[-1].items() >= {"language": "en", **options}.items()


def test_a_local_model_hears_what_was_pressed_and_when(platform: Whole, tmp_path: Path) -> None:
    result = transcribe(platform, write_presses(tmp_path / "call.wav"), engine="touch-tones")
    assert result["text"] == " ".join(PRESSED)
    segments = result["segments"]
    assert isinstance(segments, list)
    assert [segment["start"] for segment in segments] == pytest.approx([n + 0.5 for n in range(len(PRESSED))], abs=0.02)
    assert platform.processes("engine child"), "it was heard in a child of the engine server"


def test_to_a_local_model_that_knows_keys_speech_is_nothing(platform: Whole, tmp_path: Path) -> None:
    recording = write_speech(tmp_path / "a-turn.wav", seconds=TURN_SECONDS)
    assert transcribe(platform, recording, engine="touch-tones")["text"] == ""


@pytest.mark.parametrize("fault", ["not there", "asks for another key"])
async def test_a_service_that_cannot_be_used_says_so_and_its_jobs_may_try_again(
    fault: str, service: SpeechService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT / "examples/engine-remote-service")
    from speech_service import SpeechService as Adapter  # type: ignore[import-not-found]  # as installed by the reader

    monkeypatch.setenv("SPEECH_SERVICE_URL", f"http://127.0.0.1:{free_port()}" if fault == "not there" else service.url)
    monkeypatch.setenv("SPEECH_SERVICE_KEY", "another")
    adapter = Adapter(load_settings(INFRASTRUCTURE))
    try:
        report = await adapter.report()
        assert not report.available
        assert "SPEECH_SERVICE_KEY" in report.reason
        with pytest.raises(EngineFailed) as caught:
            await hear(adapter, write_presses(tmp_path / "call.wav"), Hearing(audio_seconds=1))
        assert caught.value.retryable
    finally:
        await adapter.close()


def test_both_keep_what_every_engine_promises(platform: Whole, checkout: Path, service: SpeechService) -> None:
    write_speech(checkout.parent / "engine-remote-service/speech.wav", seconds=TURN_SECONDS)
    write_presses(checkout.parent / "engine-local-model/speech.wav")
    run_from_guide(".venv/bin/pytest", checkout, **environ_of(service))


def test_no_file_of_escriba_has_changed(platform: Whole, checkout: Path, files_before: dict[str, str]) -> None:
    assert "engines/registry.py" in files_before
    assert fingerprint(checkout) == files_before


def test_taken_away_again_nobody_is_offered_them_and_the_others_work(
    platform: Whole, checkout: Path, tmp_path: Path
) -> None:
    """The last test here, as the packages do not come back. That an engine was there once may still be listed."""
    run_from_guide(".venv/bin/uv pip uninstall", checkout)
    assert platform.stop() == 0
    platform.start()
    until(lambda: available(platform) & {"sphinx", *STRANGERS} == {"sphinx"})
    result = transcribe(platform, write_speech(tmp_path / "a-turn.wav", seconds=TURN_SECONDS), engine="auto")
    assert result["engine"] == "sphinx"
