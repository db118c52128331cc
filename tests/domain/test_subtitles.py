"""Cues by a profile, and the three formats that show them."""

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.cues import Cue, to_cues
from domain.profiles import Profile
from domain.subtitles import to_srt, to_text, to_vtt
from domain.transcript import Segment, Word

BARE = Profile(speaker_style="none")


def spoken(text: str, *, start: float = 0.0, seconds: float = 0.4, tag: int | None = None) -> Segment:
    """A segment whose words follow one another, `seconds` each."""
    words = tuple(
        Word(start=start + nth * seconds, end=start + (nth + 1) * seconds, text=word)
        for nth, word in enumerate(text.split())
    )
    return Segment(start=start, end=words[-1].end, text=text, speaker_tag=tag, words=words)


def columns(line: str) -> int:
    """What a terminal would show, reckoned apart from the code under test."""
    shown = [char for char in line if unicodedata.category(char) not in ("Mn", "Me", "Cf")]
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in shown)


def words_of(cues: Sequence[Cue]) -> list[str]:
    return [word for cue in cues for line in cue.lines for word in line.split()]


def letters_of(text: str) -> str:
    return "".join(text.split())


def parse(text: str, *, point: str) -> list[tuple[float, float, list[str]]]:
    """A strict reader of what SubRip and WebVTT share; anything unexpected is an error."""
    cues = []
    for block in text.removesuffix("\n\n").split("\n\n") if text else []:
        stamp, *lines = block.split("\n")
        match = re.fullmatch(rf"(\d\d+):(\d\d):(\d\d){point}(\d\d\d) --> (\d\d+):(\d\d):(\d\d){point}(\d\d\d)", stamp)
        assert match, stamp
        numbers = [int(group) for group in match.groups()]
        start, end = ((3_600_000 * h + 60_000 * m + 1000 * s + ms) / 1000 for h, m, s, ms in (numbers[:4], numbers[4:]))
        assert lines, "a cue without words"
        assert all(lines)
        cues.append((start, end, lines))
    return cues


def parse_srt(text: str) -> list[tuple[float, float, list[str]]]:
    blocks = text.removesuffix("\n\n").split("\n\n") if text else []
    assert [block.split("\n")[0] for block in blocks] == [str(number) for number in range(1, len(blocks) + 1)]
    return parse("".join(block.split("\n", 1)[1] + "\n\n" for block in blocks), point=",")


def parse_vtt(text: str) -> list[tuple[float, float, str | None, str]]:
    """Cues as (start, end, voice, text), with escapes undone as a browser does."""
    head, _, body = text.partition("\n\n")
    assert head == "WEBVTT"
    cues = []
    for start, end, lines in parse(body, point=r"\."):
        match = re.fullmatch(r"(?:<v ([^<>\n]+)>)?([^<>]*)(</v>)?", "\n".join(lines))
        assert match and bool(match[1]) == bool(match[3]), lines
        cues.append((start, end, match[1] and unescaped(match[1]), unescaped(match[2])))
    return cues


def unescaped(text: str) -> str:
    assert not re.search(r"&(?!amp;|lt;|gt;)", text)
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


# A busy machine is no failure of the code.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

alphabet = st.sampled_from("abcdefghijklmnopéñüçßΩжअि中文。「」한あー１&<>-.,!?'🙂\u0301\u200d\u00a0")
some_words = st.one_of(
    st.text(alphabet, min_size=1, max_size=12).filter(str.strip),
    st.sampled_from(["-->", "</v>", "\u200d", "&amp;", "1", "x" * 100, "中" * 60, "é" * 43]),
)


@st.composite
def transcripts(draw: st.DrawFn, *, overlapping: bool = False) -> list[Segment]:
    """Segments as engines promise them, or `overlapping` as no engine should; some with word times, some without."""
    segments: list[Segment] = []
    clock = 0.0
    for _ in range(draw(st.integers(0, 6))):
        begin = draw(st.floats(0, 5)) if overlapping else clock + draw(st.floats(0, 3))
        words = []
        clock = begin
        for text in draw(st.lists(some_words, min_size=1, max_size=30)):
            start = clock + draw(st.sampled_from([0.0, 0.0, 0.1, 2.0]))
            clock = start + draw(st.sampled_from([0.0, 0.01, 0.3, 0.5, 9.0]))
            words.append(Word(start=start, end=clock, text=text))
        text = " ".join(word.text for word in words)
        kept = {"all": words, "none": [], "some": words[::2]}[draw(st.sampled_from(["all", "none", "some"]))]
        tag = draw(st.sampled_from([None, 0, 1]))
        segments.append(Segment(start=begin, end=clock, text=text, speaker_tag=tag, words=tuple(kept)))
    return segments


