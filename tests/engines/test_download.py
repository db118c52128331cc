"""Weights that are fetched from a hub: here one on loopback, over a line that breaks."""

import os
import threading
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from config.load import load_section
from config.settings import EngineSettings
from domain.errors import EngineFailed, ModelMissing
from domain.transcript import Progress
from engines.contract import DOWNLOAD_STAGE, Engine
from engines.server.models.weights import allowed_weights, remove_stale
from tests.engines.contract_suite import Recording
from tests.engines.harness import engine_server, hear, text_of
from tests.support.hub import Hub

Decode = Callable[[Path], Recording]

REPOSITORY = "Systran/faster-whisper-tiny"


@pytest.fixture
def speech(shared_data: Path, to_wav: Decode) -> Recording:
    return to_wav(shared_data / "en" / "jfk.flac")


async def state_of(engine: Engine, model: str) -> str:
    return next(offer.state for offer in (await engine.report()).models if offer.name == model)


async def test_weights_are_fetched_once_over_a_broken_line_with_progress_and_serve_offline_ever_after(
    micro_model: Path, speech: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engines.hosted.FRESH_SECONDS", 0.0)
    environ = {"WHISPER_MODEL": "tiny", "MODELS_DIR": str(tmp_path / "models"), "WHISPER_DEVICE": "cpu"}
    with Hub(REPOSITORY, micro_model, breaks="model.bin") as hub:
        async with engine_server(HF_ENDPOINT=hub.url, **environ) as server, server.engine("whisper") as engine:
            assert await state_of(engine, "tiny") == "absent"
            states = set()
            fetched = []
            text = []
            async for item in engine.transcribe(speech.path, speech.hearing):
                if isinstance(item, Progress) and item.stage == DOWNLOAD_STAGE:
                    fetched.append(item)
                    states.add(await state_of(engine, "tiny"))
                else:
                    text.append(item)
            assert await state_of(engine, "tiny") == "ready"
    assert text_of(text).startswith("And so, my fellow Americans")
    assert "downloading" in states
    assert hub.breaks is None, "the line did break"
    (resumed,) = hub.ranges
    assert int(resumed.removeprefix("bytes=").removesuffix("-")) > 0, "and the download went on where it was"
    done = [progress.done for progress in fetched]
    assert done == sorted(done)
    assert len(done) > 2
    assert fetched[-1].done == fetched[-1].total == sum(file.stat().st_size for file in micro_model.iterdir())

    environ |= {"MODELS_OFFLINE": "1", "HF_ENDPOINT": hub.url}
    async with engine_server(**environ) as server, server.engine("whisper") as engine:
        heard = await hear(engine, speech.path, speech.hearing)
    assert heard == text


async def test_a_download_goes_on_when_the_job_that_began_it_is_given_up(
    micro_model: Path, speech: Recording, tmp_path: Path
) -> None:
    goes_on = threading.Event()
    with Hub(REPOSITORY, micro_model, breaks="model.bin", goes_on=goes_on) as hub:
        environ = {"HF_ENDPOINT": hub.url, "WHISPER_MODEL": "tiny", "MODELS_DIR": str(tmp_path)}
        async with engine_server(**environ) as server, server.engine("whisper") as engine:
            async with aclosing(engine.transcribe(speech.path, speech.hearing)) as heard:
                async for item in heard:
                    assert isinstance(item, Progress)
                    if item.done > 1 << 20:  # some of the weights, which then stand still
                        break
            goes_on.set()
            assert text_of(await hear(engine, speech.path, speech.hearing))
            assert await server.loads("whisper") == 1
    assert hub.served.count("model.bin") == 1


def test_what_a_killed_download_left_is_removed_once_nobody_can_be_writing_it(tmp_path: Path) -> None:
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    left, fresh, whole = blobs / "a.1.incomplete", blobs / "b.2.incomplete", blobs / "c"
    for file in (left, fresh, whole):
        file.touch()
    for file in (left, whole):
        os.utime(file, (0, 0))
    remove_stale(tmp_path)
    assert sorted(blobs.iterdir()) == [fresh, whole]


async def test_offline_without_weights_says_what_to_do(speech: Recording, tmp_path: Path) -> None:
    environ = {"MODELS_OFFLINE": "1", "MODELS_DIR": str(tmp_path)}
    async with engine_server(**environ) as server, server.engine("whisper") as engine:
        with pytest.raises(ModelMissing, match="MODELS_DIR") as caught:
            await hear(engine, speech.path, speech.hearing)
    assert not caught.value.retryable


async def test_a_hub_that_is_away_is_worth_another_try_and_one_that_lacks_the_model_is_not(
    micro_model: Path, speech: Recording, tmp_path: Path
) -> None:
    with Hub("somebody/else", micro_model) as hub:
        environ = {"HF_ENDPOINT": hub.url, "MODELS_DIR": str(tmp_path)}
        async with engine_server(**environ) as server, server.engine("whisper") as engine:
            with pytest.raises(ModelMissing, match="no such model") as caught:
                await hear(engine, speech.path, speech.hearing)
            assert not caught.value.retryable
    async with engine_server(**environ) as server, server.engine("whisper") as engine:
        with pytest.raises(EngineFailed, match="check the network") as failed:
            await hear(engine, speech.path, speech.hearing)
        assert failed.value.retryable


def test_a_model_is_a_size_a_folder_or_a_repository_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    named = {"WHISPER_MODEL": str(tmp_path / "mine"), "WHISPER_AVAILABLE_MODELS": "tiny,org/own,nonsense"}
    settings = load_section(EngineSettings, {**named, "MODELS_DIR": str(tmp_path)})
    reports = {name: weights.report(settings) for name, weights in allowed_weights(settings).items()}
    assert list(reports) == ["tiny", "org/own", "nonsense", "mine"]
    assert {report.state for report in reports.values()} == {"absent"}
    assert "CTranslate2" in (reports["mine"].note or "")
    assert "WHISPER_MODEL" in (reports["nonsense"].note or "")
