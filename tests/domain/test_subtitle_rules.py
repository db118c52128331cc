"""A report for every cue: which rule it breaks, what was found, what is allowed."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.cues import Cue, to_cues
from domain.profiles import PROFILES, Profile
from domain.subtitle_rules import Breach, validate
from domain.transcript import Segment, Word

PROFILE = PROFILES["default"]


def cue(*lines: str, start: float = 0.0, end: float = 2.0) -> Cue:
    return Cue(start, end, lines, None, None)


def breaches(cues: list[Cue], profile: Profile = PROFILE) -> list[tuple[int, str, float, float]]:
    return [
        (report.number, breach.rule, breach.found, breach.allowed)
        for report in validate(cues, profile)
        for breach in report.breaches
    ]


def test_a_cue_that_keeps_every_rule_is_reported_with_its_figures() -> None:
    (report,) = validate([cue("Good morning.", "日本")], PROFILE)
    assert report.breaches == ()
    assert (report.number, report.lines, report.widest_line, report.cps, report.gap) == (1, 2, 13, 9.0, None)


@pytest.mark.parametrize(
    ("cues", "expected"),
    [
        ([cue("x" * 43, end=5)], (1, "max_chars_per_line", 43, 42)),
        ([cue("日" * 22, end=5)], (1, "max_chars_per_line", 44, 42)),
        ([cue("a", "b", "c")], (1, "max_lines", 3, 2)),
        ([cue("x" * 40)], (1, "max_cps", 20, 17)),
        ([cue("No.", end=0.5)], (1, "min_duration", 0.5, 0.833)),
        ([cue("So…", end=7.5)], (1, "max_duration", 7.5, 7)),
        ([cue("a"), cue("b", start=2.05, end=4)], (1, "min_gap_seconds", 0.05, 0.083)),
        ([cue("a"), cue("b", start=2.3, end=4)], (1, "close_gaps_below_seconds", 0.3, 0.5)),
        ([cue("a"), cue("b", start=1.5, end=4)], (1, "overlap", -0.5, 0)),
    ],
)
def test_each_rule_names_what_was_found_and_what_is_allowed(
    cues: list[Cue], expected: tuple[int, str, float, float]
) -> None:
    assert breaches(cues) == [expected]


@pytest.mark.parametrize(
    "cues",
    [
        [cue("x" * 34)],
        [cue("x" * 20, end=1.176)],
        [cue("No.", end=0.833)],
        [cue("x", end=7.0)],
        [cue("a"), cue("b", start=2.083, end=4)],
        [cue("a"), cue("b", start=2.5, end=4)],
    ],
)
def test_what_just_keeps_a_rule_breaks_none(cues: list[Cue]) -> None:
    assert breaches(cues) == []


def test_a_cue_without_duration_has_no_speed() -> None:
    (report,) = validate([cue("x", end=0.0)], PROFILE)
    assert report.cps is None
    assert [breach.rule for breach in report.breaches] == ["min_duration"]


def test_no_cues_make_no_reports() -> None:
    assert validate([], PROFILE) == []


def test_every_rule_but_overlap_is_a_field_of_the_profile() -> None:
    rules = Breach.model_fields["rule"].annotation.__args__  # type: ignore[union-attr]
    assert set(rules) - Profile.model_fields.keys() == {"overlap"}


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.integers(1, 12), st.floats(0.05, 0.9), st.floats(0, 3)), min_size=1, max_size=60),
    st.sampled_from(sorted(PROFILES)),
)
def test_of_our_own_cues_none_is_too_wide_too_long_or_over_another(
    words: list[tuple[int, float, float]], name: str
) -> None:
    """How fast somebody speaks, and pauses, is not ours; a gap stays where closing it makes a cue too long."""
    heard, now = [], 0.0
    for length, seconds, pause in words:
        heard.append(Word(start=now, end=now + seconds, text="x" * length))
        now += seconds + pause
    segment = Segment(start=0, end=now, text=" ".join(word.text for word in heard), words=tuple(heard))
    rules = {rule for _, rule, _, _ in breaches(to_cues([segment], PROFILES[name]), PROFILES[name])}
    assert rules <= {"max_cps", "min_duration", "close_gaps_below_seconds"}


def test_a_pause_that_would_flicker_is_closed() -> None:
    early, late = Segment(start=0, end=2, text="Good morning."), Segment(start=2.3, end=4, text="Good morning.")
    for profile, end in ((PROFILES["default"], 2.217), (PROFILES["broadcast"], 2.3)):
        assert to_cues([early, late], profile)[0].end == end
    assert to_cues([early, late], Profile(close_gaps_below_seconds=0))[0].end == 2.0


def test_a_pause_that_is_heard_stays() -> None:
    early, late = Segment(start=0, end=2, text="Good morning."), Segment(start=2.6, end=4, text="Good morning.")
    assert to_cues([early, late], PROFILES["default"])[0].end == 2.0


def test_the_name_of_a_speaker_has_to_be_read_as_well() -> None:
    talk = [
        Segment(start=0, end=1, text="x" * 17, speaker_tag=0),
        Segment(start=9, end=10, text="x" * 17, speaker_tag=1),
    ]
    named, bare = to_cues(talk)[0], to_cues(talk, Profile(speaker_style="none"))[0]
    assert (named.end, bare.end) == (1.647, 1.0)
