"""WhisperX on real libraries and weights in the real formats, through a real engine server."""

import asyncio
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from domain.capabilities import Term
from domain.errors import EngineCrashed, EngineFailed
from domain.transcript import Detected, Heard, Notice, Progress, Segment, TermsUsed
from engines.contract import DOWNLOAD_STAGE, Engine, Hearing
from tests.engines.contract_suite import EngineContract, Recording
from tests.engines.harness import EngineServer, engine_server, hear, text_of
from tests.support.hub import Hub

Environ = dict[str, str]

STAGES = ("vad", "transcribe", "align", "diarize")


def segments_of(heard: list[Heard]) -> list[Segment]:
    return [item for item in heard if isinstance(item, Segment)]


def notices_of(heard: list[Heard]) -> list[str]:
    return [item.code for item in heard if isinstance(item, Notice)]


@asynccontextmanager
async def whisperx_with(python: Path, environ: Environ, **changed: str) -> AsyncIterator[Engine]:
    """A server of its own, for settings that no other test has."""
    async with engine_server(python=python, **{**environ, **changed}) as server, server.engine("whisperx") as engine:
        yield engine


class TestWhisperX(EngineContract):
    @pytest.fixture
    def engine(self, whisperx: Engine) -> Engine:
        return whisperx

    @pytest.fixture
    def speech(self, english: Recording) -> Recording:
        return english


async def test_it_hears_what_the_library_hears(
    whisperx: Engine, english: Recording, directly: Callable[[str, Path], Any]
) -> None:
    heard = await hear(whisperx, english.path, english.hearing)
    expected = directly("directly", english.path)
    words = [word for segment in segments_of(heard) for word in segment.words]
    assert [item.language for item in heard if isinstance(item, Detected)] == [expected["language"]]
    assert [[word.text, word.start, word.end, word.confidence] for word in words] == expected["words"]
    assert {word.speaker_tag for word in words} == set(range(expected["speakers"]))
    assert not notices_of(heard)


async def test_every_stage_is_told_in_order(whisperx: Engine, english: Recording) -> None:
    heard = await hear(whisperx, english.path, english.hearing)
    told = [item.stage for item in heard if isinstance(item, Progress)]
    assert tuple(dict.fromkeys(told)) == STAGES
    assert [(item.done, item.stage) for item in heard if isinstance(item, Progress) and item.done == item.total] == [
        (pytest.approx(english.seconds), stage) for stage in STAGES
    ]


async def test_without_diarization_nobody_is_told_apart(whisperx: Engine, english: Recording) -> None:
    hearing = english.hearing.model_copy(update={"enable_diarization": False})
    heard = await hear(whisperx, english.path, hearing)
    assert {segment.speaker_tag for segment in segments_of(heard)} == {None}
    assert "diarize" not in [item.stage for item in heard if isinstance(item, Progress)]
    assert not notices_of(heard)


async def test_twenty_jobs_from_two_workers_load_the_model_once(
    whisperx_server: EngineServer, english: Recording
) -> None:
    hearing = english.hearing.model_copy(update={"enable_diarization": False})
    async with whisperx_server.engine("whisperx") as one, whisperx_server.engine("whisperx") as other:
        await hear(one, english.path, hearing)
        before = await whisperx_server.loads("whisperx")
        texts = await asyncio.gather(*(hear(worker, english.path, hearing) for worker in [one, other] * 10))
    assert await whisperx_server.loads("whisperx") == before
    assert len({text_of(heard) for heard in texts}) == 1


@pytest.mark.parametrize("stage", STAGES)
async def test_a_child_killed_in_a_stage_fails_its_job_only(
    whisperx_server: EngineServer, whisperx: Engine, english: Recording, stage: str
) -> None:
    whole = await hear(whisperx, english.path, english.hearing)
    async with aclosing(whisperx.transcribe(english.path, english.hearing)) as heard:
        await until(heard, stage)
        os.kill(await whisperx_server.pid("whisperx"), signal.SIGKILL)
        with pytest.raises(EngineCrashed) as caught:
            [item async for item in heard]
    assert caught.value.retryable
    assert await hear(whisperx, english.path, english.hearing) == whole


@pytest.mark.parametrize("stage", STAGES)
async def test_a_job_cancelled_in_a_stage_leaves_the_next_unharmed(
    whisperx: Engine, english: Recording, stage: str
) -> None:
    whole = await hear(whisperx, english.path, english.hearing)
    async with aclosing(whisperx.transcribe(english.path, english.hearing)) as heard:
        await until(heard, stage)
    assert await hear(whisperx, english.path, english.hearing) == whole


async def until(heard: AsyncIterator[Heard], stage: str) -> None:
    """Read up to the first word of `stage`; the engine is busy with it, or with what comes after."""
    async for item in heard:
        if isinstance(item, Progress) and item.stage == stage:
            return
    raise AssertionError(f"there was no stage {stage}")


async def test_a_language_without_an_aligner_keeps_its_text(whisperx: Engine, spanish: Recording) -> None:
    heard = await hear(whisperx, spanish.path, spanish.hearing)
    assert [item.language for item in heard if isinstance(item, Detected)] == ["es"]
    assert notices_of(heard) == ["alignment_unavailable"]
    assert text_of(heard)
    assert [segment.words for segment in segments_of(heard)] == [()]
    assert {segment.speaker_tag for segment in segments_of(heard)} == {0}, "speakers are told apart all the same"


