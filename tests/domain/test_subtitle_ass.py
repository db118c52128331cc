"""ASS: what is said stays text, whatever it looks like, and speakers can be told apart."""

import re
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.cues import Cue
from domain.profiles import Profile
from domain.subtitles import WORD_JOINER, Look, to_ass, to_srt, write_ass
from domain.transcript import Segment

COLOURED = Profile(speaker_style="colour")
TALK = (
    Segment(start=0, end=2, text="How are you?", speaker_tag=0),
    Segment(start=3, end=5, text="Tired.", speaker_tag=1),
    Segment(start=6, end=8, text="Since when?", speaker_tag=0),
)


def cue(*lines: str, start: float = 0.0, end: float = 1.0, tag: int | None = None, speaker: str | None = None) -> Cue:
    return Cue(start, end, lines, tag, speaker)


def events(ass: str) -> list[list[str]]:
    """The fields of every event, as players part them: nine commas, the rest is text."""
    head, _, body = ass.partition("\n[Events]\n")
    assert head.startswith("[Script Info]\n")
    rows = body.splitlines()
    assert rows[0].startswith("Format: ")
    names = rows[0].removeprefix("Format: ").split(", ")
    assert all(row.startswith("Dialogue: ") for row in rows[1:])
    return [row.removeprefix("Dialogue: ").split(",", len(names) - 1) for row in rows[1:]]


def styles(ass: str) -> dict[str, dict[str, str]]:
    rows = ass.partition("[V4+ Styles]\n")[2].partition("\n\n")[0].splitlines()
    names = rows[0].removeprefix("Format: ").split(", ")
    found = [dict(zip(names, row.removeprefix("Style: ").split(","), strict=True)) for row in rows[1:]]
    return {style["Name"]: style for style in found}


def hundredths(clock: str) -> int:
    match = re.fullmatch(r"(\d+):(\d\d):(\d\d)\.(\d\d)", clock)
    assert match, clock
    h, m, s, c = map(int, match.groups())
    return ((h * 60 + m) * 60 + s) * 100 + c


def shown_by_libass(text: str) -> str:
    """What is drawn: blocks in braces are commands, `\\{` a bracket, and `\\N`, `\\n`, `\\h` white space."""
    drawn, at = "", 0
    while at < len(text):
        two = text[at : at + 2]
        if two == "\\{":
            drawn, at = drawn + "{", at + 2
        elif text[at] == "{" and "}" in text[at:]:
            assert text[at : text.index("}", at) + 1] == "{}", "a command"
            at = text.index("}", at) + 1
        elif two in ("\\N", "\\n", "\\h"):
            drawn, at = drawn + "\n", at + 2
        else:
            drawn, at = drawn + text[at], at + 1
    return drawn


def blocks_of_vsfilter(text: str) -> list[str]:
    """What other players take for commands: everything from a brace to the next one that closes."""
    return re.findall(r"\{([^}]*)\}", text)


lines_of_text = st.text(st.sampled_from("ab\\{}Nnhi,:;<>é中🙂 \u2060"), min_size=1, max_size=20)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(lines_of_text, min_size=1, max_size=3))
def test_what_is_said_comes_back_as_it_went_in(lines: list[str]) -> None:
    ((*_, text),) = events(write_ass([cue(*lines)]))
    escaped = [line.replace("\\", "\\" + WORD_JOINER) for line in lines]
    assert shown_by_libass(text) == "\n".join(escaped)


@pytest.mark.parametrize(
    "said",
    [
        r"{\pos(0,0)}",
        r"{\p1}m 0 0 l 100 0",
        r"\N",
        r"\h",
        r"{\fscx900}big{\r}",
        "{comment}",
        r"\{\b1}",
        "{",
        "}{",
        "\\",
    ],
)
def test_no_text_is_taken_for_a_command(said: str) -> None:
    ((*_, text),) = events(write_ass([cue(said)]))
    assert shown_by_libass(text).replace("\\" + WORD_JOINER, "\\") == said
    assert not [block for block in blocks_of_vsfilter(text) if re.search(r"\\[a-z0-9]", block)]


def test_a_name_cannot_end_its_field_or_its_line() -> None:
    ass = to_ass(TALK, names={0: "Lee, MD\nDialogue: 9,{\\b1}"})
    assert [fields[4] for fields in events(ass)] == [
        "Lee; MD Dialogue: 9;\\{{}\\\u2060b1}", "Speaker 2", "Lee; MD Dialogue: 9;\\{{}\\\u2060b1}",
    ]  # fmt: skip


def test_speakers_have_a_style_and_a_colour_each() -> None:
    ass = to_ass(TALK, COLOURED)
    assert [(fields[3], fields[-1]) for fields in events(ass)] == [
        ("Speaker 1", "How are you?"), ("Speaker 2", "Tired."), ("Speaker 1", "Since when?"),
    ]  # fmt: skip
    colours = [style["PrimaryColour"] for style in styles(ass).values()]
    assert colours == ["&H00FFFFFF", "&H0000FFFF"]


def test_by_name_all_are_white() -> None:
    ass = to_ass(TALK)
    assert [fields[-1] for fields in events(ass)][:2] == ["Speaker 1: How are you?", "Speaker 2: Tired."]
    assert {style["PrimaryColour"] for style in styles(ass).values()} == {"&H00FFFFFF"}


def test_subrip_says_the_name_where_colours_were_asked_for() -> None:
    assert "\nSpeaker 1: How are you?\n" in to_srt(TALK, COLOURED)


def test_every_event_has_a_style_that_is_there() -> None:
    ass = write_ass([cue("a"), cue("b", start=1, end=2, tag=7)])
    assert {fields[3] for fields in events(ass)} == set(styles(ass)) == {"Default", "Speaker 8"}
    assert set(styles(write_ass([]))) == {"Default"}


times = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 30)), min_size=1, max_size=30)


@given(times)
def test_events_never_overlap_and_are_never_empty(spans: list[tuple[int, int]]) -> None:
    """Milliseconds are finer than what ASS can say."""
    cues, now = [], 0
    for length, gap in spans:
        cues.append(cue("x", start=now / 1000, end=(now + length) / 1000))
        now += length + gap
    clocks = [(hundredths(fields[1]), hundredths(fields[2])) for fields in events(write_ass(cues))]
    assert all(start < end for start, end in clocks)
    assert all(one[1] <= other[0] for one, other in pairwise(clocks))


def test_times_are_of_a_hundredth_of_a_second() -> None:
    ((_, start, end, *_),) = events(write_ass([cue("late", start=3725.254, end=3726.756)]))
    assert (start, end) == ("1:02:05.25", "1:02:06.76")


@pytest.mark.parametrize(
    ("width", "height", "size"), [(1920, 1080, 72), (1280, 720, 48), (1080, 1920, 46), (32, 32, 1)]
)
def test_letters_fit_the_picture(width: int, height: int, size: int) -> None:
    look = Look(width, height)
    assert look.font_size == size
    ass = write_ass([cue("x")], look)
    assert f"PlayResX: {width}\nPlayResY: {height}\n" in ass
    assert styles(ass)["Default"]["Fontsize"] == str(size)


def test_the_place_on_the_picture_can_be_chosen() -> None:
    assert styles(write_ass([cue("x")]))["Default"]["Alignment"] == "2"
    assert styles(write_ass([cue("x")], Look(alignment=8)))["Default"]["Alignment"] == "8"
