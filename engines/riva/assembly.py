"""Riva's results → segments. Pure: no call is made here.

What servers differ in, and what is made of it:

- times are milliseconds, sometimes missing; results may be empty, or many in one reply;
- a final text may begin or end with a blank, or with a mark that belongs to the words before it;
- speaker tags are opaque, and 0 means "nobody" here and "the first" there: see `Speakers`;
- a confidence may be a posterior (kept), a log-probability of either sign, constant, or 0 for unset (all None).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from riva.client.proto.riva_asr_pb2 import SpeechRecognitionAlternative, WordInfo

from domain.transcript import Notice, Segment, Word, join_text
from engines.riva.speakers import Speakers

MILLISECONDS = 1000

_MARKS = ".,!?;:…。、，！？；："
_LATE_MARKS = re.compile(rf"^\s*[{_MARKS}]+(?!\d)\s*")
"""Marks at the start of a text; but ".5 mg" starts with a number."""


@dataclass(frozen=True, slots=True)
class Result:
    """A result of either kind of call: its best alternative, and where on the recording's clock it lies."""

    alternative: SpeechRecognitionAlternative
    final: bool
    until: float
    """Seconds of the recording that the server had dealt with by then; 0 where it does not say."""
    offset: float = 0.0
    """Where on the recording's clock the server's own begins, in seconds."""


@dataclass(slots=True)
class _Heard:
    start: float
    end: float
    text: str
    confidence: float | None
    speaker: int | None


class Assembly:
    """Takes the results of one recording, over as many passes as it needs; `restart` begins another one.

    One segment is always held back, as the mark that ends it may come with the next.
    """

    def __init__(self, seconds: float, speakers: Speakers) -> None:
        self._seconds = seconds
        self._speakers = speakers
        self._confidence = _Confidence()
        self._held: Segment | None = None
        self._taken_until = 0.0
        self._resumed_at = -1.0
        self._pass_until = 0.0
        self._interim = ""
        self._interim_until = 0.0

    @property
    def started(self) -> bool:
        """Has anything been heard that another way of asking could contradict?"""
        return self._taken_until > 0

    def restart(self) -> None:
        """The audio is about to be heard again from its start: what has been taken is dropped by its time.

        Never by its text: whoever says "yes" twice has said it twice.
        """
        self._resumed_at = self._taken_until if self.started else -1.0
        self._pass_until = 0.0
        self._interim = ""

    def take(self, results: Sequence[Result]) -> Iterator[Segment]:
        """The results of one reply, empty ones included."""
        finals = [result for result in results if result.final]
        words = [word for result in finals for word in result.alternative.words]
        self._speakers.look(word.speaker_tag for word in words)
        self._confidence.look(part.confidence for part in (*words, *(result.alternative for result in finals)))
        for result in finals:
            yield from self._take_final(result)
        # A reply has the whole of what is still open, perhaps in parts of different stability.
        interims = [result for result in results if not result.final]
        if finals or interims:
            self._interim = join_text(result.alternative.transcript for result in interims)
            self._interim_until = max((result.until for result in interims), default=0.0)

    def finish(self) -> Iterator[Segment | Notice]:
        """What is left once the last reply has been read."""
        if self._interim:
            until = self._interim_until or self._seconds
            before = self._taken_until
            yield from self._timeless(self._interim, until, confidence=None)
            if self._taken_until > before:
                said = "Riva ended without settling its last words: they are kept as they stood, without times"
                yield Notice(code="words_not_final", message=said)
        if self._held is not None:
            yield self._held
            self._held = None

    def _take_final(self, result: Result) -> Iterator[Segment]:
        alternative = result.alternative
        words = self._words(alternative.words, result.offset)
        confidence = self._confidence.of([alternative.confidence])[0]
        if not words:
            yield from self._timeless(alternative.transcript, result.until, confidence)
            return
        fresh = [word for word in words if (word.start + word.end) / 2 > self._resumed_at]
        self._pass_until = max(self._pass_until, words[-1].end)
        if fresh:
            self._taken_until = max(self._taken_until, fresh[-1].end)
            text = alternative.transcript if len(fresh) == len(words) else None
            yield from self._timed(fresh, text, confidence)

    def _words(self, infos: Iterable[WordInfo], offset: float) -> list[_Heard]:
        """None at all where the server gives no times."""
        said = [info for info in infos if info.word.strip()]
        if not any(info.end_time for info in said):
            return []
        confidences = self._confidence.of([info.confidence for info in said])
        return [
            _Heard(
                start=offset + info.start_time / MILLISECONDS,
                end=offset + info.end_time / MILLISECONDS,
                text=info.word.strip(),
                confidence=confidence,
                speaker=self._speakers.number(info.speaker_tag),
            )
            for info, confidence in zip(said, confidences, strict=True)
        ]

    def _timeless(self, text: str, until: float, confidence: float | None) -> Iterator[Segment]:
        """A text without words lies between the result before it and the audio that had been heard by then."""
        if not text.strip():
            return
        start, self._pass_until = self._pass_until, max(self._pass_until, until or self._seconds)
        if (start + self._pass_until) / 2 <= self._resumed_at:
            return
        text = self._hand_back_marks(text)
        if text:
            self._taken_until = max(self._taken_until, self._pass_until)
            yield from self._hold(self._segment(start, self._pass_until, text, confidence, None, ()))

    def _timed(self, heard: list[_Heard], text: str | None, confidence: float | None) -> Iterator[Segment]:
        heard[0].text = self._hand_back_marks(heard[0].text)
        text = None if text is None else _LATE_MARKS.sub("", text)
        words = _join_marks(heard)
        if not words:
            return
        turns = [list(turn) for _, turn in groupby(_filled(words), key=lambda pair: pair[0])]
        for turn in turns:
            said = [word for _, word in turn]
            whole = text if len(turns) == 1 and text else join_text(word.text for word in said)
            yield from self._hold(
                self._segment(said[0].start, said[-1].end, whole, confidence, turn[0][0], self._timed_words(said))
            )

    def _timed_words(self, heard: Iterable[_Heard]) -> tuple[Word, ...]:
        """Times never run backwards or out of the recording, whatever a server's alignment says."""
        latest = self._held.end if self._held else 0.0
        words = []
        for word in heard:
            start = min(max(word.start, latest), self._seconds)
            end = min(max(word.end, start), self._seconds)
            words.append(
                Word(start=start, end=end, text=word.text, confidence=word.confidence, speaker_tag=word.speaker)
            )
            latest = start
        return tuple(words)

    def _segment(
        self,
        start: float,
        end: float,
        text: str,
        confidence: float | None,
        speaker: int | None,
        words: tuple[Word, ...],
    ) -> Segment:
        if words:
            start, end = words[0].start, max(word.end for word in words)
        start = min(max(start, self._held.end if self._held else 0.0), self._seconds)
        end = min(max(start, end), self._seconds)
        return Segment(start=start, end=end, text=text.strip(), confidence=confidence, speaker_tag=speaker, words=words)

    def _hold(self, segment: Segment) -> Iterator[Segment]:
        if self._held is not None:
            yield self._held
        self._held = segment

    def _hand_back_marks(self, text: str) -> str:
        """`text` without the marks at its start, which go to the words that they ended."""
        marks = _LATE_MARKS.match(text)
        if marks is None:
            return text.strip()
        if self._held is not None and self._held.text[-1] not in _MARKS:
            self._held = _ended(self._held, marks.group().strip())
        return text[marks.end() :].strip()


