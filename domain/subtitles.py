"""Cues → SubRip, WebVTT and ASS; transcript → plain text. Pure; how cues are cut is `domain.cues`' part."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from domain.cues import NO_NAMES, Cue, is_dialogue, speaker_name, to_cues
from domain.profiles import DEFAULT_PROFILE, Profile
from domain.transcript import Segment, join_text

Format = Literal["srt", "vtt", "ass"]


def shown_in(kind: Format, profile: Profile) -> Profile:
    """The profile as a format can keep it: in SubRip colours are names, in WebVTT speakers are voice spans."""
    if kind == "vtt":
        return profile.model_copy(update={"speaker_style": "none"})
    if kind == "srt" and profile.speaker_style == "colour":
        return profile.model_copy(update={"speaker_style": "name"})
    return profile


def to_srt(segments: Iterable[Segment], profile: Profile = DEFAULT_PROFILE, names: Mapping[int, str] = NO_NAMES) -> str:
    """SubRip. It has no colours, so that a profile which asks for them gets names."""
    return write_srt(to_cues(segments, shown_in("srt", profile), names))


def to_vtt(segments: Iterable[Segment], profile: Profile = DEFAULT_PROFILE, names: Mapping[int, str] = NO_NAMES) -> str:
    """WebVTT (W3C, 4 April 2019). Speakers are voice spans, so the profile's `speaker_style` does not apply."""
    return write_vtt(to_cues(segments, shown_in("vtt", profile), names))


def to_ass(segments: Iterable[Segment], profile: Profile = DEFAULT_PROFILE, names: Mapping[int, str] = NO_NAMES) -> str:
    """Advanced SubStation Alpha, for a screen of `Look`'s own size."""
    return write_ass(to_cues(segments, profile, names), Look(profile=profile))


def to_text(segments: Iterable[Segment], names: Mapping[int, str] = NO_NAMES) -> str:
    """Plain text: a paragraph for each turn of a speaker, or a line for each segment where one alone speaks."""
    heard = [segment for segment in segments if segment.text.strip()]
    if not is_dialogue(heard):
        return "".join(f"{segment.text.strip()}\n" for segment in heard)
    turns = groupby(heard, key=lambda segment: segment.speaker_tag)
    paragraphs = ((speaker_name(tag, names), join_text(segment.text for segment in turn)) for tag, turn in turns)
    return "\n".join(f"{name}: {text}\n" if name else f"{text}\n" for name, text in paragraphs)


# SubRip


def write_srt(cues: Sequence[Cue]) -> str:
    """It knows no escapes, so text goes in as it is."""
    return "".join(_srt_block(number, cue) for number, cue in enumerate(cues, start=1))


def _srt_block(number: int, cue: Cue) -> str:
    lines = "\n".join(cue.lines)
    return f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n{lines}\n\n"


