"""Signs that are never torn apart, and how wide they stand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.cues import to_cues
from domain.graphemes import clusters, columns, shorten
from domain.profiles import Profile
from domain.transcript import Segment

WHOLE = {
    "an accent that is a character of its own": "e\u0301",
    "a family": "👩\u200d👩\u200d👧",
    "a skin tone": "👍🏽",
    "a flag": "🇫🇷",
    "a key cap": "1\ufe0f\u20e3",
    "a Korean syllable in its letters": "\u1112\u1161\u11ab",
    "an open Korean syllable with its final": "가\u11a8",
    "a conjunct of Hindi": "क्ष",
    "a Thai vowel that follows": "กำ",
    "a half-width voiced sign": "ｶﾞ",
}


@pytest.mark.parametrize("sign", WHOLE.values(), ids=WHOLE.keys())
def test_what_a_reader_sees_as_one_sign_is_one(sign: str) -> None:
    assert list(clusters(f"{sign}{sign}x")) == [sign, sign, "x"]


def test_flags_are_parted_between_countries_only() -> None:
    assert list(clusters("🇫🇷🇩🇪🇪")) == ["🇫🇷", "🇩🇪", "🇪"]


def test_letters_and_syllables_stand_alone() -> None:
    assert list(clusters("ab한국ᄒᄒ\u1161")) == ["a", "b", "한", "국", "ᄒᄒ\u1161"]


@given(st.text())
def test_signs_joined_are_the_text_again(text: str) -> None:
    assert "".join(clusters(text)) == text
    assert "" not in list(clusters(text))


@pytest.mark.parametrize(("text", "width"), [("abc", 3), ("日本", 4), ("e\u0301", 1), ("한", 2), ("ｶ", 1), ("", 0)])
def test_wide_characters_count_two_and_marks_none(text: str, width: int) -> None:
    assert columns(text) == width


def test_what_is_shortened_ends_between_signs() -> None:
    assert shorten("e\u0301" * 6, 4) == "e\u0301" * 3 + "…"
    assert shorten("🇫🇷🇩🇪🇪🇸", 5) == "🇫🇷🇩🇪…"
    assert shorten("abcd", 4) == "abcd"


@pytest.mark.parametrize("sign", WHOLE.values(), ids=WHOLE.keys())
def test_no_line_begins_within_a_sign(sign: str) -> None:
    cues = to_cues([Segment(start=0, end=60, text=sign * 40)], Profile(max_chars_per_line=17))
    lines = [line for cue in cues for line in cue.lines]
    assert len(lines) > 1
    assert all(line == sign * (len(line) // len(sign)) for line in lines)