profiles = st.builds(
    Profile,
    max_chars_per_line=st.sampled_from([16, 32, 42]),
    max_lines=st.integers(1, 3),
    min_gap_seconds=st.sampled_from([0, 2 / 24, 1]),
    max_duration=st.sampled_from([1, 7]),
    speaker_style=st.sampled_from(["name", "dash", "none"]),
)


class TestWhateverIsSaid:
    @unhurried
    @given(transcripts(), profiles)
    def test_no_letter_is_lost_or_moved(self, segments: list[Segment], profile: Profile) -> None:
        cues = to_cues(segments, profile.model_copy(update={"speaker_style": "none"}))
        said = letters_of("".join(segment.text for segment in segments))
        assert letters_of("".join(line for cue in cues for line in cue.lines)) == said

    @unhurried
    @given(st.lists(st.text("abcdefgh.,é", min_size=1, max_size=16), min_size=1, max_size=80), st.booleans(), profiles)
    def test_words_come_out_as_they_went_in(self, words: list[str], timed: bool, profile: Profile) -> None:
        segment = spoken(" ".join(words))
        segment = segment if timed else segment.model_copy(update={"words": ()})
        assert words_of(to_cues([segment], profile)) == words

    @unhurried
    @given(transcripts(overlapping=True), profiles)
    def test_cues_follow_one_another(self, segments: list[Segment], profile: Profile) -> None:
        cues = to_cues(segments, profile)
        assert all(0 <= cue.start < cue.end for cue in cues)
        assert all(first.end <= second.start for first, second in pairwise(cues))

    @unhurried
    @given(transcripts(overlapping=True), profiles)
    def test_each_speaker_keeps_the_order_of_words(self, segments: list[Segment], profile: Profile) -> None:
        alone = [segment.model_copy(update={"speaker_tag": nth}) for nth, segment in enumerate(segments)]
        cues = to_cues(alone, profile.model_copy(update={"speaker_style": "none"}))
        for nth, segment in enumerate(alone):
            mine = "".join(line for cue in cues if cue.speaker_tag == nth for line in cue.lines)
            assert letters_of(mine) == letters_of(segment.text)

    @unhurried
    @given(transcripts(overlapping=True), profiles)
    def test_every_cue_fits_the_screen(self, segments: list[Segment], profile: Profile) -> None:
        for cue in to_cues(segments, profile):
            assert 1 <= len(cue.lines) <= profile.max_lines
            assert all(line == line.strip(" ") and line for line in cue.lines)
            assert all(columns(line) <= profile.max_chars_per_line for line in cue.lines)
            assert cue.end - cue.start <= profile.max_duration + 0.0005

    @unhurried
    @given(transcripts(overlapping=True))
    def test_subrip_reads_back(self, segments: list[Segment]) -> None:
        assert parse_srt(to_srt(segments)) == [(cue.start, cue.end, list(cue.lines)) for cue in to_cues(segments)]

    @unhurried
    @given(transcripts(overlapping=True))
    def test_webvtt_reads_back(self, segments: list[Segment]) -> None:
        expected = [(cue.start, cue.end, cue.speaker, "\n".join(cue.lines)) for cue in to_cues(segments, BARE)]
        assert parse_vtt(to_vtt(segments)) == expected


