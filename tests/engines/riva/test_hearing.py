"""What becomes of a server's results. The numbers of pitfalls are those of docs/reference/riva.md."""

from collections.abc import AsyncIterator, Callable

import pytest
from riva.client.proto.riva_asr_pb2 import SpeechRecognitionAlternative

from domain.transcript import Heard, Segment
from engines.riva.assembly import Assembly, Result
from engines.riva.speakers import Speakers
from tests.engines.contract_suite import Recording
from tests.engines.riva.client import hear_all, notices_of, numbered, only, words_of
from tests.support.riva.server import (
    MIXED_SPEAKERS,
    OFFLINE,
    OFFLINE_SPEAKERS,
    STREAMING,
    STREAMING_SPEAKERS,
    RivaServer,
    Saying,
    riva_server,
)

MakeSpeech = Callable[..., Recording]


@pytest.fixture(params=[OFFLINE, STREAMING], ids=["offline", "streaming"])
async def either(request: pytest.FixtureRequest) -> AsyncIterator[RivaServer]:
    async with riva_server((request.param,)) as server:
        yield server


@pytest.fixture(params=[OFFLINE_SPEAKERS, STREAMING_SPEAKERS], ids=["offline", "streaming"])
async def dialogue(request: pytest.FixtureRequest) -> AsyncIterator[RivaServer]:
    """1 and 2 say "yes", the one and the other speaker's; 3 is said by nobody."""
    lexicon = {1: Saying("yes", tag=1), 2: Saying("yes", tag=2), 3: Saying("hm"), 4: Saying("no", tag=3)}
    async with riva_server((request.param,), lexicon=lexicon) as server:
        yield server


def turns(heard: list[Heard]) -> list[tuple[int | None, int]]:
    """Who speaks, and how many words."""
    return [(segment.speaker_tag, len(segment.words)) for segment in only(Segment, heard)]


class TestTimes:
    async def test_milliseconds_become_seconds_for_words_and_segments_alike(
        self, either: RivaServer, speech: Recording
    ) -> None:
        """Pitfall 7."""
        segments = only(Segment, await hear_all(either, speech))
        word = segments[1].words[0]
        # The 11th word: ten slots of a second before it, one of them a pause of two, and 0.2 s of air at the start.
        assert (word.start, word.end) == pytest.approx((11.2, 11.8), abs=0.001)
        assert (segments[1].start, segments[1].end) == pytest.approx((11.2, 20.8), abs=0.001)

    async def test_times_of_pieces_are_on_the_recordings_clock(self, long_speech: Recording) -> None:
        async with riva_server((OFFLINE,)) as offline, riva_server((STREAMING,)) as streaming:
            pieces, stream = await hear_all(offline, long_speech), await hear_all(streaming, long_speech)
        starts = [
            [word.start for segment in only(Segment, heard) for word in segment.words] for heard in (pieces, stream)
        ]
        assert starts[0] == pytest.approx(starts[1], abs=0.002)

    @pytest.mark.parametrize("fault", ["no_words", "no_times"])
    async def test_a_text_without_times_lies_where_the_server_had_got_to(
        self, fault: str, either: RivaServer, speech: Recording
    ) -> None:
        """Pitfall 9."""
        setattr(either.faults, fault, True)
        either.faults.hollow = True
        heard = await hear_all(either, speech)
        assert words_of(heard) == numbered(25)
        segments = only(Segment, heard)
        assert len(segments) == 3
        assert not any(segment.words for segment in segments)
        assert segments[0].end <= segments[1].start < segments[1].end <= speech.seconds
        assert 9.8 <= segments[0].end < segments[1].end <= 23

    def test_words_that_run_backwards_are_put_in_order(self) -> None:
        words = [("one", 0, 500), ("two", 400, 300), ("three", 200, 9000)]
        (segment,) = assemble([alternative(*words)], seconds=4)
        assert [(word.start, word.end) for word in segment.words] == [(0, 0.5), (0.4, 0.4), (0.4, 4)]

    def test_finals_that_overlap_are_moved_apart_and_lose_no_word(self) -> None:
        first, second = assemble([alternative(("one", 0, 1000)), alternative(("two", 300, 600))], seconds=4)
        assert (second.start, second.end) == (first.end, first.end)
        assert second.text == "two"


