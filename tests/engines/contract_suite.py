"""What every engine promises (`engines.contract.Engine`). An adapter's test class inherits EngineContract.

It provides the fixtures `engine` and `speech`, the latter a recording in the engine's default language, and may change
`says_something` for an engine that does not recognise anything in it.
"""

import asyncio
import wave
from contextlib import aclosing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import jsonschema
import pytest

from domain.errors import EngineFailed
from domain.transcript import Detected, Progress, Segment
from engines.contract import SAMPLE_RATE_HZ, Engine, Hearing
from tests.engines.harness import hear


@dataclass(frozen=True)
class Recording:
    """WAV, 16 kHz, mono, signed 16-bit."""

    path: Path

    @property
    def seconds(self) -> float:
        with wave.open(str(self.path)) as file:
            return float(file.getnframes() / SAMPLE_RATE_HZ)

    @property
    def hearing(self) -> Hearing:
        return Hearing(audio_seconds=self.seconds)


def write_silence(path: Path, *, seconds: int) -> Recording:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(bytes(2 * SAMPLE_RATE_HZ * seconds))
    return Recording(path)


class EngineContract:
    @pytest.fixture
    def silence(self, tmp_path: Path) -> Recording:
        return write_silence(tmp_path / "silence.wav", seconds=3)

    async def test_a_report_is_sound(self, engine: Engine) -> None:
        report = await engine.report()
        assert report.engine == engine.name
        assert report.available, report.reason
        assert report.description
        jsonschema.Draft202012Validator.check_schema(report.options)
        assert report.default_model is None or report.default_model in [model.name for model in report.models]
        assert report.default_language is None or report.knows_language(report.default_language)
        assert report.detects_language or report.default_language

    async def test_segments_come_in_order_within_the_recording(self, engine: Engine, speech: Recording) -> None:
        segments = [item for item in await hear(engine, speech.path, speech.hearing) if isinstance(item, Segment)]
        assert segments
        assert all(before.end <= after.start for before, after in pairwise(segments))
        assert segments[-1].end <= speech.seconds
        for segment in segments:
            assert segment.text == segment.text.strip() != ""
            assert all(segment.start <= word.start and word.end <= segment.end for word in segment.words)
            assert all(before.start <= after.start for before, after in pairwise(segment.words))

    async def test_progress_never_falls_and_reaches_the_end(self, engine: Engine, speech: Recording) -> None:
        progress = [item for item in await hear(engine, speech.path, speech.hearing) if isinstance(item, Progress)]
        assert all(before.done <= after.done for before, after in pairwise(progress) if before.stage == after.stage)
        assert progress[-1].done == progress[-1].total == pytest.approx(speech.seconds, abs=0.001)

    async def test_the_language_is_told_at_most_once_and_first(self, engine: Engine, speech: Recording) -> None:
        heard = await hear(engine, speech.path, speech.hearing)
        told = [index for index, item in enumerate(heard) if isinstance(item, Detected)]
        first_segment = next(index for index, item in enumerate(heard) if isinstance(item, Segment))
        assert len(told) <= 1
        assert all(index < first_segment for index in told)
        assert bool(told) == (await engine.report()).detects_language

    async def test_a_language_that_was_asked_for_is_not_detected(self, engine: Engine, speech: Recording) -> None:
        hearing = speech.hearing.model_copy(update={"language": "en"})
        assert not [item for item in await hear(engine, speech.path, hearing) if isinstance(item, Detected)]

    async def test_silence_is_no_speech(self, engine: Engine, silence: Recording) -> None:
        heard = await hear(engine, silence.path, silence.hearing)
        assert not [item for item in heard if isinstance(item, Segment | Detected)]

    async def test_the_same_recording_twice_at_once_is_heard_alike(self, engine: Engine, speech: Recording) -> None:
        one, other = await asyncio.gather(
            hear(engine, speech.path, speech.hearing), hear(engine, speech.path, speech.hearing)
        )
        assert one == other

    async def test_a_job_given_up_leaves_the_engine_free(self, engine: Engine, speech: Recording) -> None:
        whole = await hear(engine, speech.path, speech.hearing)
        async with aclosing(engine.transcribe(speech.path, speech.hearing)) as heard:
            await anext(heard)
        assert await hear(engine, speech.path, speech.hearing) == whole

    async def test_what_is_no_recording_is_refused_for_good(self, engine: Engine, tmp_path: Path) -> None:
        text = tmp_path / "text.wav"
        text.write_text("this is not a recording")
        with pytest.raises(EngineFailed) as caught:
            await hear(engine, text, Hearing(audio_seconds=1))
        assert not caught.value.retryable