def _clock(seconds: float, point: str) -> str:
    """Hours, minutes, seconds, `point`, milliseconds: SubRip writes a comma there, WebVTT a full stop."""
    minutes, milliseconds = divmod(round(seconds * 1000), 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{milliseconds // 1000:02}{point}{milliseconds % 1000:03}"


# WebVTT


def write_vtt(cues: Sequence[Cue]) -> str:
    return "WEBVTT\n\n" + "".join(
        f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{_voiced(cue)}\n\n" for cue in cues
    )


def _voiced(cue: Cue) -> str:
    text = "\n".join(map(_escaped_for_vtt, cue.lines))
    return text if cue.speaker is None else f"<v {_escaped_for_vtt(cue.speaker)}>{text}</v>"


def _escaped_for_vtt(text: str) -> str:
    """`-->`, which may stand in no cue, goes with its `>`."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


# ASS

SPEAKER_COLOURS = ("FFFFFF", "00FFFF", "FFFF00", "00FF00")
"""White, yellow, cyan and green, as the BBC tells speakers apart, in the order in which they are counted; written blue,
green, red. A fifth speaker is white again: no more colours are told apart on every picture."""

_FONT_HEIGHT = 1 / 15
"""Of the height of the picture; of our own, by looking at pictures."""
_COLUMN = 0.5
"""Width of a column in heights of the font; DejaVu Sans, the widest of the fonts that we expect, on average."""
_SAFE = 0.05
"""Margin to each side; EBU R 95: graphics stay within 90 % of the picture."""


@dataclass(frozen=True, slots=True)
class Look:
    """How cues stand on a picture of this size in pixels.

    `alignment` is as on a number pad: 2 is the middle below, 8 above. `font` is a family; others fill in what it lacks.
    """

    width: int = 1920
    height: int = 1080
    font: str = "sans-serif"
    alignment: int = 2
    profile: Profile = DEFAULT_PROFILE

    @property
    def font_size(self) -> int:
        """So that a full line of the profile fits between the margins, and is no larger than a viewer needs."""
        widest = self.width * (1 - 2 * _SAFE) / (self.profile.max_chars_per_line * _COLUMN)
        return max(1, round(min(self.height * _FONT_HEIGHT, widest)))


def write_ass(cues: Sequence[Cue], look: Look = Look()) -> str:  # it is frozen
    """One style for every speaker, of a colour of its own where the profile says so.

    Times are of a hundredth of a second; cues that begin within the same one follow each other all the same.
    """
    tags = dict.fromkeys(cue.speaker_tag for cue in cues)
    styles = "".join(_ass_style(tag, look) for tag in tags or (None,))
    return f"{_ass_head(look)}{styles}{_ASS_EVENTS}{''.join(_ass_events(cues))}"


_ASS_STYLE_FIELDS = (
    "Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, "
    "StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, "
    "Encoding"
)
_ASS_EVENTS = "\n[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"


def _ass_head(look: Look) -> str:
    return (
        "[Script Info]\nScriptType: v4.00+\n"
        f"PlayResX: {look.width}\nPlayResY: {look.height}\n"
        # Lines are ours; only one that a wide font makes too wide is wrapped. Colours are meant as they are written.
        "WrapStyle: 0\nScaledBorderAndShadow: yes\nYCbCr Matrix: None\n\n"
        f"[V4+ Styles]\nFormat: {_ASS_STYLE_FIELDS}\n"
    )


def _ass_style(tag: int | None, look: Look) -> str:
    coloured = look.profile.speaker_style == "colour" and tag is not None
    colour = SPEAKER_COLOURS[tag % len(SPEAKER_COLOURS)] if coloured and tag is not None else SPEAKER_COLOURS[0]
    outline = max(1, round(look.font_size / 18))
    side, below = round(look.width * _SAFE), round(look.height * _SAFE)
    # Encoding -1: the direction of a line is that of its text, as Arabic and Hebrew need.
    return (
        f"Style: {_style_name(tag)},{look.font},{look.font_size},&H00{colour},&H00{colour},&H00000000,&H80000000,"
        f"0,0,0,0,100,100,0,0,1,{outline},{outline // 2},{look.alignment},{side},{side},{below},-1\n"
    )


def _style_name(tag: int | None) -> str:
    return "Default" if tag is None else f"Speaker {tag + 1}"


def _ass_events(cues: Sequence[Cue]) -> Iterator[str]:
    latest = 0
    for cue in cues:
        start = max(latest, round(cue.start * 100))
        latest = max(start + 1, round(cue.end * 100))
        # A comma would end the field.
        name = _escaped_for_ass(cue.speaker or "").replace(",", ";")
        text = "\\N".join(map(_escaped_for_ass, cue.lines))
        times = f"{_ass_clock(start)},{_ass_clock(latest)}"
        yield f"Dialogue: 0,{times},{_style_name(cue.speaker_tag)},{name},0,0,0,,{text}\n"


def _ass_clock(hundredths: int) -> str:
    minutes, rest = divmod(hundredths, 6000)
    return f"{minutes // 60}:{minutes % 60:02}:{rest // 100:02}.{rest % 100:02}"


WORD_JOINER = "\u2060"
"""Shows as nothing; what stands before and behind it is no command any more."""


def _escaped_for_ass(text: str) -> str:
    r"""ASS has no escapes. A `\` is a command by what follows it, so something invisible does; `\{` is a bracket for
    libass and a stray `\` elsewhere, and the empty command behind it is one for all, so that text is never run.
    """
    return "".join({"\\": "\\" + WORD_JOINER, "{": "\\{{}"}.get(char, char) for char in text)
