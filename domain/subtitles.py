"""Transcript → SubRip, WebVTT and plain text. Pure; how cues are cut is `domain.cues`' part."""

from collections.abc import Iterable, Mapping
from itertools import groupby

from domain.cues import DEFAULT_PROFILE, NO_NAMES, Cue, Profile, is_dialogue, speaker_name, to_cues
from domain.transcript import Segment, join_text


def to_srt(segments: Iterable[Segment], profile: Profile = DEFAULT_PROFILE, names: Mapping[int, str] = NO_NAMES) -> str:
    """SubRip. It knows no escapes, so text goes in as it is."""
    cues = to_cues(segments, profile, names)
    return "".join(_srt_block(number, cue) for number, cue in enumerate(cues, start=1))


def to_vtt(segments: Iterable[Segment], profile: Profile = DEFAULT_PROFILE, names: Mapping[int, str] = NO_NAMES) -> str:
    """WebVTT (W3C, 4 April 2019). Speakers are voice spans, so the profile's `speaker_style` does not apply."""
    cues = to_cues(segments, profile.model_copy(update={"speaker_style": "none"}), names)
    return "WEBVTT\n\n" + "".join(
        f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{_voiced(cue)}\n\n" for cue in cues
    )


def to_text(segments: Iterable[Segment], names: Mapping[int, str] = NO_NAMES) -> str:
    """Plain text: a paragraph for each turn of a speaker, or a line for each segment where one alone speaks."""
    heard = [segment for segment in segments if segment.text.strip()]
    if not is_dialogue(heard):
        return "".join(f"{segment.text.strip()}\n" for segment in heard)
    turns = groupby(heard, key=lambda segment: segment.speaker_tag)
    paragraphs = ((speaker_name(tag, names), join_text(segment.text for segment in turn)) for tag, turn in turns)
    return "\n".join(f"{name}: {text}\n" if name else f"{text}\n" for name, text in paragraphs)


def _srt_block(number: int, cue: Cue) -> str:
    lines = "\n".join(cue.lines)
    return f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n{lines}\n\n"


def _clock(seconds: float, point: str) -> str:
    """Hours, minutes, seconds, `point`, milliseconds: SubRip writes a comma there, WebVTT a full stop."""
    minutes, milliseconds = divmod(round(seconds * 1000), 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{milliseconds // 1000:02}{point}{milliseconds % 1000:03}"


def _voiced(cue: Cue) -> str:
    text = "\n".join(map(_escaped, cue.lines))
    return text if cue.speaker is None else f"<v {_escaped(cue.speaker)}>{text}</v>"


def _escaped(text: str) -> str:
    """For WebVTT; `-->`, which may stand in no cue, goes with its `>`."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