class TestConfidence:
    async def test_a_posterior_is_kept(self, either: RivaServer, speech: Recording) -> None:
        segments = only(Segment, await hear_all(either, speech))
        assert {word.confidence for segment in segments for word in segment.words} == {0.5}
        assert {segment.confidence for segment in segments} == {0.5}

    @pytest.mark.parametrize("kind", ["log", "one", "unset"])
    async def test_what_is_no_posterior_is_no_confidence(
        self, kind: str, either: RivaServer, speech: Recording
    ) -> None:
        """Pitfall 8."""
        either.faults.confidence = kind
        segments = only(Segment, await hear_all(either, speech))
        assert {word.confidence for segment in segments for word in segment.words} == {None}
        assert {segment.confidence for segment in segments} == {None}

    def test_one_log_probability_shows_what_the_others_are(self) -> None:
        """Pitfall 8: 0.55 beside -1.78 is no posterior, and none that comes later is."""
        words = [alternative(("a", 0, 100), ("b", 100, 200)), alternative(("c", 300, 400))]
        words[0].words[0].confidence, words[0].words[1].confidence, words[1].words[0].confidence = 0.55, -1.78, 0.7
        segments = assemble(words, seconds=1)
        assert [word.confidence for segment in segments for word in segment.words] == [None, None, None]


class TestReplies:
    async def test_every_result_counts_and_empty_ones_do_no_harm(self, either: RivaServer, speech: Recording) -> None:
        """Pitfall 9."""
        either.faults.hollow = either.faults.reply_to_every_chunk = True
        heard = await hear_all(either, speech)
        assert words_of(heard) == numbered(25)
        assert len(only(Segment, heard)) == 3

    @pytest.mark.parametrize("blank", ["{} ", " {}", "{}"])
    async def test_blanks_around_a_text_are_no_part_of_it(
        self, blank: str, either: RivaServer, speech: Recording
    ) -> None:
        """Pitfall 10."""
        either.faults.blank = blank
        segments = only(Segment, await hear_all(either, speech))
        assert segments[0].text == "Word1 word2 word3 word4 word5 word6 word7 word8 word9 word10."

    async def test_interim_texts_are_kept_where_no_final_one_comes(self, speech: Recording) -> None:
        """Pitfall 11."""
        async with riva_server((STREAMING,)) as server:
            server.faults.never_final = True
            heard = await hear_all(server, speech)
        assert words_of(heard) == numbered(25)
        (segment,) = only(Segment, heard)
        assert (segment.start, segment.words) == (0, ())
        assert notices_of(heard) == ["words_not_final"]

    async def test_interim_texts_are_no_segments_where_final_ones_come(self, speech: Recording) -> None:
        """Pitfall 11."""
        async with riva_server((STREAMING,)) as server:
            heard = await hear_all(server, speech)
        assert words_of(heard) == numbered(25)
        assert not notices_of(heard)

    async def test_the_last_words_come_though_the_recording_ends_with_them(self, make_speech: MakeSpeech) -> None:
        """Pitfall 12: a stream is half-closed and read to its end."""
        async with riva_server((STREAMING,)) as server:
            heard = await hear_all(server, make_speech(*range(1, 6)))
            assert words_of(heard) == numbered(5)
            assert server.calls[-1].ended.is_set()

    async def test_who_says_the_same_thing_again_has_said_it_again(
        self, either: RivaServer, make_speech: MakeSpeech
    ) -> None:
        """Pitfall 23."""
        either.lexicon[9] = Saying("yes")
        heard = await hear_all(either, make_speech(9, 9, 9, 9, words_per_utterance=1))
        assert [segment.text for segment in only(Segment, heard)] == ["Yes."] * 4


class TestMarks:
    async def test_marks_that_come_late_go_to_the_words_that_they_end(
        self, either: RivaServer, speech: Recording
    ) -> None:
        """Pitfall 12."""
        either.faults.late_marks = True
        segments = only(Segment, await hear_all(either, speech))
        assert [segment.text[-1] for segment in segments] == [".", ".", "5"]
        assert [segment.words[-1].text for segment in segments] == ["word10.", "word20.", "word25"]
        assert [segment.text.split()[0] for segment in segments] == ["Word1", "Word11", "Word21"]
        assert [segment.words[0].text for segment in segments] == ["Word1", "Word11", "Word21"]

    async def test_a_mark_that_is_a_word_of_its_own_ends_the_word_before(
        self, either: RivaServer, speech: Recording
    ) -> None:
        either.faults.lone_marks = True
        segments = only(Segment, await hear_all(either, speech))
        assert [segment.words[-1].text for segment in segments] == ["word10.", "word20.", "word25."]

    def test_a_mark_alone_is_no_segment_and_none_is_said_twice(self) -> None:
        parts = [alternative(("one", 0, 100)), alternative((".", 100, 100)), alternative((".", 200, 200))]
        assert [segment.text for segment in assemble(parts, seconds=1)] == ["one."]

    def test_a_number_may_begin_with_a_point(self) -> None:
        parts = [alternative(("dose", 0, 100)), alternative((".5", 200, 300), ("mg", 300, 400))]
        assert [segment.text for segment in assemble(parts, seconds=1)] == ["dose", ".5 mg"]


