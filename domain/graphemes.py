"""How wide text stands on a screen, and where it may be parted without tearing a sign apart. Pure."""

import unicodedata
from collections.abc import Iterator
from functools import lru_cache

_MARKS = frozenset({"Mn", "Mc", "Me", "Cf"})
_JOINER = "\u200d"
"""Makes one sign of several emoji, and ligatures in Indian scripts."""
_SKIN_TONES = frozenset("\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff")
_EXTENDING_LETTERS = frozenset("\u0e33\u0eb3\uff9e\uff9f")
"""Thai and Lao AM, and the half-width voice marks of Japanese: letters by category, part of what stands before them."""
_VIRAMA = 9
"""Canonical combining class of the sign that makes a conjunct of two Indian consonants (UAX 29, rule GB9c)."""


@lru_cache(maxsize=4096)
def _char_columns(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def columns(text: str) -> int:
    """Width: Chinese, Japanese and Korean characters count two, marks and joiners none."""
    return sum(map(_char_columns, text))


def clusters(text: str) -> Iterator[str]:
    """`text` as its visible signs, in the main as UAX 29 has them; joined, they are `text` again."""
    begin, flags = 0, 0
    for at in range(1, len(text)):
        flags = flags + 1 if _is_flag_half(text[at - 1]) else 0
        if not _joins(text[at - 1], text[at]) and not (flags % 2 and _is_flag_half(text[at])):
            yield text[begin:at]
            begin = at
    if text:
        yield text[begin:]


def shorten(text: str, limit: int) -> str:
    """`text`, or as much of it as fits `limit` columns with the ellipsis that stands for the rest."""
    if columns(text) <= limit:
        return text
    kept, room = "", limit - 1
    for sign in clusters(text):
        room -= columns(sign)
        if room < 0:
            break
        kept += sign
    return kept.rstrip() + "…"


def _joins(before: str, char: str) -> bool:
    if before.isascii() and char.isascii():
        return False
    category = unicodedata.category(char)
    if category in _MARKS or char in _SKIN_TONES or char in _EXTENDING_LETTERS or before == _JOINER:
        return True
    return (category == "Lo" and unicodedata.combining(before) == _VIRAMA) or _makes_syllable(before, char)


def _is_flag_half(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"


def _makes_syllable(before: str, char: str) -> bool:
    """Korean letters that follow one another as parts of one syllable (UAX 29, rules GB6 to GB8)."""
    if "\u1160" <= char <= "\u11ff" or "\ud7b0" <= char <= "\ud7fb":  # vowels and finals
        return "\u1100" <= before <= "\u11ff" or "\ua960" <= before <= "\ua97c" or "\uac00" <= before <= "\ud7fb"
    leads = ("\u1100" <= char <= "\u115f", "\ua960" <= char <= "\ua97c", "\uac00" <= char <= "\ud7a3")
    return any(leads) and ("\u1100" <= before <= "\u115f" or "\ua960" <= before <= "\ua97c")
