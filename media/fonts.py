"""Fonts for subtitles in the picture: where they are looked for, which come first, and what they lack.

fontconfig, which is part of our ffmpeg, finds them by a file of our own, as the system may have none.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from domain.transcript import Notice

SYSTEM_FOLDERS = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"))

_FAMILIES = ("Noto Sans", "DejaVu Sans", "Liberation Sans", "Noto Sans Arabic", "Droid Sans Fallback")
"""In this order, for what they have signs for. Without it, whichever font lies first lends its digits to all."""
_CJK_FAMILIES = {"zh": "Noto Sans CJK SC", "ja": "Noto Sans CJK JP", "ko": "Noto Sans CJK KR"}
"""The same characters are drawn otherwise in China, Japan and Korea."""
_TRADITIONAL = ("zh-hant", "zh-tw", "zh-hk", "yue")

_SCRIPTS = {
    "CJK": "Chinese",
    "IDEOGRAPHIC": "Chinese",
    "HIRAGANA": "Japanese",
    "KATAKANA": "Japanese",
    "HANGUL": "Korean",
}

_PUNCTUATION = "punctuation"
"""Says nothing where it is a script's own."""


def folders(chosen: Path | None) -> tuple[Path, ...]:
    return SYSTEM_FOLDERS if chosen is None else (chosen.absolute(), *SYSTEM_FOLDERS)


def configuration(places: Sequence[Path], language: str | None) -> str:
    """A file for fontconfig: these folders, and of several fonts that would do, the one that suits the language."""
    where = "".join(f"<dir>{escape(str(place))}</dir>" for place in places)
    prefer = "".join(f"<family>{family}</family>" for family in _families(language))
    return (
        '<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>'
        f"{where}<alias><family>sans-serif</family><prefer>{prefer}</prefer></alias></fontconfig>"
    )


def _families(language: str | None) -> list[str]:
    tag = (language or "").lower()
    chinese = "Noto Sans CJK TC" if tag.startswith(_TRADITIONAL) else _CJK_FAMILIES.get(tag[:2], "Noto Sans CJK SC")
    return [*_FAMILIES[:-1], *dict.fromkeys([chinese, *_CJK_FAMILIES.values()]), _FAMILIES[-1]]


def missing(characters: Iterable[str]) -> tuple[Notice, ...]:
    """`font_missing`, which names the scripts of characters that no font has; never the characters."""
    scripts = {script for character in characters if (script := _script(character)) is not None}
    if not scripts:
        return ()
    named = ", ".join(sorted(scripts - {_PUNCTUATION} or scripts))
    message = (
        f"no font on this worker has all signs of: {named}; they show as boxes. "
        "Install fonts-noto-core and fonts-noto-cjk, or set SUBTITLE_FONTS_DIR"
    )
    return (Notice(code="font_missing", message=message),)


def _script(character: str) -> str | None:
    """The script by the name of the character; None where it is nothing to be seen."""
    category = unicodedata.category(character)
    if category[0] in "CZ" and category not in ("Co", "Cn"):
        return None
    first = unicodedata.name(character, "").partition(" ")[0].removesuffix(",")
    if first in _SCRIPTS:
        return _SCRIPTS[first]
    if category[0] == "P":
        return _PUNCTUATION
    return first.capitalize() if category[0] in "LM" and first else "symbols"
