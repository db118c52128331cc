"""The platform's own diarizer: who speaks in one channel, and that nothing but who speaks is changed."""

import os
import pickle
import tracemalloc
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.diarization_error import Turn, read_rttm
from config.load import load_section
from config.settings import EngineSettings
from domain.errors import EngineFailed
from domain.transcript import Heard, Notice, Progress, Segment, StageReached, Word
from engines.contract import Hearing
from engines.server.models.diarizer import Diarizer
from engines.server.models.diarizer_clusters import MOST_WINDOWS, Speakers
from engines.server.models.diarizer_voices import VoiceEncoder, Voices
from engines.server.models.speakers import tell_apart
from tests.engines.contract_suite import Recording, write_silence
from tests.engines.harness import engine_server, hear

ROOT = Path(__file__).parent.parent.parent
SETTINGS = load_section(EngineSettings, {})

Decode = Callable[[Path], Recording]


@pytest.fixture(scope="module")
def diarizer() -> Diarizer:
    return Diarizer.load(SETTINGS, None, lambda *_: None)


@pytest.fixture(scope="module")
def consultation(to_wav: Decode) -> Recording:
    """The sample that comes along, both channels mixed into one."""
    return to_wav(ROOT / "samples" / "consultation.flac")


def consultation_turns() -> list[Turn]:
    lines = [line.split() for line in (ROOT / "samples" / "consultation.txt").read_text().splitlines()]
    return [Turn(float(start), float(end), who) for start, end, who, *_ in lines]


def words_of(turns: Sequence[Turn], *, seconds: float = 0.4) -> list[tuple[str, Word]]:
    """Who says it, and a word, for every 0.4 s of the turns."""
    said = []
    for turn in turns:
        edges = np.linspace(turn.start, turn.end, 1 + max(1, round((turn.end - turn.start) / seconds))).tolist()
        said += [(turn.speaker, Word(start=start, end=end, text=f"w{start:.0f}")) for start, end in pairwise(edges)]
    return said


def segment_of(words: Sequence[Word]) -> Segment:
    text = " ".join(word.text for word in words)
    return Segment(start=words[0].start, end=words[-1].end, text=text, words=tuple(words))


def diarize(
    diarizer: Diarizer, recording: Recording, segments: Sequence[Segment], **numbers: int
) -> tuple[list[Segment], list[Notice]]:
    heard = list(diarizer.transcribe(recording.path, hearing_of(recording, segments, **numbers)))
    return [item for item in heard if isinstance(item, Segment)], [item for item in heard if isinstance(item, Notice)]


def hearing_of(recording: Recording, segments: Sequence[Segment], **numbers: int) -> Hearing:
    given = StageReached(stage="transcribe", segments=tuple(segments))
    return Hearing(audio_seconds=recording.seconds, given=given, **numbers)


def share_right(turns: Sequence[Turn], diarizer: Diarizer, recording: Recording, **numbers: int) -> float:
    """Of words in one segment from start to end, those with the speaker that their turn has."""
    said = words_of(turns)
    segments, _ = diarize(diarizer, recording, [segment_of([word for _, word in said])], **numbers)
    tags = [word.speaker_tag for segment in segments for word in segment.words]
    order = list(dict.fromkeys(turn.speaker for turn in turns))
    return sum(order.index(who) == tag for (who, _), tag in zip(said, tags, strict=True)) / len(said)


def test_provider_and_patient_of_the_sample_are_told_apart_word_by_word(
    diarizer: Diarizer, consultation: Recording
) -> None:
    assert share_right(consultation_turns(), diarizer, consultation) == 1


@pytest.mark.parametrize("name", ["multi/libri_3spk.flac", "stereo/libri_call.wav"])
def test_people_who_take_turns_are_told_apart(name: str, diarizer: Diarizer, shared_data: Path, to_wav: Decode) -> None:
    turns = read_rttm((shared_data / name).with_suffix(".rttm"))
    assert share_right(turns, diarizer, to_wav(shared_data / name)) >= 0.98  # measured: 1.0 for both


@pytest.mark.parametrize("name", ["long/two_cities_16k.wav", "long/columbia.wma", "es/fleurs_es_419_000896.wav"])
def test_one_person_stays_one(name: str, diarizer: Diarizer, shared_data: Path, to_wav: Decode) -> None:
    recording = to_wav(shared_data / name)
    assert share_right([Turn(0, recording.seconds, "alone")], diarizer, recording) == 1


