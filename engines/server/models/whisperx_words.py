"""What WhisperX says → our segments and words. Pure: no model and no library of it is needed here.

WhisperX leaves words without times, times as numpy's numbers or NaN, words without a speaker, and sentences of several
speakers in one; nothing of that gets past this module.
"""

import math
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TypedDict

from domain.transcript import Segment, Word

MIN_TURN_SECONDS = 0.5
"""Words of another speaker within a sentence, for a shorter time than this, are a slip of the diarizer: people cannot
take turns so fast, and a cut by every word breaks more than it mends."""


class FoundWord(TypedDict, total=False):
    """A word as `whisperx.align` gives it; `speaker` as `whisperx.assign_word_speakers` adds it."""

    word: str
    start: float
    end: float
    score: float
    speaker: str


class Found(TypedDict, total=False):
    """A stretch of speech, or a sentence once it is aligned; `words` is only there then."""

    text: str
    start: float
    end: float
    avg_logprob: float
    words: list[FoundWord]
    speaker: str


@dataclass(frozen=True, slots=True)
class Sentence:
    """What was said, with sound times, before speakers are told apart. It has words if any of them could be placed."""

    found: Found
    estimated: int = 0
    """Words whose times are a guess: the aligner could not place them."""


def settle_times(found: Found, alphabet: Container[str], earliest: float, latest: float) -> Sentence:
    """Give the sentence a time within `earliest` … `latest` (seconds), and every word one within the sentence.

    Args:
        found: as `whisperx.align` gives it, or, not aligned, as Whisper does.
        alphabet: the characters that the aligner knows, in lower case. It places others, as the digits of a number,
            by what is left between their neighbours: their time is a guess and their score means nothing.
    """
    start = _within(found.get("start"), earliest, latest, otherwise=earliest)
    end = _within(found.get("end"), start, latest, otherwise=latest)
    sentence = Found(text=found["text"], start=start, end=end, words=[])
    logprob = _number(found.get("avg_logprob"))
    if logprob is not None:
        sentence["avg_logprob"] = logprob
    words = found.get("words", [])
    placed = [_number(word.get("start")) is not None for word in words]
    if not any(placed):
        return Sentence(sentence)
    known = [there and _is_spelled(word["word"], alphabet) for there, word in zip(placed, words, strict=True)]
    for word, spelled, (begin, finish) in zip(words, known, _spans(words, start, end), strict=True):
        settled = FoundWord(word=word["word"], start=begin, end=finish)
        score = _number(word.get("score"))
        if spelled and score is not None:
            settled["score"] = min(max(score, 0.0), 1.0)
        sentence["words"].append(settled)
    return Sentence(sentence, known.count(False))


def _spans(words: Sequence[FoundWord], start: float, end: float) -> list[tuple[float, float]]:
    """Times that never run backwards; those that are missing share the gap between their neighbours by length."""
    spans: list[tuple[float, float]] = []
    latest = start
    for missing, run in groupby(range(len(words)), key=lambda at: _number(words[at].get("start")) is None):
        indices = list(run)
        if missing:
            following = indices[-1] + 1
            until = (
                _within(words[following].get("start"), latest, end, otherwise=end) if following < len(words) else end
            )
            spans += _shares([words[at]["word"] for at in indices], latest, until)
        for at in [] if missing else indices:
            begin = _within(words[at].get("start"), latest, end, otherwise=latest)
            latest = _within(words[at].get("end"), begin, end, otherwise=begin)
            spans.append((begin, latest))
        latest = spans[-1][1]
    return spans


def _shares(texts: Sequence[str], start: float, end: float) -> Iterator[tuple[float, float]]:
    total = sum(map(len, texts)) or 1
    done = 0
    for text in texts:
        begin, done = done, done + len(text)
        yield start + (end - start) * begin / total, start + (end - start) * done / total


def _is_spelled(text: str, alphabet: Container[str]) -> bool:
    return any(char in alphabet for char in text.lower() if char.isalnum())


def _number(value: object) -> float | None:
    """A plain float, or None where there is none: numpy's numbers are no JSON, and NaN is no time."""
    if value is None:
        return None
    number = float(value)  # type: ignore[arg-type]  # whatever numpy or pandas has put there
    return number if math.isfinite(number) else None


