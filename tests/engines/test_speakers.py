"""Who says which words becomes segments of one speaker each, in which nothing but the speaker is new."""

from hypothesis import given
from hypothesis import strategies as st

from domain.transcript import Segment, Word
from engines.server.models.speakers import SaidBy, tell_apart


def segment(*said: tuple[str, float, float], text: str | None = None, start: float = 0.0, end: float = 10.0) -> Segment:
    words = tuple(Word(start=begin, end=finish, text=word, confidence=0.9) for word, begin, finish in said)
    return Segment(start=start, end=end, text=text or " ".join(word.text for word in words), words=words)


def spoken(found: Segment, *labels: str | None, most: str | None = None) -> list[tuple[int | None, str]]:
    parts = tell_apart([found], [SaidBy(most, labels)])
    return [(part.speaker_tag, part.text) for part in parts]


def test_speakers_are_numbered_in_the_order_in_which_they_first_speak() -> None:
    said = [segment(("one", 0, 1)), segment(("two", 1, 2)), segment(("three", 2, 3))]
    labels = [SaidBy(None, (label,)) for label in ("SPEAKER_07", "SPEAKER_00", "SPEAKER_07")]
    assert [part.speaker_tag for part in tell_apart(said, labels)] == [0, 1, 0]


def test_a_segment_of_two_speakers_is_cut_where_they_change() -> None:
    found = segment(("how", 0, 1), ("are", 1, 2), ("fine,", 2, 3), ("thanks", 3, 4))
    assert spoken(found, "A", "A", "B", "B") == [(0, "how are"), (1, "fine, thanks")]


def test_a_segment_keeps_its_own_edges_and_confidence() -> None:
    found = segment(("so", 1, 2), ("yes", 3, 4), start=0.5, end=6).model_copy(update={"confidence": 0.4})
    parts = list(tell_apart([found], [SaidBy(None, ("A", "B"))]))
    assert [(part.start, part.end, part.confidence) for part in parts] == [(0.5, 2, 0.4), (3, 6, 0.4)]
    assert [word.model_copy(update={"speaker_tag": None}) for part in parts for word in part.words] == [*found.words]


def test_those_who_speak_at_once_are_told_apart_where_the_second_begins() -> None:
    found = segment(("yes", 0, 2), ("but", 1.5, 3))
    one, other = tell_apart([found], [SaidBy(None, ("A", "B"))])
    assert one.end == one.words[-1].end == other.start == 1.5


def test_a_cut_keeps_a_language_without_spaces_without_them() -> None:
    found = segment(*((char, at, at + 1) for at, char in enumerate("你好我好")), text="你好我好")
    assert spoken(found, *"AABB") == [(0, "你好"), (1, "我好")]


def test_a_slip_of_the_diarizer_within_a_segment_is_no_turn() -> None:
    found = segment(("I", 0, 0.6), ("am", 0.6, 0.8), ("well", 0.8, 1.4))
    assert spoken(found, *"ABA") == [(0, "I am well")]


def test_words_that_nobody_claims_belong_to_who_spoke_before() -> None:
    found = segment(("well", 0, 1), ("then", 1, 2), ("so", 2, 3), ("good", 3, 4))
    assert spoken(found, None, "A", None, "B") == [(0, "well then so"), (1, "good")]


def test_words_that_are_not_those_of_the_text_are_no_place_to_cut_it() -> None:
    found = segment(("ten", 0, 1), ("milligrams", 1, 2), ("right", 2, 5), text="10 mg, right?")
    (part,) = tell_apart([found], [SaidBy("A", ("A", "A", "B"))])
    assert (part.text, part.speaker_tag) == ("10 mg, right?", 0)
    assert [word.text for word in part.words] == ["ten", "milligrams", "right"]


def test_no_segment_is_without_text() -> None:
    found = segment(("", 0, 1), ("yes", 1, 3), text="yes")
    assert spoken(found, "A", "B") == [(0, "yes")]


def test_without_words_the_speaker_is_that_of_the_segment() -> None:
    found = segment(text="hello")
    assert spoken(found, most="A") == [(0, "hello")]
    assert spoken(found) == [(None, "hello")]


LABELS = st.sampled_from([None, "A", "B", "C"])
WORDS = st.lists(st.tuples(st.text("ab1", min_size=1, max_size=4), st.floats(0, 1.5), LABELS), max_size=10)


@given(st.lists(st.tuples(WORDS, LABELS, st.booleans()), max_size=5))
def test_whoever_speaks_nothing_is_lost_and_segments_are_sound(
    said: list[tuple[list[tuple[str, float, str | None]], str | None, bool]],
) -> None:
    segments, labels, now = [], [], 0.0
    for words, most, of_text in said:
        spans = []
        for text, seconds, _ in words:
            spans.append((text, now, now + seconds))
            now += seconds
        text = " ".join(word for word, *_ in words) if of_text and words else "something else"
        segments.append(segment(*spans, text=text, start=spans[0][1] if spans else now, end=now))
        labels.append(SaidBy(most, tuple(label for *_, label in words)))
    parts = list(tell_apart(segments, labels))
    assert " ".join(part.text for part in parts) == " ".join(found.text for found in segments)
    heard = [word.model_copy(update={"speaker_tag": None}) for part in parts for word in part.words]
    assert heard == [word for found in segments for word in found.words]
    edges = [edge for part in parts for edge in (part.start, part.end)]
    assert edges == sorted(edges)
    assert all(part.text for part in parts)
    assert all(word.speaker_tag == part.speaker_tag for part in parts for word in part.words)
    assert all(part.start <= word.start and word.end <= part.end for part in parts for word in part.words)
    tags = list(dict.fromkeys(part.speaker_tag for part in parts if part.speaker_tag is not None))
    assert tags == list(range(len(tags)))
