"""What WhisperX says becomes segments that are sound, whatever it leaves out."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.transcript import Segment
from engines.server.models.whisperx_words import Found, FoundWord, Voices, settle_times, to_segments

ALPHABET = frozenset("abcdefghijklmnopqrstuvwxyz'|")


def word(text: str, start: float, end: float, speaker: str | None = None) -> FoundWord:
    found = FoundWord(word=text, start=start, end=end, score=0.9)
    if speaker is not None:
        found["speaker"] = speaker
    return found


def sentence(*words: FoundWord, start: float = 0.0, end: float = 10.0) -> Found:
    return Found(text=" ".join(word["word"] for word in words), start=start, end=end, words=list(words))


def spoken(found: Found) -> list[tuple[int | None, str]]:
    return [(segment.speaker_tag, segment.text) for segment in to_segments(found, Voices())]


def test_words_without_times_share_the_gap_between_their_neighbours_by_length() -> None:
    found = sentence(word("take", 1, 2), FoundWord(word="25"), FoundWord(word="mg"), word("daily", 4, 5))
    settled = settle_times(found, ALPHABET, 0, 10)
    assert [(word["start"], word["end"]) for word in settled.found["words"]] == [(1, 2), (2, 3), (3, 4), (4, 5)]
    assert settled.estimated == 2


def test_words_without_times_at_the_ends_reach_to_the_ends_of_the_sentence() -> None:
    found = sentence(FoundWord(word="1"), word("or", 2, 3), FoundWord(word="2"), start=1, end=4)
    settled = settle_times(found, ALPHABET, 0, 10).found
    assert [(word["start"], word["end"]) for word in settled["words"]] == [(1, 2), (2, 3), (3, 4)]


def test_a_number_in_digits_has_a_time_but_no_confidence() -> None:
    settled = settle_times(sentence(word("room", 0, 1), word("101.", 1, 2)), ALPHABET, 0, 10)
    assert settled.estimated == 1
    assert ["score" in word for word in settled.found["words"]] == [True, False]


def test_a_sentence_of_which_nothing_is_placed_has_no_words() -> None:
    found = sentence(FoundWord(word="lost"), FoundWord(word="words", start=math.nan, end=math.nan))
    assert settle_times(found, ALPHABET, 0, 10).found["words"] == []


def test_times_keep_within_the_recording_and_behind_the_sentence_before() -> None:
    settled = settle_times(sentence(word("a", 0.5, 1.5), word("b", 9, 12), start=0.5, end=12), ALPHABET, 1.0, 10.0)
    assert (settled.found["start"], settled.found["end"]) == (1.0, 10.0)
    assert [(word["start"], word["end"]) for word in settled.found["words"]] == [(1.0, 1.5), (9, 10.0)]


def test_speakers_are_numbered_in_the_order_in_which_they_first_speak() -> None:
    voices = Voices()
    said = [sentence(word("one", 0, 1, "SPEAKER_07")), sentence(word("two", 1, 2, "SPEAKER_00"))]
    assert [item.speaker_tag for found in said for item in to_segments(found, voices)] == [0, 1]


def test_a_sentence_of_two_speakers_is_cut_where_they_change() -> None:
    found = sentence(
        word("how", 0, 1, "A"), word("are", 1, 2, "A"), word("fine,", 2, 3, "B"), word("thanks", 3, 4, "B")
    )
    assert spoken(found) == [(0, "how are"), (1, "fine, thanks")]


def test_a_cut_keeps_a_language_without_spaces_without_them() -> None:
    found = Found(
        text="你好我好",
        start=0,
        end=4,
        words=[word(char, at, at + 1, "AB"[at // 2]) for at, char in enumerate("你好我好")],
    )
    assert spoken(found) == [(0, "你好"), (1, "我好")]


def test_a_slip_of_the_diarizer_within_a_sentence_is_no_turn() -> None:
    found = sentence(word("I", 0, 0.6, "A"), word("am", 0.6, 0.8, "B"), word("well", 0.8, 1.4, "A"))
    assert spoken(found) == [(0, "I am well")]


def test_words_that_nobody_claims_belong_to_who_spoke_before() -> None:
    found = sentence(word("well", 0, 1), word("then", 1, 2, "A"), word("so", 2, 3), word("good", 3, 4, "B"))
    assert spoken(found) == [(0, "well then so"), (1, "good")]


def test_without_words_the_speaker_is_that_of_the_sentence() -> None:
    assert spoken(Found(text="hello", start=0, end=1, words=[], speaker="A")) == [(0, "hello")]
    assert spoken(Found(text="hello", start=0, end=1, words=[])) == [(None, "hello")]


TIMES = st.none() | st.floats(-1, 12) | st.just(math.nan)
SPEAKERS = st.sampled_from([None, "A", "B", "C"])


@given(
    st.lists(st.tuples(st.text("ab1", min_size=1, max_size=5), TIMES, TIMES, SPEAKERS), max_size=8),
    TIMES,
    TIMES,
    SPEAKERS,
)
def test_whatever_it_says_segments_are_sound(
    words: list[tuple[str, float | None, float | None, str | None]],
    start: float | None,
    end: float | None,
    speaker: str | None,
) -> None:
    found = Found(text=" ".join(text for text, *_ in words), start=start, end=end, words=[])  # type: ignore[typeddict-item]
    for text, begin, finish, _ in words:
        found["words"].append({"word": text, "start": begin, "end": finish, "score": 2.0})  # type: ignore[typeddict-item]
    settled = settle_times(found, ALPHABET, 1.0, 10.0).found
    for item, (*_, voice) in zip(settled["words"], words, strict=False):
        if voice is not None:
            item["speaker"] = voice
    if speaker is not None:
        settled["speaker"] = speaker
    segments: list[Segment] = list(to_segments(settled, Voices()))
    edges = [edge for segment in segments for edge in (segment.start, segment.end)]
    assert edges == sorted(edges)
    assert all(1.0 <= edge <= 10.0 for edge in edges)
    assert "".join(segment.text for segment in segments).replace(" ", "") == found["text"].replace(" ", "")
    said = [word for segment in segments for word in segment.words]
    assert [word.text for word in said] in ([], [text for text, *_ in words])
    assert [segment.speaker_tag for segment in segments for _ in segment.words] == [word.speaker_tag for word in said]


@pytest.mark.parametrize("tags", [["A"], ["A", "B"]])
def test_the_text_of_a_sentence_is_never_lost(tags: list[str]) -> None:
    found = sentence(*(word(f"w{at}", at, at + 1, tag) for at, tag in enumerate(tags)))
    assert " ".join(text for _, text in spoken(found)) == found["text"]