class _Confidence:
    """Tells posteriors from what else servers call confidence: a single value outside of 0…1 shows a log-probability,
    and then none of this server's values are kept, as those that happen to lie within mean something else, too."""

    def __init__(self) -> None:
        self._posteriors = True

    def look(self, values: Iterable[float]) -> None:
        """At all values of one reply, before any is used."""
        self._posteriors = self._posteriors and all(0 <= value <= 1 for value in values)

    def of(self, values: Sequence[float]) -> list[float | None]:
        """0 is how the protocol says "unset"; nothing but 1 comes from decoders that have none."""
        if not self._posteriors or all(value == 1 for value in values):
            return [None] * len(values)
        return [round(value, 4) or None for value in values]


def _join_marks(heard: Iterable[_Heard]) -> list[_Heard]:
    """A word that is nothing but a mark becomes the end of the word before it."""
    words: list[_Heard] = []
    for word in heard:
        if not word.text.strip(_MARKS):
            if words:
                words[-1].text += word.text
        else:
            words.append(word)
    return words


def _filled(words: Sequence[_Heard]) -> Iterator[tuple[int | None, _Heard]]:
    """Each word with the speaker of its segment: a word without one stays with the words before it."""
    speaker = next((word.speaker for word in words if word.speaker is not None), None)
    for word in words:
        speaker = speaker if word.speaker is None else word.speaker
        yield speaker, word


def _ended(segment: Segment, marks: str) -> Segment:
    *before, last = segment.words or (None,)
    if last is None:
        return segment.model_copy(update={"text": segment.text + marks})
    ended = last.model_copy(update={"text": last.text + marks})
    return segment.model_copy(update={"text": segment.text + marks, "words": (*before, ended)})
