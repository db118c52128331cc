"""Rules by which cues are cut, and the sets of them that have a name. Pure.

Named here are: NTTS, the Netflix Timed Text Style Guide, General Requirements and English template; BBC, the BBC
Subtitle Guidelines 1.1.7. Both by what others quote of them.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from pydantic import Field

from domain.errors import Invalid
from domain.transcript import Value

SpeakerStyle = Literal["name", "dash", "colour", "none"]


class Profile(Value):
    """How cues are cut; the defaults follow NTTS."""

    max_chars_per_line: int = Field(default=42, ge=16)
    """NTTS, English, Character Limitation. Wide characters (Chinese, Japanese, Korean) count as two."""
    max_lines: int = Field(default=2, ge=1)
    """NTTS, Line Treatment."""
    max_cps: float = Field(default=17, gt=0)
    """Characters a second that a reader follows; NTTS, English, Reading Speed, the stricter of its two. Speech that is
    faster is not cut: its cues stay longer where the next one leaves room."""
    min_duration: float = Field(default=5 / 6, gt=0)
    """Seconds; NTTS, Duration."""
    max_duration: float = Field(default=7, gt=0)
    """Seconds; NTTS, Duration."""
    min_gap_seconds: float = Field(default=2 / 24, ge=0)
    """NTTS, Frame Gap: two frames, at 24 a second."""
    close_gaps_below_seconds: float = Field(default=0.5, ge=0)
    """A pause that is shorter only flickers, so the cue stays until `min_gap_seconds` before the next; NTTS, Frame
    Gap: half a second."""
    max_linger_seconds: float = Field(default=1.5, ge=0)
    """How long a cue may stay for its reader once its speech has ended; BBC, 5.2."""
    speaker_style: SpeakerStyle = "name"
    """How a change of speaker shows, if there is more than one: "Speaker 1: " or "- " before the words, or a colour
    for each; a format without colours says the name instead."""


DEFAULT_PROFILE = Profile()

PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        "default": DEFAULT_PROFILE,
        "broadcast": Profile(
            max_chars_per_line=37,  # BBC, 3.1: what teletext has room for
            max_cps=18,  # BBC, 4.1: 180 words a minute; six characters a word, its space included
            min_duration=1,  # of our own: BBC, 4.1 counts by words, and so little that one word would flash
            min_gap_seconds=0,  # BBC, 4.5: subtitles follow at once, or after a second at least
            close_gaps_below_seconds=1,
            speaker_style="colour",  # BBC, on identifying speakers
        ),
        # Figures of our own, as no guide that we know has any: at a 25th of the height of a picture that is 9 wide and
        # 16 high, 26 columns fill nine tenths of its width.
        "phone": Profile(max_chars_per_line=26, max_duration=5),
    }
)
"""By name, as callers choose them."""


def profile_named(name: str) -> Profile:
    """Raises Invalid."""
    if name not in PROFILES:
        raise Invalid(f"there is no profile {name!r}; choose one of {', '.join(PROFILES)}", field="profile")
    return PROFILES[name]