@pytest.mark.parametrize("name", ["multi/ami_trn08.wav", "multi/ami_tst00.wav"])
def test_a_meeting_where_people_talk_across_one_another_comes_with_a_warning(
    name: str, diarizer: Diarizer, shared_data: Path, to_wav: Decode
) -> None:
    recording = to_wav(shared_data / name)
    _, notices = diarize(diarizer, recording, [Segment(start=0, end=recording.seconds, text="all of it")])
    assert [notice.code for notice in notices] == ["speakers_uncertain"]


def test_the_sample_comes_without_a_warning(diarizer: Diarizer, consultation: Recording) -> None:
    assert diarize(diarizer, consultation, [Segment(start=0, end=5, text="Good morning")])[1] == []


def test_segments_without_words_go_to_who_is_heard_in_them(diarizer: Diarizer, consultation: Recording) -> None:
    turns = consultation_turns()
    given = [Segment(start=turn.start, end=turn.end, text=turn.speaker) for turn in turns]
    segments, _ = diarize(diarizer, consultation, given)
    assert {(segment.text, segment.speaker_tag) for segment in segments} == {("provider", 0), ("patient", 1)}
    assert [(segment.start, segment.end) for segment in segments] == [(turn.start, turn.end) for turn in turns]


def test_tags_count_from_who_speaks_first_in_the_text(diarizer: Diarizer, consultation: Recording) -> None:
    later = consultation_turns()[1:]  # the patient
    given = [Segment(start=turn.start, end=turn.end, text=turn.speaker) for turn in later]
    segments, _ = diarize(diarizer, consultation, given)
    assert {(segment.text, segment.speaker_tag) for segment in segments} == {("patient", 0), ("provider", 1)}


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ({"num_speakers": 1}, 1),
        ({"num_speakers": 3}, 3),
        ({"max_speakers": 1}, 1),
        ({"min_speakers": 3}, 3),
        ({"min_speakers": 1, "max_speakers": 5}, 2),
    ],
)
def test_the_number_of_speakers_is_kept_to(
    numbers: dict[str, int], expected: int, diarizer: Diarizer, consultation: Recording
) -> None:
    words = [word for _, word in words_of(consultation_turns())]
    segments, _ = diarize(diarizer, consultation, [segment_of(words)], **numbers)
    assert {segment.speaker_tag for segment in segments} == set(range(expected))


def test_a_single_word_has_a_speaker(diarizer: Diarizer, consultation: Recording) -> None:
    word = Word(start=6, end=6.3, text="morning", confidence=0.5)
    given = Segment(start=6, end=6.3, text="morning", confidence=0.7, words=(word,))
    tagged = word.model_copy(update={"speaker_tag": 0})
    assert diarize(diarizer, consultation, [given])[0] == [
        given.model_copy(update={"speaker_tag": 0, "words": (tagged,)})
    ]


def test_words_where_nobody_seems_to_speak_go_to_the_nearest_voice(diarizer: Diarizer, consultation: Recording) -> None:
    first, second, *_ = consultation_turns()
    pause = (first.end + second.start) / 2
    around = [(first.start, first.end), (pause - 0.2, pause - 0.15), (pause + 0.15, pause + 0.2), second[:2]]
    given = [Segment(start=start, end=end, text="um") for start, end in around]
    assert [segment.speaker_tag for segment in diarize(diarizer, consultation, given)[0]] == [0, 0, 1, 1]


def test_in_silence_the_text_stays_as_it_is_and_the_reader_is_told(diarizer: Diarizer, tmp_path: Path) -> None:
    given = [Segment(start=0.5, end=1, text="imagined"), Segment(start=1, end=2, text="as well")]
    segments, notices = diarize(diarizer, write_silence(tmp_path / "silence.wav", seconds=3), given)
    assert segments == given
    assert [notice.code for notice in notices] == ["diarization_failed"]


def test_where_nothing_was_heard_there_is_nothing_to_tell_apart(diarizer: Diarizer, consultation: Recording) -> None:
    heard = list(diarizer.transcribe(consultation.path, hearing_of(consultation, [])))
    total = consultation.seconds
    assert heard == [Progress(stage="diarize", done=done, total=total) for done in (0, total)]


