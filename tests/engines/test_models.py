"""The models that Escriba brings along, each through a real engine server and the client that workers use."""

import re
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path

import ctranslate2
import jiwer
import numpy as np
import pytest
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import _LANGUAGE_CODES
from faster_whisper.utils import _MODELS
from faster_whisper.vad import get_speech_timestamps
from pocketsphinx import Decoder

from config.load import load_section
from config.settings import EngineSettings
from domain.capabilities import TRANSCRIBE_STAGE
from domain.errors import EngineFailed
from domain.transcript import Detected, Progress, Segment
from engines.contract import Engine
from engines.server.models.faster_whisper import _OWN_CODES, LANGUAGES, FasterWhisper
from engines.server.models.sphinx import WINDOW_SECONDS, windows
from engines.server.models.weights import SIZES
from tests.engines.contract_suite import EngineContract, Recording, write_silence
from tests.engines.harness import engine_server, hear, text_of
from tests.support.directly import CUTTING, samples_of, sphinx_directly, whisper_directly

Decode = Callable[[Path], Recording]

ENGLISH = ("en/jfk.flac", "en/ls-2414-128291-0006.flac")
OTHERS = ("en/riva_en-US_sample.wav", "es/cheetah_es.wav", "fr/leopard_fr.wav")


@pytest.fixture(scope="module")
async def sphinx() -> AsyncIterator[Engine]:
    async with engine_server() as server, server.engine("sphinx") as engine:
        yield engine


@pytest.fixture(scope="module")
async def whisper(micro_model: Path) -> AsyncIterator[Engine]:
    environ = {"WHISPER_MODEL": str(micro_model), "WHISPER_DEVICE": "cpu"}
    async with engine_server(**environ) as server, server.engine("whisper") as engine:
        yield engine


class TestSphinx(EngineContract):
    @pytest.fixture
    def engine(self, sphinx: Engine) -> Engine:
        return sphinx

    @pytest.fixture
    def speech(self, shared_data: Path, to_wav: Decode) -> Recording:
        return to_wav(shared_data / "en" / "librivox-austen-0880.wav")

    async def test_it_hears_word_for_word_what_the_library_hears(
        self, engine: Engine, shared_data: Path, to_wav: Decode
    ) -> None:
        decoder = Decoder(samprate=16000, loglevel="FATAL")
        for name in ENGLISH:
            recording = to_wav(shared_data / name)
            direct = sphinx_directly(decoder, samples_of(recording.path))
            assert text_of(await hear(engine, recording.path, recording.hearing)) == direct

    async def test_a_recording_longer_than_its_window_is_heard_as_well_as_a_short_one(
        self, engine: Engine, shared_data: Path, to_wav: Decode
    ) -> None:
        recording = to_wav(shared_data / "long" / "two_cities_16k.wav")
        heard = await hear(engine, recording.path, recording.hearing)
        segments = [item for item in heard if isinstance(item, Segment)]
        assert all(before.end <= after.start for before, after in pairwise(segments))
        reference = plain((shared_data / "long" / "two_cities_16k.txt").read_text())
        assert jiwer.wer(reference, plain(text_of(heard))) <= 0.35  # measured: 0.31; by whole files 0.43 on `en`

    def test_it_cuts_window_by_window_where_it_would_cut_the_whole(self, shared_data: Path, to_wav: Decode) -> None:
        recording = to_wav(shared_data / "long" / "two_cities_16k.wav")
        found = [utterance for window in windows(recording.path) for utterance in window.utterances]
        windowed = [(utterance.start, utterance.start + utterance.samples.size) for utterance in found]
        whole = get_speech_timestamps(samples_of(recording.path), CUTTING)
        assert np.array(windowed) == pytest.approx(np.array([(span["start"], span["end"]) for span in whole]), abs=1600)

    def test_speech_at_the_end_of_a_full_window_is_heard(self, speech: Recording, tmp_path: Path) -> None:
        words = speech.path.read_bytes()[-16000 * 4 :]  # two seconds, spoken to the very end
        silence = write_silence(tmp_path / "full.wav", seconds=2 * WINDOW_SECONDS)
        silence.path.write_bytes(silence.path.read_bytes()[: -len(words)] + words)
        found = [utterance for window in windows(silence.path) for utterance in window.utterances]
        assert found[-1].start + found[-1].samples.size == 2 * WINDOW_SECONDS * 16000

    async def test_progress_is_told_while_nobody_speaks(self, engine: Engine, tmp_path: Path) -> None:
        silence = write_silence(tmp_path / "silence.wav", seconds=70)
        heard = await hear(engine, silence.path, silence.hearing)
        assert all(isinstance(item, Progress) for item in heard)
        assert len(heard) == 4, "one before the work begins, and one for each window"

    async def test_another_language_is_refused(self, engine: Engine, speech: Recording) -> None:
        with pytest.raises(EngineFailed, match="en-US"):
            await hear(engine, speech.path, speech.hearing.model_copy(update={"language": "es"}))