class TestSpeakers:
    async def test_a_result_with_two_speakers_becomes_segments_of_one_each(
        self, dialogue: RivaServer, make_speech: MakeSpeech
    ) -> None:
        """Pitfall 13: and tags become numbers in the order in which speakers first speak."""
        heard = await hear_all(dialogue, make_speech(2, 2, 1, 2, 2, 2))
        assert turns(heard) == [(0, 2), (1, 1), (0, 3)]
        assert [segment.text for segment in only(Segment, heard)] == ["Yes yes", "yes", "yes yes yes."]
        assert {word.speaker_tag for segment in only(Segment, heard) for word in segment.words} == {0, 1}

    async def test_tags_may_begin_with_0(self, dialogue: RivaServer, make_speech: MakeSpeech) -> None:
        """Pitfall 13."""
        dialogue.faults.tag_base = 0
        heard = await hear_all(dialogue, make_speech(1, 1, 1, 2, 2, 1))
        assert turns(heard) == [(0, 3), (1, 2), (0, 1)]

    async def test_tags_may_begin_anywhere(self, dialogue: RivaServer, make_speech: MakeSpeech) -> None:
        """Pitfall 13."""
        dialogue.faults.tag_base = 41
        assert turns(await hear_all(dialogue, make_speech(1, 2, 1, 2))) == [(0, 1), (1, 1), (0, 1), (1, 1)]

    async def test_a_word_of_nobody_stays_with_the_words_before_it(
        self, dialogue: RivaServer, make_speech: MakeSpeech
    ) -> None:
        """Pitfall 13."""
        heard = await hear_all(dialogue, make_speech(1, 1, 3, 1, 2, 3, 2))
        assert turns(heard) == [(0, 4), (1, 3)]
        tags = [word.speaker_tag for segment in only(Segment, heard) for word in segment.words]
        assert tags == [0, 0, None, 0, 1, None, 1]

    async def test_more_speakers_than_asked_for_are_kept_and_said(
        self, dialogue: RivaServer, make_speech: MakeSpeech
    ) -> None:
        """Pitfall 13."""
        heard = await hear_all(dialogue, make_speech(1, 2, 4, 1), max_speakers=2)
        assert [tag for tag, _ in turns(heard)] == [0, 1, 2, 0]
        assert notices_of(heard) == ["more_speakers"]

    async def test_tags_that_nobody_asked_for_are_not_used(self, make_speech: MakeSpeech) -> None:
        speakers = Speakers(asked=False, diarizer_known=True)
        speakers.look([1, 2])
        assert [speakers.number(1), speakers.number(2)] == [None, None]

    async def test_0_is_nobody_where_no_one_is_told_apart(self) -> None:
        """Pitfall 13."""
        speakers = Speakers(asked=True, diarizer_known=False)
        speakers.look([0, 0, 0])
        assert speakers.number(0) is None
        assert speakers.count == 0

    async def test_a_speaker_stays_one_though_others_speak_more(self) -> None:
        """Pitfall 13."""
        speakers = Speakers(asked=True, diarizer_known=True)
        speakers.look([0, 0, 1])
        assert [speakers.number(tag) for tag in (0, 0, 1)] == [0, 0, 1]
        speakers.look([1, 1, 0])
        assert speakers.number(0) == 0

    async def test_speakers_are_the_same_on_both_ways(self, make_speech: MakeSpeech) -> None:
        lexicon = {1: Saying("a", tag=1), 2: Saying("b", tag=2)}
        recording = make_speech(1, 2, 2, 1, 2)
        async with riva_server(MIXED_SPEAKERS, lexicon=lexicon) as server:
            whole = await hear_all(server, recording)
            stream = await hear_all(server, recording, model=STREAMING_SPEAKERS.name)
        assert turns(whole) == turns(stream)


def alternative(*words: tuple[str, int, int]) -> SpeechRecognitionAlternative:
    return SpeechRecognitionAlternative(
        transcript=" ".join(text for text, _, _ in words),
        words=[{"word": text, "start_time": start, "end_time": end} for text, start, end in words],
    )


def assemble(parts: list[SpeechRecognitionAlternative], *, seconds: float) -> list[Segment]:
    """As if each came in a reply of its own."""
    assembly = Assembly(seconds, Speakers(asked=True, diarizer_known=False))
    heard = [segment for part in parts for segment in assembly.take([Result(part, final=True, until=0)])]
    return [*heard, *(item for item in assembly.finish() if isinstance(item, Segment))]
