"""What a stage of WhisperX has reached is kept, given again, and lost to no failure of another stage."""

import asyncio
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import pytest

from domain.errors import EngineCrashed
from domain.transcript import Detected, Heard, Segment, StageReached, Word
from engines.contract import Engine, Hearing
from engines.server.memory import resident_bytes
from tests.engines.contract_suite import Recording
from tests.engines.harness import EngineServer, engine_server, gone, hear, text_of
from tests.support.whisperx_engine import (
    STAGES,
    Environ,
    Models,
    notices_of,
    reached_in,
    segments_of,
    stages_of,
    until,
)

Decode = Callable[[Path], Recording]

MIB = 1 << 20


def without_speakers(segments: list[Segment]) -> tuple[Segment, ...]:
    """Cut where the speaker changed, and no trace else."""
    silent = {"speaker_tag": None}
    return tuple(
        segment.model_copy(update={**silent, "words": tuple(word.model_copy(update=silent) for word in segment.words)})
        for segment in segments
    )


def words_of(segments: tuple[Segment, ...]) -> list[Word]:
    return [word for segment in segments for word in segment.words]


@pytest.fixture(scope="module")
async def whole(whisperx: Engine, english: Recording) -> list[Heard]:
    """The English recording, through all stages."""
    return await hear(whisperx, english.path, english.hearing)


async def test_what_a_stage_has_reached_is_told_behind_it(whole: list[Heard]) -> None:
    heard, aligned = reached_in(whole)
    assert [(each.stage, each.language) for each in (heard, aligned)] == [("transcribe", "en"), ("align", "en")]
    assert " ".join(segment.text for segment in heard.segments) == text_of(whole)
    assert words_of(heard.segments) == []
    assert words_of(aligned.segments) == words_of(without_speakers(segments_of(whole)))
    followed = [stages_of(whole[whole.index(each) :]) for each in (heard, aligned)]
    assert followed == [["align", "diarize"], ["diarize"]]


async def test_a_stage_that_none_follows_or_that_took_no_work_is_not_kept(
    whisperx: Engine, english: Recording, spanish: Recording
) -> None:
    alone = english.hearing.model_copy(update={"enable_diarization": False})
    assert [each.stage for each in reached_in(await hear(whisperx, english.path, alone))] == ["transcribe"]
    unaligned = await hear(whisperx, spanish.path, spanish.hearing)
    assert [(each.stage, each.language) for each in reached_in(unaligned)] == [("transcribe", "es")]


@pytest.mark.parametrize("stage", ["transcribe", "align"])
async def test_a_job_that_is_given_a_stage_begins_behind_it(
    whisperx: Engine, english: Recording, whole: list[Heard], stage: str
) -> None:
    (given,) = [each for each in reached_in(whole) if each.stage == stage]
    heard = await hear(whisperx, english.path, english.hearing.model_copy(update={"given": given}))
    assert stages_of(heard) == [*STAGES[STAGES.index(stage) + 1 :]]
    assert segments_of(heard) == segments_of(whole)
    assert not [item for item in heard if isinstance(item, Detected)]
    assert reached_in(heard) == reached_in(whole)[STAGES.index(stage) :]


async def test_the_text_of_another_engine_is_aligned_word_for_word(
    whisperx: Engine, english: Recording, whole: list[Heard]
) -> None:
    text = text_of(whole)
    words = tuple(Word(start=at / 10, end=at / 10, text=word) for at, word in enumerate(text.split()))
    given = StageReached(
        stage="heard_elsewhere",
        language="en-US",
        segments=(Segment(start=0, end=english.seconds, text=text, confidence=0.5, words=words),),
    )
    hearing = english.hearing.model_copy(update={"given": given, "enable_diarization": False})
    heard = await hear(whisperx, english.path, hearing)
    assert stages_of(heard) == ["align"]
    assert text_of(heard) == text
    assert [segment.confidence for segment in segments_of(heard)] == [0.5] * len(segments_of(heard))
    aligned = words_of(tuple(segments_of(heard)))
    assert [word.text for word in aligned] == text.split()
    assert all(word.confidence is not None and word.end > word.start for word in aligned)