class TestWhisper(EngineContract):
    @pytest.fixture
    def engine(self, whisper: Engine) -> Engine:
        return whisper

    @pytest.fixture
    def speech(self, shared_data: Path, to_wav: Decode) -> Recording:
        return to_wav(shared_data / "en" / "jfk.flac")

    async def test_it_hears_word_for_word_what_the_library_hears(
        self, engine: Engine, shared_data: Path, to_wav: Decode, micro_model: Path
    ) -> None:
        model = WhisperModel(str(micro_model), device="cpu", compute_type="int8")
        for name in (*ENGLISH, *OTHERS):
            recording = to_wav(shared_data / name)
            heard = await hear(engine, recording.path, recording.hearing)
            language, words = whisper_directly(model, samples_of(recording.path))
            ours = [word for item in heard if isinstance(item, Segment) for word in item.words]
            assert [item.language for item in heard if isinstance(item, Detected)] == [language]
            assert [word.text for word in ours] == [word.word.strip() for word in words]
            assert [word.confidence for word in ours] == pytest.approx([word.probability for word in words], abs=1e-4)

    async def test_it_says_when_it_begins_so_that_nothing_before_is_taken_for_its_work(
        self, engine: Engine, speech: Recording
    ) -> None:
        heard = await hear(engine, speech.path, speech.hearing)
        assert heard[0] == Progress(stage=TRANSCRIBE_STAGE, done=0, total=speech.seconds)

    async def test_a_folder_goes_by_its_name_and_no_request_can_name_a_path(
        self, engine: Engine, speech: Recording, micro_model: Path
    ) -> None:
        report = await engine.report()
        assert report.default_model == micro_model.name
        assert report.ready
        with pytest.raises(EngineFailed, match="no such model") as caught:
            await hear(engine, speech.path, speech.hearing.model_copy(update={"model": str(micro_model)}))
        assert not caught.value.retryable

    async def test_a_translation_is_what_the_library_makes_and_is_english(
        self, engine: Engine, shared_data: Path, to_wav: Decode, micro_model: Path
    ) -> None:
        recording = to_wav(shared_data / "es" / "cheetah_es.wav")
        model = WhisperModel(str(micro_model), device="cpu", compute_type="int8")
        _, words = whisper_directly(model, samples_of(recording.path), task="translate")
        for language in ("es", None):
            hearing = recording.hearing.model_copy(update={"language": language, "options": {"task": "translate"}})
            heard = await hear(engine, recording.path, hearing)
            assert [item.language for item in heard if isinstance(item, Detected)] == ["en"]
            ours = [word.text for item in heard if isinstance(item, Segment) for word in item.words]
            assert ours == [word.word.strip() for word in words]

    async def test_a_language_it_does_not_know_is_refused(self, engine: Engine, speech: Recording) -> None:
        with pytest.raises(EngineFailed, match="tlh"):
            await hear(engine, speech.path, speech.hearing.model_copy(update={"language": "tlh"}))


async def test_a_device_that_is_not_there_is_said_to_be_missing(
    micro_model: Path, shared_data: Path, to_wav: Decode
) -> None:
    if ctranslate2.get_cuda_device_count():
        pytest.skip("needs a machine without a GPU")
    speech = to_wav(shared_data / "en" / "jfk.flac")
    environ = {"WHISPER_MODEL": str(micro_model), "WHISPER_DEVICE": "cuda"}
    async with engine_server(**environ) as server, server.engine("whisper") as engine:
        with pytest.raises(EngineFailed, match="WHISPER_DEVICE") as caught:
            await hear(engine, speech.path, speech.hearing)
    assert not caught.value.retryable


def test_a_gpu_that_cannot_be_used_leaves_the_cpu(
    micro_model: Path, shared_data: Path, to_wav: Decode, monkeypatch: pytest.MonkeyPatch
) -> None:
    if ctranslate2.get_cuda_device_count():
        pytest.skip("needs a machine without a GPU")
    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: 1)
    settings = load_section(EngineSettings, {"WHISPER_MODEL": str(micro_model)})
    speech = to_wav(shared_data / "en" / "jfk.flac")
    heard = FasterWhisper.load(settings, None, lambda *_: None).transcribe(speech.path, speech.hearing)
    assert any(isinstance(item, Segment) for item in heard)


def test_sizes_and_languages_are_those_of_the_library() -> None:
    assert SIZES == _MODELS
    assert sorted(_OWN_CODES.get(tag, tag) for tag in LANGUAGES) == sorted(_LANGUAGE_CODES)


def plain(text: str) -> str:
    return re.sub(r"[^a-z' ]+", " ", text.lower()).strip()


async def test_a_transcript_does_not_depend_on_the_job_before_it(
    sphinx: Engine, shared_data: Path, to_wav: Decode
) -> None:
    recording = to_wav(shared_data / "en" / "ls-2414-128291-0006.flac")  # one that did
    other = to_wav(shared_data / "en" / "jfk.flac")
    first = text_of(await hear(sphinx, recording.path, recording.hearing))
    await hear(sphinx, other.path, other.hearing)
    assert text_of(await hear(sphinx, recording.path, recording.hearing)) == first
