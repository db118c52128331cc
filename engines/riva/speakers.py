"""Riva's speaker tags → our numbers, in the order in which speakers first speak. Pure."""

from collections.abc import Iterable

NOBODY = 0
"""What the published protocol means by tag 0. Some servers mean their first speaker."""


class Speakers:
    """Tags are opaque: they need not begin anywhere, or follow one another.

    0 is a speaker where most words of a reply have it, if speakers are known to be told apart: by the diarizer's name,
    or as other tags have come. Otherwise it is nobody. Once a speaker, it stays one.
    """

    def __init__(self, *, asked: bool, diarizer_known: bool) -> None:
        """`asked`: without it, tags that come all the same are not used."""
        self._asked = asked
        self._told_apart = diarizer_known
        self._zero_speaks = False
        self._numbers: dict[int, int] = {}

    @property
    def count(self) -> int:
        return len(self._numbers)

    def give_up(self) -> None:
        """They are no longer asked for: every tag will be 0, and mean nobody."""
        self._asked = False

    def look(self, tags: Iterable[int]) -> None:
        """At all tags of one reply, before they are numbered."""
        seen = list(tags)
        self._told_apart = self._told_apart or any(tag != NOBODY for tag in seen)
        if self._told_apart and 2 * seen.count(NOBODY) > len(seen):
            self._zero_speaks = True

    def number(self, tag: int) -> int | None:
        if not self._asked or (tag == NOBODY and not self._zero_speaks):
            return None
        return self._numbers.setdefault(tag, len(self._numbers))
