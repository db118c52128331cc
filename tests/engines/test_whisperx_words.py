"""What WhisperX says becomes segments that are sound, whatever it leaves out."""

import math
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from domain.transcript import Segment
from engines.server.models.whisperx_words import Aligned, Found, FoundWord, settle, to_segment

ALPHABET = frozenset("abcdefghijklmnopqrstuvwxyz'|")


def word(text: str, start: float, end: float) -> FoundWord:
    return FoundWord(word=text, start=start, end=end, score=0.9)


def sentence(*words: FoundWord, start: float = 0.0, end: float = 10.0) -> Found:
    return Found(text=" ".join(word["word"] for word in words), start=start, end=end, words=list(words))


def aligned(*found: Found, start: float = 0.0, end: float = 10.0) -> Aligned:
    stretch = Segment(start=start, end=end, text=" ".join(each["text"] for each in found), confidence=0.7)
    settled = settle(stretch, found, ALPHABET)
    assert settled is not None
    return settled


def times(segment: Segment) -> list[tuple[float, float]]:
    return [(word.start, word.end) for word in segment.words]


def test_words_without_times_share_the_gap_between_their_neighbours_by_length() -> None:
    settled = aligned(sentence(word("take", 1, 2), FoundWord(word="25"), FoundWord(word="mg"), word("daily", 4, 5)))
    assert times(settled.sentences[0]) == [(1, 2), (2, 3), (3, 4), (4, 5)]
    assert settled.estimated == 2


def test_words_without_times_at_the_ends_reach_to_the_ends_of_the_sentence() -> None:
    settled = aligned(sentence(FoundWord(word="1"), word("or", 2, 3), FoundWord(word="2"), start=1, end=4))
    assert times(settled.sentences[0]) == [(1, 2), (2, 3), (3, 4)]


def test_a_number_in_digits_has_a_time_but_no_confidence() -> None:
    settled = aligned(sentence(word("room", 0, 1), word("101.", 1, 2)))
    assert settled.estimated == 1
    assert [word.confidence for word in settled.sentences[0].words] == [0.9, None]


def test_a_sentence_of_which_nothing_is_placed_has_no_words() -> None:
    settled = aligned(sentence(FoundWord(word="lost"), FoundWord(word="words", start=math.nan, end=math.nan)))
    assert settled.sentences[0].words == ()
    assert (settled.unplaced, settled.estimated) == (1, 0)


def test_times_keep_within_the_stretch_and_behind_the_sentence_before() -> None:
    before = sentence(word("so", 0.2, 1.0), start=0.2, end=1.0)
    settled = aligned(before, sentence(word("a", 0.5, 1.5), word("b", 9, 12), start=0.5, end=12))
    assert [(each.start, each.end) for each in settled.sentences] == [(0.2, 1.0), (1.0, 10.0)]
    assert times(settled.sentences[1]) == [(1.0, 1.5), (9, 10.0)]


def test_sentences_have_the_confidence_of_their_stretch() -> None:
    assert [each.confidence for each in aligned(sentence(word("a", 0, 1)), sentence(word("b", 2, 3))).sentences] == [
        0.7,
        0.7,
    ]


def test_an_alignment_that_has_lost_words_is_none() -> None:
    stretch = Segment(start=0, end=9, text="so it was lost")
    assert settle(stretch, [sentence(word("so", 0, 1), word("it", 1, 2))], ALPHABET) is None
    assert settle(stretch, [], ALPHABET) is None


def test_a_stretch_is_within_the_recording_with_a_probability() -> None:
    found = Found(text=" hello ", start=0.5, end=5.2, avg_logprob=0.0)
    assert to_segment(found, 1.0, 5.0) == Segment(start=1.0, end=5.0, text="hello", confidence=1.0)
    assert to_segment(Found(text="", start=math.nan), 1.0, 5.0) == Segment(start=1.0, end=5.0, text="")


TIMES = st.none() | st.floats(-1, 12) | st.just(math.nan)
WORDS = st.lists(st.tuples(st.text("ab1", min_size=1, max_size=5), TIMES, TIMES), min_size=1, max_size=8)


@given(st.lists(st.tuples(WORDS, TIMES, TIMES), min_size=1, max_size=3))
@example([([("1", 0.0, 2.658048267244182), ("1", None, None), ("11", None, None)], None, None)])  # a rounding
def test_whatever_it_says_sentences_are_sound(
    said: list[tuple[list[tuple[str, float | None, float | None]], float | None, float | None]],
) -> None:
    found: list[Any] = [
        {
            "text": " ".join(text for text, *_ in words),
            "start": start,
            "end": end,
            "words": [{"word": text, "start": begin, "end": finish, "score": 2.0} for text, begin, finish in words],
        }
        for words, start, end in said
    ]
    settled = aligned(*found, start=1.0, end=10.0)
    edges = [edge for segment in settled.sentences for edge in (segment.start, segment.end)]
    assert edges == sorted(edges)
    assert all(1.0 <= edge <= 10.0 for edge in edges)
    assert [segment.text for segment in settled.sentences] == [each["text"] for each in found]
    for segment, (words, *_) in zip(settled.sentences, said, strict=True):
        assert [word.text for word in segment.words] in ([], [text for text, *_ in words])
        edges = [edge for word in segment.words for edge in (word.start, word.end)]
        assert edges == sorted(edges)
        assert all(segment.start <= edge <= segment.end for edge in edges)
    guessed = [word for segment in settled.sentences for word in segment.words if word.confidence is None]
    assert len(guessed) == settled.estimated