class TestLines:
    def test_what_fits_stays_on_one_line(self) -> None:
        (cue,) = to_cues([spoken("I have had a cough since the weekend.")])
        assert cue.lines == ("I have had a cough since the weekend.",)

    def test_lines_are_about_even(self) -> None:
        (cue,) = to_cues([spoken("nobody remembered anything about yesterday evening", seconds=0.8)])
        assert cue.lines == ("nobody remembered anything", "about yesterday evening")

    def test_a_line_ends_with_its_clause_where_that_keeps_it_nearly_even(self) -> None:
        (cue,) = to_cues([spoken("Because it was raining, we stayed at home and talked.")])
        assert cue.lines == ("Because it was raining,", "we stayed at home and talked.")

    def test_a_line_does_not_end_with_an_article(self) -> None:
        (cue,) = to_cues([spoken("Somebody has opened the big old windows again.")])
        assert cue.lines == ("Somebody has opened", "the big old windows again.")

    def test_a_word_is_broken_only_when_it_is_longer_than_a_line(self) -> None:
        (cue,) = to_cues([spoken("see " + "a" * 42 + " ok", seconds=1)], BARE.model_copy(update={"max_lines": 3}))
        assert cue.lines == ("see", "a" * 42, "ok")
        (cue,) = to_cues([spoken("b" * 43)], BARE)
        assert cue.lines == ("b" * 42, "b")

    def test_wide_characters_count_two(self) -> None:
        (cue,) = to_cues([spoken("中" * 30, seconds=5)], BARE)
        assert cue.lines == ("中" * 15, "中" * 15)

    def test_no_line_of_japanese_begins_with_a_full_stop_or_ends_with_an_opening_quote(self) -> None:
        for text in ("あ" * 21 + "。" + "い" * 20, "あ" * 20 + "「" + "い" * 20 + "」"):
            for cue in to_cues([spoken(text, seconds=9)], BARE.model_copy(update={"max_duration": 20})):
                assert not any(line.startswith(("。", "」")) or line.endswith("「") for line in cue.lines)

    def test_korean_breaks_at_spaces_only(self) -> None:
        cues = to_cues([spoken("안녕하세요 " * 12)], BARE)
        assert words_of(cues) == ["안녕하세요"] * 12

    def test_a_no_break_space_keeps_french_punctuation_with_its_word(self) -> None:
        text = " ".join(["Vraiment\u00a0?"] * 12)
        lines = [line for cue in to_cues([spoken(text)], BARE) for line in cue.lines]
        assert all(line.endswith("\u00a0?") and line.startswith("Vraiment") for line in lines)

    def test_signs_without_width_still_cost_the_spaces_between_them(self) -> None:
        cues = to_cues([spoken("\u200d " * 45, seconds=0.1)], BARE.model_copy(update={"max_lines": 1}))
        assert [len(cue.lines) for cue in cues] == [1, 1, 1]

    def test_one_sign_made_of_several_characters_stays_whole(self) -> None:
        family = "👩\u200d👩\u200d👧"
        (cue,) = to_cues([spoken(family * 9, seconds=5)], BARE.model_copy(update={"max_chars_per_line": 40}))
        assert sorted(len(line) // len(family) for line in cue.lines) == [4, 5]
        assert all(re.fullmatch(f"({family})+", line) for line in cue.lines)


class TestCuts:
    @pytest.mark.parametrize("first", ["The results came back and they are good.", "He said: “The results are good.”"])
    def test_a_cue_ends_with_its_sentence_where_the_next_does_not_fit(self, first: str) -> None:
        second = "Your blood pressure is a little high, but that is nothing new."
        cues = to_cues([spoken(f"{first} {second}", seconds=0.2)], BARE)
        assert [" ".join(cue.lines) for cue in cues] == [first, second]

    def test_short_sentences_share_a_cue(self) -> None:
        (cue,) = to_cues([spoken("Yes. I know. Thank you. It was last week.")], BARE)
        assert cue.lines == ("Yes. I know. Thank you. It was last week.",)

    @pytest.mark.parametrize("end", [".", ""])
    def test_a_long_silence_ends_a_cue(self, end: str) -> None:
        early, late = spoken(f"Let me think{end}"), spoken("Yes on Monday", start=4.0)
        whole = Segment(start=0, end=late.end, text=f"{early.text} {late.text}", words=early.words + late.words)
        assert [cue.start for cue in to_cues([whole], BARE)] == [0.0, 4.0]

    def test_without_punctuation_a_short_silence_is_the_place_to_cut(self) -> None:
        early = spoken("nobody came yesterday", seconds=0.25)
        late = spoken("everybody came back today when somebody opened every big window", start=1.25, seconds=0.25)
        whole = Segment(start=0, end=late.end, text=f"{early.text} {late.text}", words=early.words + late.words)
        assert [cue.start for cue in to_cues([whole], BARE)] == [0.0, 1.25]

    def test_no_cue_spans_more_than_the_longest_time(self) -> None:
        cues = to_cues([spoken("slow words " * 10, seconds=1.5)], BARE)
        assert max(cue.end - cue.start for cue in cues) <= 7
        assert len(cues) > 3

    def test_segments_do_not_share_a_cue(self) -> None:
        cues = to_cues([spoken("Yes."), spoken("No.", start=2)], BARE)
        assert [cue.lines for cue in cues] == [("Yes.",), ("No.",)]


class TestTimes:
    def test_cues_start_and_end_with_their_words(self) -> None:
        text = "The results came back yesterday and they are good. " + "Your blood pressure is still a little high now."
        first, second = to_cues([spoken(text, seconds=0.5)], BARE)
        assert first.start == 0.0
        assert second.start == 4.5

    def test_without_word_times_the_segment_is_shared_out_by_characters(self) -> None:
        text = "a" * 40 + " " + "b" * 40 + " " + "c" * 40 + " " + "d" * 40
        first, second = to_cues([Segment(start=10, end=20, text=text)], BARE)
        assert (first.start, second.start) == (10.0, 15.0)

    def test_text_that_is_not_word_for_word_what_was_heard_follows_the_words_by_characters(self) -> None:
        heard = spoken("aaaa bbbb cccc dddd", seconds=1.0)
        written = heard.model_copy(update={"text": "aaaabbbb! ccccdddd"})
        first, second = to_cues([written], BARE.model_copy(update={"max_chars_per_line": 16, "max_lines": 1}))
        assert first.start == 0.0
        assert second.start == pytest.approx(2.0, abs=0.15)

    def test_punctuation_that_the_words_lack_does_not_move_them(self) -> None:
        heard = spoken("aaaaaaa bbbbbbb ccccccc ddddddd", seconds=1.0)
        written = heard.model_copy(update={"text": "aaaaaaa, bbbbbbb!?! ccccccc ddddddd"})
        cues = to_cues([written], BARE.model_copy(update={"max_chars_per_line": 16, "max_lines": 1}))
        assert [cue.start for cue in cues] == [0.0, 1.0, 2.0]

    def test_times_that_run_backwards_do_not_move_words(self) -> None:
        text = "aaaaaaaaaaaaaa bbbbbbbbbbbbbb cccccccccccccc"
        heard = spoken(text, seconds=1.0)
        mixed = heard.model_copy(update={"words": (heard.words[0], heard.words[2], heard.words[1])})
        cues = to_cues([mixed], BARE.model_copy(update={"max_chars_per_line": 16, "max_lines": 1}))
        assert words_of(cues) == text.split()

    def test_of_two_who_speak_at_once_each_is_shown_when_they_speak(self) -> None:
        story = "It began last Monday on the way home. Then it went away again, and on Friday it came back."
        cues = to_cues([spoken(story, seconds=0.5, tag=0), spoken("Really?", start=2.0, tag=1)], BARE)
        assert [(cue.start, cue.speaker_tag) for cue in cues] == [(0.0, 0), (2.0, 1), (4.0, 0)]

    def test_a_short_word_stays_long_enough_to_be_read(self) -> None:
        (cue,) = to_cues([spoken("No.", seconds=0.1)])
        assert cue.end == pytest.approx(0.833)

    def test_fast_speech_stays_as_long_as_reading_takes(self) -> None:
        (cue,) = to_cues([spoken("x" * 34, seconds=1.0)])
        assert cue.end == 2.0

    def test_no_cue_lingers_far_behind_its_speech(self) -> None:
        (cue,) = to_cues([spoken("x" * 42, seconds=0.1)], BARE)
        assert cue.end == 1.6

    def test_a_gap_parts_cues_that_follow_at_once(self) -> None:
        first, second = to_cues([spoken("Good morning.", seconds=0.5), spoken("Good morning.", start=1.0)], BARE)
        assert (first.end, second.start) == (0.917, 1.0)


class TestSpeakers:
    TALK = (
        spoken("How are you?", tag=0),
        spoken("Tired.", start=3, tag=1),
        spoken("And my head aches.", start=5, tag=1),
        spoken("Since when?", start=8, tag=0),
    )

    def test_subrip_names_a_speaker_where_the_turn_begins(self) -> None:
        lines = [line for _, _, lines in parse_srt(to_srt(self.TALK)) for line in lines]
        assert lines == ["Speaker 1: How are you?", "Speaker 2: Tired.", "And my head aches.", "Speaker 1: Since when?"]

    def test_dashes_can_mark_the_turns(self) -> None:
        cues = to_cues(self.TALK, Profile(speaker_style="dash"))
        assert [cue.lines[0] for cue in cues] == ["- How are you?", "- Tired.", "And my head aches.", "- Since when?"]

    def test_webvtt_gives_every_cue_its_voice(self) -> None:
        voices = [(voice, text) for _, _, voice, text in parse_vtt(to_vtt(self.TALK))]
        assert voices[1:3] == [("Speaker 2", "Tired."), ("Speaker 2", "And my head aches.")]

    def test_names_take_the_place_of_numbers(self) -> None:
        names = {0: "Dr\n<Lee>", 1: " "}
        assert "<v Dr &lt;Lee&gt;>How are you?</v>" in to_vtt(self.TALK, names=names)
        assert "Dr <Lee>: How are you?" in to_srt(self.TALK, names=names)
        assert "Speaker 2: Tired." in to_srt(self.TALK, names=names)

    def test_a_very_long_name_leaves_room_for_words(self) -> None:
        cues = to_cues(self.TALK, names={0: "Doctor of Medicine Maria Magdalena Montgomery"})
        assert cues[0].lines == ("Doctor of Medicine…: How are you?",)

    def test_a_turn_that_goes_on_within_a_word_is_announced_as_any_other(self) -> None:
        cues = to_cues([spoken("中" * 80, seconds=10, tag=0), spoken("Yes.", start=2.0, tag=1)])
        assert [cue.lines[0][:12] for cue in cues[:3]] == ["Speaker 1: 中", "Speaker 2: Y", "Speaker 1: 中"]

    def test_a_speaker_without_words_is_none(self) -> None:
        mute = Segment(start=3, end=4, text=" ", speaker_tag=1)
        assert to_srt([spoken("Hello.", tag=0), mute]).endswith("\nHello.\n\n")

    def test_one_speaker_alone_is_not_announced(self) -> None:
        assert "Speaker" not in to_srt([spoken("Hello.", tag=0), spoken("Bye.", start=2, tag=0)])

    def test_text_has_a_paragraph_for_each_turn(self) -> None:
        assert to_text(self.TALK, {1: "Patient"}) == (
            "Speaker 1: How are you?\n\nPatient: Tired. And my head aches.\n\nSpeaker 1: Since when?\n"
        )

    def test_text_of_one_speaker_has_a_line_for_each_segment(self) -> None:
        assert to_text([spoken(" Hello."), spoken("Bye.", start=2)]) == "Hello.\nBye.\n"


class TestFormats:
    def test_a_cue_of_subrip(self) -> None:
        assert to_srt([spoken("Late.", start=3725.25, seconds=1.5)]) == "1\n01:02:05,250 --> 01:02:06,750\nLate.\n\n"

    def test_a_cue_of_webvtt(self) -> None:
        expected = "WEBVTT\n\n00:00:00.000 --> 00:00:03.000\na &lt; b --&gt; c\n\n"
        assert to_vtt([spoken("a < b --> c", seconds=0.6)]) == expected

    def test_silence_is_empty_but_valid(self) -> None:
        assert (to_srt([]), to_vtt([]), to_text([])) == ("", "WEBVTT\n\n", "")

    def test_segments_without_text_leave_no_cue(self) -> None:
        assert to_cues([Segment(start=0, end=1, text=" "), spoken("Yes.", start=2)])[0].start == 2.0
