"""The parts of engine `whisperx` that need no library: following a call, memory, given text, the service's client."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from config.load import load_section
from config.settings import EngineSettings
from domain.errors import EngineOutOfMemory
from domain.transcript import Detected, Heard, Notice, Progress, Segment, StageReached, Word
from engines.hosted import HostedEngines
from engines.server.models.following import TellShare, follow
from engines.server.models.whisperx import WhisperX
from engines.server.models.whisperx_library import Recogniser
from engines.whisperx import WhisperXService
from tests.engines.contract_suite import Recording
from tests.engines.harness import EngineServer, engine_server


def test_a_call_is_followed_to_its_result() -> None:
    def work(tell: TellShare) -> str:
        tell(0.5)
        return "done"

    shares = follow(work)
    assert next(shares) == 0.5
    with pytest.raises(StopIteration) as end:
        next(shares)
    assert end.value.value == "done"


def test_what_a_call_raises_is_raised() -> None:
    def work(_tell: TellShare) -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        next(follow(work))


def test_a_call_that_nobody_follows_any_more_ends_at_its_next_word() -> None:
    taken_for_a_failure = []

    def work(tell: TellShare) -> None:
        try:
            while True:
                tell(0.1)
        except Exception as error:  # as libraries do
            taken_for_a_failure.append(error)

    shares = follow(work)
    next(shares)
    shares.close()
    assert not taken_for_a_failure


class SmallMemory:
    """In place of the real recogniser, as there is no telling when real memory runs out."""

    languages = ("en",)

    def __init__(self, room: int) -> None:
        self.room = room
        self.batches: list[int] = []
        self.tasks: set[str] = set()

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def find_speech(self, _samples: Any, _tell: TellShare) -> list[dict[str, Any]]:
        return [{"start": at / 8, "end": (at + 1) / 8, "segments": [(at / 8, (at + 1) / 8)]} for at in range(8)]

    def hear(
        self, _samples: Any, stretches: list[dict[str, Any]], _code: str, _prompt: str | None, task: str
    ) -> list[dict[str, Any]]:
        self.batches.append(len(stretches))
        self.tasks.add(task)
        if len(stretches) > self.room:
            raise RuntimeError("CUDA failed with error out of memory")
        return [
            {"text": f" {stretch['start']}", "start": stretch["start"], "end": stretch["end"]} for stretch in stretches
        ]


def hear_with(memory: SmallMemory, recording: Recording) -> list[str]:
    return [item.text for item in hear_all(memory, recording, language="en") if isinstance(item, Segment)]


def hear_all(memory: SmallMemory, recording: Recording, **asked: Any) -> list[Heard]:
    settings = load_section(EngineSettings, {"WHISPERX_BATCH_SIZE": "4"})
    model = WhisperX(lambda: memory, settings, "cpu")  # type: ignore[arg-type, return-value]
    model._aligner = NoAligner()  # type: ignore[assignment]
    hearing = recording.hearing.model_copy(update={"enable_diarization": False, **asked})
    return list(model.transcribe(recording.path, hearing))


class NoAligner:
    language = "en"
    alphabet = frozenset[str]()

    def align(self, stretch: Segment, _samples: Any) -> list[Any]:
        return [{"text": stretch.text, "start": stretch.start, "end": stretch.end}]


def no_recogniser() -> Recogniser:
    raise AssertionError("Whisper was opened")


def hear_given(given: StageReached, recording: Recording) -> list[Heard]:
    model = WhisperX(no_recogniser, load_section(EngineSettings, {}), "cpu")
    model._aligner = NoAligner()  # type: ignore[assignment]
    hearing = recording.hearing.model_copy(update={"given": given, "enable_diarization": False})
    return list(model.transcribe(recording.path, hearing))


@pytest.mark.parametrize("stage", ["transcribe", "align", "of_a_stranger"])
def test_whisper_is_not_opened_for_a_text_that_is_given(recording: Recording, stage: str) -> None:
    given = StageReached(stage=stage, language="en", segments=(Segment(start=0, end=1, text="so"),))
    heard = hear_given(given, recording)
    assert [item for item in heard if isinstance(item, Segment)] == [*given.segments]
    assert any(isinstance(item, Progress) for item in heard) == (stage != "align")
    assert hear_given(StageReached(stage=stage), recording) == []


def test_a_segment_too_long_for_the_memory_of_an_aligner_is_not_given_to_it(recording: Recording) -> None:
    long = Segment(start=0, end=600, text="so it was", words=(Word(start=0, end=600, text="so"),))
    heard = hear_given(StageReached(stage="transcribe", language="en", segments=(long,)), recording)
    assert [item for item in heard if isinstance(item, Segment)] == [long]


def test_a_batch_too_large_for_the_memory_is_halved_once_and_nothing_is_lost(recording: Recording) -> None:
    memory = SmallMemory(room=2)
    assert hear_with(memory, recording) == [str(at / 8) for at in range(8)]
    assert memory.batches == [4, 2, 2, 2, 2]


def test_memory_that_is_too_small_for_half_a_batch_has_an_error_of_its_own(recording: Recording) -> None:
    memory = SmallMemory(room=1)
    with pytest.raises(EngineOutOfMemory, match="WHISPERX_BATCH_SIZE") as caught:
        hear_with(memory, recording)
    assert caught.value.retryable
    assert memory.batches == [4, 2]


def test_a_translation_is_english_and_its_words_are_not_aligned(recording: Recording) -> None:
    memory = SmallMemory(room=4)
    heard = hear_all(memory, recording, language="en", options={"task": "translate"})
    assert memory.tasks == {"translate"}
    assert [item.language for item in heard if isinstance(item, Detected)] == ["en"]
    assert [item.code for item in heard if isinstance(item, Notice)] == ["no_word_times"]
    assert [item.stage for item in heard if isinstance(item, Progress) and item.stage == "align"] == []
    assert [item.language for item in heard if isinstance(item, StageReached)] == ["en"]
    hear_all(memory, recording, language="en")
    assert memory.tasks == {"translate", "transcribe"}, "said in any case, as the library keeps the last one"


def test_models_are_found_by_a_look_at_the_disk(tmp_path: Path) -> None:
    values = {"WHISPERX_DEFAULT_MODEL": "small", "MODELS_DIR": str(tmp_path), "WHISPERX_AVAILABLE_MODELS": "tiny"}
    report = WhisperX.report(load_section(EngineSettings, values))
    assert [(model.name, model.state) for model in report.models] == [("tiny", "absent"), ("small", "absent")]
    assert report.default_model == "small"
    assert not report.diarizes
    (tmp_path / "config.yaml").touch()
    assert report.stages == ("vad", "transcribe", "align")
    values["WHISPERX_DIARIZATION_MODEL"] = str(tmp_path)
    report = WhisperX.report(load_section(EngineSettings, values))
    assert report.diarizes
    assert report.stages == ("vad", "transcribe", "align", "diarize")


@pytest.fixture(scope="module")
async def plain_server() -> AsyncIterator[EngineServer]:
    async with engine_server() as server:
        yield server


async def test_an_engine_with_a_server_of_its_own_is_left_to_that(plain_server: EngineServer) -> None:
    settings = plain_server.settings(WHISPERX_SERVICE_URL="http://127.0.0.1:1")
    sources = HostedEngines(settings), WhisperXService(settings)
    offered = [[engine.name for engine in await source.engines()] for source in sources]
    assert "whisperx" not in offered[0]
    assert offered[1] == ["whisperx"]
    for source in sources:
        await source.close()


async def test_the_service_says_where_it_is_and_how_it_is(plain_server: EngineServer) -> None:
    settings = plain_server.settings(WHISPERX_SERVICE_URL=plain_server.url)
    source = WhisperXService(settings)
    (engine,) = await source.engines()
    report = await engine.report()
    assert report.detail["url"] == plain_server.url
    assert report.detail["health"]["status"] == ("ok" if report.available else "unavailable")
    assert {model.name for model in report.models} >= {"tiny", "large-v3"}
    await source.close()


async def test_a_service_that_does_not_answer_is_unavailable_from_the_start(plain_server: EngineServer) -> None:
    source = WhisperXService(plain_server.settings(WHISPERX_SERVICE_URL="http://127.0.0.1:1"))
    (engine,) = await source.engines()
    report = await engine.report()
    assert not report.available
    assert report.detail["health"]["status"] == "unavailable"
    assert "does not answer" in (report.reason or "")
    await source.close()


async def test_without_its_url_there_is_no_service(plain_server: EngineServer) -> None:
    source = WhisperXService(plain_server.settings())
    assert await source.engines() == []
    await source.close()
