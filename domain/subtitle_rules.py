"""Which cues break which rule of a profile, and by how much. Pure."""

from collections.abc import Iterator, Sequence
from typing import Literal

from domain.cues import Cue
from domain.graphemes import columns
from domain.profiles import Profile
from domain.transcript import Value

Rule = Literal[
    "max_chars_per_line",
    "max_lines",
    "max_cps",
    "min_duration",
    "max_duration",
    "min_gap_seconds",
    "close_gaps_below_seconds",
    "overlap",
]
"""Public and stable: the field of the profile that is broken; `overlap` is a cue that begins before another ends."""

_HALF_A_MILLISECOND = 0.0005 + 1e-9
"""Times are whole milliseconds, limits need not be."""


class Breach(Value):
    """`found` and `allowed` in the unit of the rule: columns, lines, columns a second, seconds."""

    rule: Rule
    found: float
    allowed: float


class CueReport(Value):
    """How one cue stands to a profile; `number` counts from 1, as in SubRip. A gap is the one behind the cue."""

    number: int
    start: float
    end: float
    widest_line: int
    lines: int
    cps: float | None
    """None where the cue has no duration."""
    gap: float | None
    """Seconds until the next cue; None behind the last, below 0 where they overlap."""
    breaches: tuple[Breach, ...]


def validate(cues: Sequence[Cue], profile: Profile) -> list[CueReport]:
    """A report for every cue, in order; whether cut by us or by somebody else."""
    behind = [*cues[1:], None]
    return [_report(nth, cue, after, profile) for nth, (cue, after) in enumerate(zip(cues, behind, strict=False), 1)]


def _report(number: int, cue: Cue, after: Cue | None, profile: Profile) -> CueReport:
    duration = cue.end - cue.start
    text = columns(" ".join(cue.lines))
    report = CueReport(
        number=number,
        start=cue.start,
        end=cue.end,
        widest_line=max(map(columns, cue.lines), default=0),
        lines=len(cue.lines),
        cps=round(text / duration, 2) if duration > 0 else None,
        gap=None if after is None else round(after.start - cue.end, 3),
        breaches=(),
    )
    breaches = (*_of_lines(report, profile), *_of_time(report, text / profile.max_cps, profile))
    return report.model_copy(update={"breaches": breaches})


def _of_lines(cue: CueReport, profile: Profile) -> Iterator[Breach]:
    if cue.widest_line > profile.max_chars_per_line:
        yield Breach(rule="max_chars_per_line", found=cue.widest_line, allowed=profile.max_chars_per_line)
    if cue.lines > profile.max_lines:
        yield Breach(rule="max_lines", found=cue.lines, allowed=profile.max_lines)


def _of_time(cue: CueReport, reading: float, profile: Profile) -> Iterator[Breach]:
    duration = round(cue.end - cue.start, 3)
    if cue.cps is not None and duration < reading - _HALF_A_MILLISECOND:
        yield Breach(rule="max_cps", found=cue.cps, allowed=profile.max_cps)
    if duration < profile.min_duration - _HALF_A_MILLISECOND:
        yield Breach(rule="min_duration", found=duration, allowed=round(profile.min_duration, 3))
    if duration > profile.max_duration + _HALF_A_MILLISECOND:
        yield Breach(rule="max_duration", found=duration, allowed=profile.max_duration)
    if cue.gap is not None:
        yield from _of_gap(cue.gap, profile)


def _of_gap(gap: float, profile: Profile) -> Iterator[Breach]:
    least, closed = profile.min_gap_seconds, profile.close_gaps_below_seconds
    if gap < 0:
        yield Breach(rule="overlap", found=gap, allowed=0)
    elif gap < least - _HALF_A_MILLISECOND:
        yield Breach(rule="min_gap_seconds", found=gap, allowed=round(least, 3))
    elif least + _HALF_A_MILLISECOND < gap < closed - _HALF_A_MILLISECOND:
        yield Breach(rule="close_gaps_below_seconds", found=gap, allowed=closed)