def _within(value: object, earliest: float, latest: float, *, otherwise: float) -> float:
    number = _number(value)
    return min(max(otherwise if number is None else number, earliest), latest)


class Voices:
    """Tags for speakers, from 0 in the order in which they first speak."""

    def __init__(self) -> None:
        self._tags: dict[str, int] = {}

    def tag(self, speaker: str | None) -> int | None:
        return None if speaker is None else self._tags.setdefault(speaker, len(self._tags))


def to_segments(found: Found, voices: Voices) -> Iterator[Segment]:
    """Our segments of one sentence: one for each turn of a speaker in it, with words that have all their speaker."""
    logprob = found.get("avg_logprob")
    confidence = None if logprob is None else min(1.0, math.exp(logprob))
    words = found.get("words", [])
    turns = _turns(found)
    if len(turns) < 2:
        tag = voices.tag(turns[0].speaker if turns else found.get("speaker"))
        yield _segment(found["text"], found["start"], found["end"], confidence, tag, words)
        return
    cuts = _text_cuts(found["text"], words, [turn.first for turn in turns])
    for turn, text in zip(turns, cuts, strict=True):
        said = words[turn.first : turn.last]
        yield _segment(text, said[0]["start"], said[-1]["end"], confidence, voices.tag(turn.speaker), said)


def _segment(
    text: str, start: float, end: float, confidence: float | None, tag: int | None, words: Sequence[FoundWord]
) -> Segment:
    return Segment(
        start=start,
        end=end,
        text=text.strip(),
        confidence=confidence,
        speaker_tag=tag,
        words=tuple(
            Word(
                start=word["start"],
                end=word["end"],
                text=word["word"].strip(),
                confidence=word.get("score"),
                speaker_tag=tag,
            )
            for word in words
        ),
    )


@dataclass(frozen=True, slots=True)
class _Turn:
    speaker: str | None
    first: int
    last: int
    """The word behind the turn."""


def _turns(found: Found) -> list[_Turn]:
    """Who says which words of a sentence, without turns too short to be any."""
    words = found.get("words", [])
    speakers = _fill([word.get("speaker") for word in words], found.get("speaker"))
    turns = _runs(speakers)
    while len(turns) > 1:
        shortest = min(range(len(turns)), key=lambda at: _seconds(words, turns[at]))
        if _seconds(words, turns[shortest]) >= MIN_TURN_SECONDS:
            break
        beside = [at for at in (shortest - 1, shortest + 1) if 0 <= at < len(turns)]
        heir = max(beside, key=lambda at: _seconds(words, turns[at]))
        for at in range(turns[shortest].first, turns[shortest].last):
            speakers[at] = turns[heir].speaker
        turns = _runs(speakers)
    return turns


def _fill(speakers: list[str | None], otherwise: str | None) -> list[str | None]:
    """A word in a pause between turns belongs to who spoke before, the first ones to who speaks next."""
    last = next((speaker for speaker in speakers if speaker is not None), otherwise)
    filled = []
    for speaker in speakers:
        last = speaker if speaker is not None else last
        filled.append(last)
    return filled


def _runs(speakers: Sequence[str | None]) -> list[_Turn]:
    turns = []
    first = 0
    for speaker, run in groupby(speakers):
        last = first + len(list(run))
        turns.append(_Turn(speaker, first, last))
        first = last
    return turns


def _seconds(words: Sequence[FoundWord], turn: _Turn) -> float:
    return words[turn.last - 1]["end"] - words[turn.first]["start"]


def _text_cuts(text: str, words: Sequence[FoundWord], firsts: Sequence[int]) -> list[str]:
    """`text` cut before the words `firsts`, so that spaces stay where the language has them."""
    begins = []
    position = 0
    for word in words:
        found = text.find(word["word"].strip(), position)
        position = found if found >= 0 else position
        begins.append(position)
        position += len(word["word"].strip())
    edges = [0, *(begins[first] for first in firsts[1:]), len(text)]
    return [text[begin:end] for begin, end in pairwise(edges)]