async def test_a_language_is_taken_as_asked_for(whisperx: Engine, english: Recording) -> None:
    for tag in ("en", "en-US"):
        heard = await hear(whisperx, english.path, english.hearing.model_copy(update={"language": tag}))
        assert not [item for item in heard if isinstance(item, Detected)]
        assert not notices_of(heard)
    with pytest.raises(EngineFailed, match="tlh"):
        await hear(whisperx, english.path, english.hearing.model_copy(update={"language": "tlh"}))


async def test_terms_reach_the_model_and_are_accounted_for(whisperx: Engine, english: Recording) -> None:
    plain = await hear(whisperx, english.path, english.hearing)
    terms = (Term(text="Boaz"), Term(text="never", boost=-5))
    heard = await hear(whisperx, english.path, english.hearing.model_copy(update={"terms": terms}))
    (used,) = [item for item in heard if isinstance(item, TermsUsed)]
    assert used.used == ("Boaz",)
    assert [term.text for term in used.left_out] == ["never"]
    assert text_of(heard) != text_of(plain), "a network that memorised its answers stumbles over a prompt"
    assert await hear(whisperx, english.path, english.hearing) == plain, "the next job has no vocabulary"


async def test_options_reach_the_model(whisperx: Engine, english: Recording) -> None:
    plain = await hear(whisperx, english.path, english.hearing)
    for options in ({"initial_prompt": "Boaz"}, {"hotwords": "Boaz, Ruth"}):
        heard = await hear(whisperx, english.path, english.hearing.model_copy(update={"options": options}))
        assert text_of(heard) != text_of(plain)
    long = {"initial_prompt": "Boaz and Ruth " * 200}
    assert "prompt_shortened" in notices_of(
        await hear(whisperx, english.path, english.hearing.model_copy(update={"options": long}))
    )


async def test_diarization_that_fails_leaves_the_transcript(whisperx: Engine, english: Recording) -> None:
    whole = await hear(whisperx, english.path, english.hearing)
    impossible = english.hearing.model_copy(update={"min_speakers": 3, "max_speakers": 2})
    heard = await hear(whisperx, english.path, impossible)
    assert notices_of(heard) == ["diarization_failed"]
    assert text_of(heard) == text_of(whole)
    assert {word.speaker_tag for segment in segments_of(heard) for word in segment.words} == {None}


async def test_models_that_cannot_be_opened_leave_the_transcript(
    whisperx: Engine,
    whisperx_python: Path,
    environ: Environ,
    diarization_model: Path,
    english: Recording,
    tmp_path: Path,
) -> None:
    broken = shutil.copytree(diarization_model, tmp_path / "diarization")
    (broken / "segmentation" / "pytorch_model.bin").write_bytes(b"no checkpoint")
    (tmp_path / "aligner").mkdir()
    changed = {"WHISPERX_DIARIZATION_MODEL": str(broken), "WHISPERX_ALIGN_MODELS": f"en={tmp_path / 'aligner'}"}
    whole = await hear(whisperx, english.path, english.hearing)
    async with whisperx_with(whisperx_python, environ, **changed) as engine:
        heard = await hear(engine, english.path, english.hearing)
    assert notices_of(heard) == ["alignment_unavailable", "diarization_unavailable"]
    assert text_of(heard) == text_of(whole)


async def test_alignment_that_fails_leaves_the_transcript(
    whisperx: Engine, whisperx_python: Path, environ: Environ, aligner: Path, english: Recording, tmp_path: Path
) -> None:
    broken = shutil.copytree(aligner, tmp_path / "aligner")
    letters = json.loads((broken / "vocab.json").read_text())
    (broken / "vocab.json").write_text(json.dumps({letter: at + 1000 for letter, at in letters.items()}))
    whole = await hear(whisperx, english.path, english.hearing)
    changed = {"WHISPERX_ALIGN_MODELS": f"en={broken}", "WHISPERX_DIARIZATION_MODEL": str(tmp_path / "nowhere")}
    async with whisperx_with(whisperx_python, environ, **changed) as engine:
        assert not (await engine.report()).diarizes
        heard = await hear(engine, english.path, english.hearing)
    assert notices_of(heard) == ["alignment_failed", "diarization_unavailable"]
    assert text_of(heard) == text_of(whole)


async def test_models_go_by_names_and_no_request_can_name_a_path(
    whisperx: Engine, english: Recording, micro_model: Path
) -> None:
    report = await whisperx.report()
    assert report.default_model == micro_model.name
    assert report.ready
    assert report.diarizes
    with pytest.raises(EngineFailed, match="no such model"):
        await hear(whisperx, english.path, Hearing(audio_seconds=1, model=str(micro_model)))


async def test_weights_are_fetched_once_with_progress(
    whisperx_python: Path, micro_model: Path, english: Recording, tmp_path: Path
) -> None:
    environ = {"WHISPERX_DEFAULT_MODEL": "tiny", "MODELS_DIR": str(tmp_path), "WHISPER_DEVICE": "cpu"}
    hearing = english.hearing.model_copy(update={"language": "yo", "enable_diarization": False})
    with Hub("Systran/faster-whisper-tiny", micro_model) as hub:
        changed = {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1"}
        async with whisperx_with(whisperx_python, environ, **changed) as engine:
            heard = await hear(engine, english.path, hearing)
    fetched = [item.done for item in heard if isinstance(item, Progress) and item.stage == DOWNLOAD_STAGE]
    assert fetched == sorted(fetched)
    assert len(fetched) > 2
    assert fetched[-1] >= (micro_model / "model.bin").stat().st_size
    assert text_of(heard)
    assert notices_of(heard) == ["alignment_unavailable"], "nobody has an aligner for Yoruba"


def test_a_job_asks_nothing_of_the_network(directly: Callable[[str, Path], Any], english: Recording) -> None:
    assert directly("watched", english.path) == {"attempts": [], "notices": []}
