"""What is flagged, and what is not."""

from pathlib import Path

import pytest

from domain.transcript import Segment, Word
from tests.support.audio import tone
from tests.support.hostile_media import wav
from workers.stages.quality import flags


@pytest.fixture
def loud(tmp_path: Path) -> Path:
    path = tmp_path / "loud.wav"
    path.write_bytes(tone(20.0))
    return path


def said(text: str, start: float = 0.0, *, confidence: float | None = None, tag: int | None = None) -> Segment:
    words = (Word(start=start, end=start + 1, text=text, confidence=confidence),) if confidence is not None else ()
    return Segment(start=start, end=start + 1, text=text, words=words, speaker_tag=tag)


def codes(segments: list[Segment], audio: Path) -> list[tuple[str, float, float]]:
    return [(flag.code, flag.start, flag.end) for flag in flags(segments, audio)]


def test_an_ordinary_transcript_has_no_flags(loud: Path) -> None:
    words = "how are you feeling today", "a little better thank you", "good good let us see"
    assert codes([said(text, n, confidence=0.9) for n, text in enumerate(words)], loud) == []


@pytest.mark.parametrize(
    "text",
    [
        "thank you for watching thank you for watching thank you for watching",
        "I'm sorry. I'm sorry. I'm sorry. I'm sorry. I'm sorry.",
        "no no no no no no",
        "so we went to the house by the sea the house by the sea the house by the sea",
    ],
)
def test_a_loop_is_flagged(loud: Path, text: str) -> None:
    assert codes([said(text)], loud) == [("repetition", 0.0, 1.0)]


@pytest.mark.parametrize("text", ["no no no no", "yes, yes", "very very very good", "two two two", "bye bye"])
def test_emphasis_is_no_loop(loud: Path, text: str) -> None:
    assert codes([said(text)], loud) == []


def test_segments_that_say_the_same_in_a_row_are_flagged_once_with_their_whole_span(loud: Path) -> None:
    segments = [said("Thanks for watching!", n) for n in range(4)]
    assert codes([*segments, said("good bye now", 5)], loud) == [("repetition", 0.0, 4.0)]


def test_several_people_who_say_the_same_are_not_a_loop(loud: Path) -> None:
    assert codes([said("good morning", n, tag=n % 2) for n in range(4)], loud) == []


def test_what_the_engine_doubts_is_flagged(loud: Path) -> None:
    assert codes([said("metoprolol", confidence=0.2), said("daily", 1, confidence=0.6)], loud) == [
        ("low_confidence", 0.0, 1.0)
    ]


def test_an_engine_without_confidences_is_not_doubted(loud: Path) -> None:
    assert codes([said("metoprolol")], loud) == []


def test_text_on_silence_is_flagged(tmp_path: Path) -> None:
    path = tmp_path / "half.wav"
    path.write_bytes(wav(tone(5.0)[44:] + bytes(2 * 16_000 * 5)))
    heard = [said("there is a tone", 1), said("thanks for watching", 7)]
    assert codes(heard, path) == [("text_on_silence", 7.0, 8.0)]


def test_a_segment_of_no_length_or_beyond_the_end_does_no_harm(loud: Path) -> None:
    assert codes([Segment(start=3, end=3, text="so"), Segment(start=19.99, end=25, text="well")], loud) == []


def aligned(*words: tuple[str, float | None]) -> Segment:
    spoken = tuple(Word(start=n, end=n + 1, text=text, confidence=sure) for n, (text, sure) in enumerate(words))
    return Segment(start=0, end=len(words), text=" ".join(text for text, _ in words), words=spoken)


def test_a_number_that_alignment_could_not_spell_is_flagged_with_its_span(loud: Path) -> None:
    segment = aligned(("take", 0.9), ("5", None), ("mg", 0.9), ("every", 0.9), ("12", None), ("1/2", None), ("h", 0.8))
    assert codes([segment], loud) == [("unaligned_number", 1.0, 2.0), ("unaligned_number", 4.0, 6.0)]


def test_numbers_of_an_engine_without_confidences_and_words_in_letters_are_not(loud: Path) -> None:
    assert codes([aligned(("take", None), ("5", None)), aligned(("five", None), ("mg", 0.9))], loud) == []