async def test_the_text_of_another_engine_stays_as_it_is_where_it_cannot_be_aligned(
    whisperx: Engine, spanish: Recording
) -> None:
    words = (Word(start=0.5, end=1, text="diez"), Word(start=1, end=1.5, text="miligramos", confidence=0.3))
    given = StageReached(
        stage="transcribe", language="es", segments=(Segment(start=0.2, end=2, text="10 mg", words=words),)
    )
    for stage, notices in (("transcribe", ["alignment_unavailable"]), ("align", [])):
        kept = given.model_copy(update={"stage": stage})
        hearing = spanish.hearing.model_copy(update={"given": kept, "enable_diarization": False})
        heard = await hear(whisperx, spanish.path, hearing)
        assert segments_of(heard) == [*given.segments]
        assert notices_of(heard) == notices


async def test_diarization_that_fails_leaves_the_transcript_and_can_be_done_alone(
    whisperx: Engine, english: Recording, whole: list[Heard]
) -> None:
    impossible = english.hearing.model_copy(update={"min_speakers": 3, "max_speakers": 2})
    heard = await hear(whisperx, english.path, impossible)
    assert notices_of(heard) == ["diarization_failed"]
    assert text_of(heard) == text_of(whole)
    assert {word.speaker_tag for word in words_of(tuple(segments_of(heard)))} == {None}
    given = StageReached(stage="align", language="en", segments=without_speakers(segments_of(heard)))
    again = await hear(whisperx, english.path, english.hearing.model_copy(update={"given": given}))
    assert stages_of(again) == ["diarize"]
    assert segments_of(again) == segments_of(whole)
    assert {segment.speaker_tag for segment in segments_of(again)} != {None}


async def test_so_many_speak_as_are_asked_for(whisperx: Engine, to_wav: Decode, shared_data: Path) -> None:
    speech = to_wav(shared_data / "en" / "jfk.flac")  # long enough for three
    words = tuple(Word(start=at, end=at + 1, text=f"word{at}", confidence=0.5) for at in range(11))
    text = " ".join(word.text for word in words)
    given = StageReached(stage="align", segments=(Segment(start=0, end=11, text=text, words=words),))
    heard = await hear(whisperx, speech.path, speech.hearing.model_copy(update={"given": given, "num_speakers": 3}))
    assert {segment.speaker_tag for segment in segments_of(heard)} == {0, 1, 2}
    assert words_of(without_speakers(segments_of(heard))) == [*words]
    assert text_of(heard) == text


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


