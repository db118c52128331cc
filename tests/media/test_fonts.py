from pathlib import Path
from xml.etree import ElementTree

import pytest

from media import fonts
from media.languages import three_letters


def families(language: str | None) -> list[str]:
    parsed = ElementTree.fromstring(fonts.configuration([Path("/a & b")], language))
    assert [place.text for place in parsed.iter("dir")] == ["/a & b"]
    return [family.text or "" for family in parsed.findall("alias/prefer/family")]


@pytest.mark.parametrize(
    ("language", "first"),
    [("ja", "JP"), ("ko-KR", "KR"), ("zh", "SC"), ("zh-TW", "TC"), ("zh-Hant-HK", "TC"), ("yue", "TC"), (None, "SC")],
)
def test_characters_are_drawn_as_the_language_draws_them(language: str | None, first: str) -> None:
    assert next(family for family in families(language) if "CJK" in family) == f"Noto Sans CJK {first}"


def test_letters_and_digits_come_from_a_font_that_has_both() -> None:
    assert families("ar")[0] == "Noto Sans"


def test_the_folder_that_was_chosen_comes_first() -> None:
    assert fonts.folders(Path("/mine"))[0] == Path("/mine")
    assert fonts.folders(None) == fonts.SYSTEM_FOLDERS


@pytest.mark.parametrize(
    ("characters", "named"),
    [
        ("中！", "Chinese"),
        ("ひカ", "Japanese"),
        ("한", "Korean"),
        ("ไ", "Thai"),
        ("ب", "Arabic"),
        ("д", "Cyrillic"),
        ("🙂", "symbols"),
        ("！", "punctuation"),
        ("中ไ", "Chinese, Thai"),
    ],
)
def test_what_is_missing_is_named_by_its_script(characters: str, named: str) -> None:
    (notice,) = fonts.missing(characters)
    assert f"signs of: {named};" in notice.message


def test_what_cannot_be_seen_is_not_missed() -> None:
    assert fonts.missing("\u2060\u200d \n") == ()


@pytest.mark.parametrize(
    ("tag", "code"), [("pt-BR", "por"), ("en", "eng"), ("ZH-Hant", "zho"), ("yue", "yue"), ("xx", "und"), (None, "und")]
)
def test_a_track_says_its_language_in_three_letters(tag: str | None, code: str) -> None:
    assert three_letters(tag) == code
