"""Text that can be kept and passed on: PostgreSQL takes no NUL, and no encoding has a surrogate that stands alone.

What a caller says is taken as it is or refused; what an engine says is worth more than one such sign.
"""

import re
import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator

UNKEEPABLE = re.compile("[\x00\ud800-\udfff]")


def plain(text: str) -> str:
    """The same text. Raises ValueError where it has a control character besides line feeds and tabs."""
    if any(unicodedata.category(sign) in ("Cc", "Cs") and sign not in "\n\t" for sign in text):
        raise ValueError("control characters are not taken")
    return text


def keepable(text: str) -> str:
    """The text without what cannot be kept."""
    return text if text.isprintable() else UNKEEPABLE.sub("", text)


def _keepable_json(value: Any) -> Any:
    match value:
        case str():
            return keepable(value)
        case list():
            return [_keepable_json(each) for each in value]
        case dict():
            return {_keepable_json(name): _keepable_json(each) for name, each in value.items()}
    return value


IS_PLAIN = AfterValidator(plain)
"""Behind limits of length, which speak of characters only where they stand next to `str`."""

Plain = Annotated[str, IS_PLAIN]
"""What a caller says."""

Told = Annotated[str, AfterValidator(keepable)]
"""What an engine says."""

ToldObject = Annotated[dict[str, Any], AfterValidator(_keepable_json)]
"""A JSON object as an engine gives it."""