@pytest.fixture(params=STAGES)
def stage(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@dataclass(frozen=True)
class Busy:
    """A recording with which a stage is busy for long enough to be caught at it, and all that is heard in it."""

    recording: Recording
    hearing: Hearing
    heard: list[Heard]


@pytest.fixture(scope="module")
async def busy_until_aligned(whisperx: Engine, longer: Recording) -> Busy:
    hearing = longer.hearing.model_copy(update={"enable_diarization": False})
    return Busy(longer, hearing, await hear(whisperx, longer.path, hearing))


@pytest.fixture
def busy(stage: str, busy_until_aligned: Busy, english: Recording, whole: list[Heard]) -> Busy:
    """Diarization takes many times longer than the other stages."""
    return Busy(english, english.hearing, whole) if stage == "diarize" else busy_until_aligned


async def test_a_child_killed_in_a_stage_fails_its_job_and_a_retry_begins_behind_the_stage_before(
    whisperx_server: EngineServer, whisperx: Engine, english: Recording, whole: list[Heard], stage: str, busy: Busy
) -> None:
    child = await whisperx_server.pid("whisperx")
    async with aclosing(whisperx.transcribe(busy.recording.path, busy.hearing)) as heard:
        said = await until(heard, stage)
        os.kill(child, signal.SIGKILL)
        with pytest.raises(EngineCrashed) as caught:
            async for item in heard:
                said.append(item)
    assert caught.value.retryable
    assert stages_of(said)[-1] == stage, "it was killed there, and not behind it"
    before = STAGES[: STAGES.index(stage)]
    kept = reached_in(said)
    assert [each.stage for each in kept] == [each for each in before if each in ("transcribe", "align")]
    retry = busy.hearing.model_copy(update={"given": kept[-1] if kept else None})
    retried = await hear(whisperx, busy.recording.path, retry)
    assert stages_of(retried) == stages_of(busy.heard)[len(before) if kept else 0 :]
    assert segments_of(retried) == segments_of(busy.heard)
    assert await hear(whisperx, english.path, english.hearing) == whole, "the next job"


async def test_a_job_cancelled_in_a_stage_is_gone_at_once_and_the_next_is_unharmed(
    whisperx_server: EngineServer, whisperx: Engine, stage: str, busy: Busy
) -> None:
    async with aclosing(whisperx.transcribe(busy.recording.path, busy.hearing)) as heard:
        await until(heard, stage)
    async with asyncio.timeout(6):
        while (await whisperx_server.report("whisperx")).load:
            pass
    assert await hear(whisperx, busy.recording.path, busy.hearing) == busy.heard


@dataclass(frozen=True)
class Impaired:
    """A server with models that are there and do not work, and little patience."""

    server: EngineServer
    engine: Engine
    empty_bytes: int
    """Its memory before any model was loaded."""


@pytest.fixture(scope="module")
async def impaired(
    whisperx_python: Path, environ: Environ, models: Models, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Impaired]:
    folder = tmp_path_factory.mktemp("impaired")
    diarizer = shutil.copytree(models.diarizer, folder / "diarizer")
    (diarizer / "segmentation" / "pytorch_model.bin").write_bytes(b"no checkpoint")
    english = shutil.copytree(models.aligner, folder / "english")
    letters = json.loads((english / "vocab.json").read_text())
    (english / "vocab.json").write_text(json.dumps({letter: at + 1000 for letter, at in letters.items()}))
    spanish = folder / "spanish"
    spanish.mkdir()
    changed = {
        "WHISPERX_ALIGN_MODELS": f"en={english},es={spanish}",
        "WHISPERX_DIARIZATION_MODEL": str(diarizer),
        "PROCESS_IDLE_TIMEOUT_MIN": "0.03",
    }
    async with (
        engine_server(python=whisperx_python, **{**environ, **changed}) as server,
        server.engine("whisperx") as engine,
    ):
        yield Impaired(server, engine, resident_bytes(server.process.pid) or 0)


async def test_models_that_cannot_be_opened_leave_the_transcript(impaired: Impaired, spanish: Recording) -> None:
    heard = await hear(impaired.engine, spanish.path, spanish.hearing)
    assert notices_of(heard) == ["alignment_unavailable", "diarization_unavailable"]
    assert text_of(heard)


async def test_alignment_that_fails_leaves_the_transcript(
    impaired: Impaired, english: Recording, whole: list[Heard]
) -> None:
    heard = await hear(impaired.engine, english.path, english.hearing)
    assert notices_of(heard) == ["alignment_failed", "diarization_unavailable"]
    assert text_of(heard) == text_of(whole)


async def test_memory_comes_back_after_the_idle_time(impaired: Impaired, english: Recording) -> None:
    await hear(impaired.engine, english.path, english.hearing)
    child = await impaired.server.pid("whisperx")
    loaded = resident_bytes(impaired.server.process.pid)
    await gone(child)
    assert await impaired.server.loaded("whisperx") == []
    left = resident_bytes(impaired.server.process.pid)
    assert loaded is not None and left is not None
    assert loaded - impaired.empty_bytes > 500 * MIB
    assert left - impaired.empty_bytes < 32 * MIB