def test_progress_is_told_block_by_block_and_before_the_text(diarizer: Diarizer, consultation: Recording) -> None:
    given = [Segment(start=1, end=2, text="Good morning")]
    heard = list(diarizer.transcribe(consultation.path, hearing_of(consultation, given)))
    assert isinstance(heard.pop(), Segment)
    assert [item.done for item in heard if isinstance(item, Progress)] == [0, 30, *[consultation.seconds] * 2]


def test_without_a_text_it_refuses_for_good(diarizer: Diarizer, consultation: Recording) -> None:
    with pytest.raises(EngineFailed) as caught:
        list(diarizer.transcribe(consultation.path, consultation.hearing))
    assert not caught.value.retryable


def test_what_is_no_recording_is_refused_for_good(diarizer: Diarizer, tmp_path: Path) -> None:
    text = tmp_path / "text.wav"
    text.write_text("this is not a recording")
    given = StageReached(stage="transcribe", segments=(Segment(start=0, end=1, text="words"),))
    with pytest.raises(EngineFailed) as caught:
        list(diarizer.transcribe(text, Hearing(audio_seconds=1, given=given)))
    assert not caught.value.retryable


def test_it_is_a_stage_and_can_be_turned_off() -> None:
    report = Diarizer.report(SETTINGS)
    assert report.available, report.reason
    assert report.stages == ("diarize",)
    assert not report.transcribes
    off = Diarizer.report(load_section(EngineSettings, {"DIARIZER": "off"}))
    assert not off.available
    assert off.reason == "it is turned off: set DIARIZER=on"


async def test_the_engine_server_hosts_it(consultation: Recording) -> None:
    given = [Segment(start=turn.start, end=turn.end, text=turn.speaker) for turn in consultation_turns()]
    async with engine_server() as server, server.engine("diarizer") as engine:
        hearing = hearing_of(consultation, given)
        heard: list[Heard] = await hear(engine, consultation.path, hearing)
        assert await hear(engine, consultation.path, hearing) == heard
    tagged = {(item.text, item.speaker_tag) for item in heard if isinstance(item, Segment)}
    assert tagged == {("provider", 0), ("patient", 1)}


def test_the_network_computes_what_pytorch_computes(diarizer: Diarizer) -> None:
    values = (np.arange(2 * 160 * 40) % 97).reshape(2, 160, 40).astype(np.float32) / 97
    windows = np.stack([values[0] * np.float32(0.02), values[1] * np.float32(0.4)])
    quiet, loud = diarizer.encoder.encode(windows)
    # By torch 2.13's LSTM and Linear with the same weights and the same windows.
    strongest = [234, 15, 74, 30, 198, 152]
    assert quiet[strongest] == pytest.approx([0.196833, 0.191026, 0.170355, 0.156800, 0.154162, 0.150948], abs=1e-5)
    assert loud[strongest] == pytest.approx([0.0, 0.0, 0.177559, 0.015938, 0.069552, 0.0], abs=1e-5)
    assert float(quiet @ loud) == pytest.approx(0.575995, abs=1e-5)


class _Harm:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("harm",)


def test_a_checkpoint_that_would_run_something_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    weights = tmp_path / "weights.pt"
    weights.write_bytes(pickle.dumps(_Harm()))
    with pytest.raises(EngineFailed) as caught:
        VoiceEncoder.open(weights)
    assert not caught.value.retryable
    assert not (tmp_path / "harm").exists()


def voices_of(sequence: Sequence[int], *, apart_seconds: float = 0.4) -> Voices:
    """A window of 1.6 s each, for people who sound like nobody else. -1 is like the opposite of 0, 1 and 2."""
    random = np.random.default_rng(1)
    people = {**dict(enumerate(np.eye(256))), -1: -np.eye(256)[:3].sum(axis=0)}
    sound = [people[who] + random.normal(0, 0.02, 256) for who in sequence]
    vectors = np.stack(sound) / np.linalg.norm(sound, axis=1, keepdims=True)
    starts = np.linspace(0, apart_seconds * (len(sequence) - 1), len(sequence))
    return Voices(starts, starts + 1.6, vectors.astype(np.float32))


