"""WhisperX on real libraries and weights in the real formats, through a real engine server."""

from pathlib import Path
from typing import Any

import pytest

from domain.capabilities import Term
from domain.errors import EngineFailed
from domain.transcript import Detected, Progress, TermsUsed
from engines.contract import DOWNLOAD_STAGE, Engine, Hearing
from tests.engines.contract_suite import EngineContract, Recording
from tests.engines.harness import hear, text_of
from tests.support.hub import Hub
from tests.support.whisperx_engine import STAGES, notices_of, segments_of, stages_of, whisperx_with


class TestWhisperX(EngineContract):
    @pytest.fixture
    def engine(self, whisperx: Engine) -> Engine:
        return whisperx

    @pytest.fixture
    def speech(self, english: Recording) -> Recording:
        return english


async def test_it_hears_what_the_library_hears(whisperx: Engine, english: Recording, library: dict[str, Any]) -> None:
    heard = await hear(whisperx, english.path, english.hearing)
    expected = library["directly"]
    words = [word for segment in segments_of(heard) for word in segment.words]
    assert [item.language for item in heard if isinstance(item, Detected)] == [expected["language"]]
    assert [[word.text, word.start, word.end, word.confidence] for word in words] == expected["words"]
    assert {word.speaker_tag for word in words} == set(range(expected["speakers"]))
    assert not notices_of(heard)


async def test_every_stage_is_told_in_order(whisperx: Engine, english: Recording) -> None:
    heard = await hear(whisperx, english.path, english.hearing)
    assert tuple(stages_of(heard)) == STAGES
    ends = {item.stage: item.done for item in heard if isinstance(item, Progress) and item.done == item.total}
    assert ends == dict.fromkeys(STAGES, pytest.approx(english.seconds))


async def test_without_diarization_nobody_is_told_apart(whisperx: Engine, english: Recording) -> None:
    hearing = english.hearing.model_copy(update={"enable_diarization": False})
    heard = await hear(whisperx, english.path, hearing)
    assert {segment.speaker_tag for segment in segments_of(heard)} == {None}
    assert "diarize" not in stages_of(heard)
    assert not notices_of(heard)


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


def test_a_job_asks_nothing_of_the_network(library: dict[str, Any]) -> None:
    assert library["attempts"] == []
    assert library["notices"] == []