def test_of_a_recording_of_ten_hours_a_part_is_compared_and_all_of_it_labelled() -> None:
    sequence = [at // 500 % 2 for at in range(10 * MOST_WINDOWS)]
    speakers = Speakers.among(voices_of(sequence, apart_seconds=1.6))
    assert speakers.likeness.shape == (len(sequence), 2)
    segments = [Segment(start=at * 1.6, end=at * 1.6 + 1, text="w") for at in range(250, len(sequence), 500)]
    tags = [segment.speaker_tag for segment in tell_apart(segments, map(speakers.label, segments))]
    assert tags == [at % 2 for at in range(len(segments))]


def test_a_cough_is_no_speaker_unless_the_caller_counts_it() -> None:
    voices = voices_of([0] * 20 + [2] + [1] * 20)
    assert Speakers.among(voices).likeness.shape[1] == 2
    assert Speakers.among(voices, exactly=3).likeness.shape[1] == 3


def test_a_cough_unlike_any_voice_does_not_make_all_people_one() -> None:
    sequence = [0] * 20 + [1] * 20 + [2] * 20 + [-1]  # cut in two, these are the cough and the rest
    likeness = Speakers.among(voices_of(sequence), exactly=2).likeness.argmax(axis=1)
    assert set(likeness[:-1]) == {0, 1}


def test_a_word_goes_to_the_windows_whose_middle_is_near() -> None:
    speakers = Speakers.among(voices_of([0] * 4 + [1] * 4))
    # Windows 2 to 5 lie over the last word: two of each person, but the next middles are those of the second.
    segments = [Segment(start=0, end=1, text="w"), Segment(start=2.25, end=2.35, text="w")]
    assert [segment.speaker_tag for segment in tell_apart(segments, map(speakers.label, segments))] == [0, 1]


def test_the_length_of_a_segment_costs_no_memory() -> None:
    """Ten hours without a word's time, as some engines give them."""
    starts = np.arange(0, 36_000, 0.4)
    voices = Voices(starts, starts + 1.6, np.empty((len(starts), 0), np.float32))
    speakers = Speakers(voices, np.tile(np.array([0.4, 0.6], np.float32), (len(starts), 1)))
    tracemalloc.start()
    try:
        assert speakers.label(Segment(start=0, end=36_000, text="w")).most == "1"
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_who_speaks_does_not_depend_on_how_much_is_looked_at_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    speakers = Speakers(voices_of([0] * 100), random.random((100, 50), np.float32))
    starts, lengths = random.uniform(0, 60, 300), random.uniform(0, 40, 300)
    segments = [Segment(start=start, end=end, text="w") for start, end in zip(starts, starts + lengths, strict=True)]
    whole = [speakers.label(segment) for segment in segments]
    monkeypatch.setattr("engines.server.models.diarizer_clusters._MOMENTS_AT_ONCE", 7)
    assert [speakers.label(segment) for segment in segments] == whole


@st.composite
def texts(draw: st.DrawFn) -> list[Segment]:
    """Segments as engines make them: with and without words, words that overlap, times outside of any speech."""
    segments, now = [], 0.0
    for _ in range(draw(st.integers(0, 8))):
        now += draw(st.floats(0, 3))
        words, start = [], now
        for _ in range(draw(st.integers(0, 12))):
            length = draw(st.floats(0, 1.5))
            text = draw(st.sampled_from(["no", "now", "know", "a", "10", "sí", "我"]))
            words.append(Word(start=now, end=now + length, text=text))
            now += draw(st.floats(0, 1)) * length
        end = max([now + draw(st.floats(0, 2)), *(word.end for word in words)])
        spelt = " ".join(word.text for word in words) if draw(st.booleans()) else "ten words"
        segments.append(Segment(start=start, end=end, text=spelt or "said", words=tuple(words)))
        now = end
    return segments


@given(texts(), st.lists(st.integers(0, 3), min_size=1, max_size=60))
def test_no_word_is_lost_or_changed_whoever_speaks(segments: list[Segment], sequence: list[int]) -> None:
    speakers = Speakers.among(voices_of(sequence))
    found = list(tell_apart(segments, map(speakers.label, segments)))
    assert " ".join(segment.text for segment in found) == " ".join(segment.text for segment in segments)
    assert [word.text for segment in found for word in segment.words] == [
        word.text for segment in segments for word in segment.words
    ]
    assert all(before.end <= after.start for before, after in pairwise(found))
    assert all(word.speaker_tag == segment.speaker_tag for segment in found for word in segment.words)
    tags = list(dict.fromkeys(segment.speaker_tag for segment in found))
    assert tags == list(range(len(tags)))
