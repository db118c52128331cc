"""What WhisperX says → our segments and words. Pure: no model and no library of it is needed here.

WhisperX leaves words without times, and gives times as numpy's numbers or NaN; nothing of that gets past this module.
"""

import math
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypedDict

from domain.transcript import Segment, Word


class FoundWord(TypedDict, total=False):
    """A word as `whisperx.align` gives it."""

    word: str
    start: float
    end: float
    score: float


class Found(TypedDict, total=False):
    """A stretch of speech as Whisper gives it (`avg_logprob`), or a sentence of it once it is aligned (`words`)."""

    text: str
    start: float
    end: float
    avg_logprob: float
    words: list[FoundWord]


def to_segment(found: Found, earliest: float, latest: float) -> Segment:
    """A stretch of speech, with a time within `earliest` … `latest` (seconds)."""
    start = _within(found.get("start"), earliest, latest, otherwise=earliest)
    logprob = _number(found.get("avg_logprob"))
    return Segment(
        start=start,
        end=_within(found.get("end"), start, latest, otherwise=latest),
        text=found["text"].strip(),
        confidence=None if logprob is None else min(1.0, math.exp(logprob)),
    )


@dataclass(frozen=True, slots=True)
class Aligned:
    """The sentences of one stretch of speech; one has words if any of them could be placed."""

    sentences: tuple[Segment, ...]
    estimated: int = 0
    """Words whose times are a guess, as the aligner could not place them: they have no confidence."""

    @property
    def unplaced(self) -> int:
        """Sentences without words."""
        return sum(not sentence.words for sentence in self.sentences)


def settle(stretch: Segment, found: Sequence[Found], alphabet: Container[str]) -> Aligned | None:
    """Give every sentence a time within its stretch, behind the one before, and every word one within its sentence.

    Args:
        stretch: what was aligned.
        found: what `whisperx.align` made of it.
        alphabet: the characters that the aligner knows, in lower case. It places others, as the digits of a number,
            by what is left between their neighbours: their time is a guess and their score means nothing.

    Returns:
        None where `found` has not the text of the stretch: better no times than another text.
    """
    if _letters(stretch.text) != "".join(_letters(sentence["text"]) for sentence in found):
        return None
    sentences: list[Segment] = []
    estimated, earliest = 0, stretch.start
    for sentence in found:
        if not sentence["text"].strip():
            continue
        settled, guessed = _settle(sentence, alphabet, earliest, stretch)
        sentences.append(settled)
        estimated, earliest = estimated + guessed, settled.end
    return Aligned(tuple(sentences), estimated)


def _settle(found: Found, alphabet: Container[str], earliest: float, stretch: Segment) -> tuple[Segment, int]:
    """One sentence, and how many times in it are a guess."""
    start = _within(found.get("start"), earliest, stretch.end, otherwise=earliest)
    end = _within(found.get("end"), start, stretch.end, otherwise=stretch.end)
    words = found.get("words", [])
    placed = [_number(word.get("start")) is not None for word in words]
    said: list[Word] = []
    guessed = 0
    if any(placed):
        for word, there, (begin, finish) in zip(words, placed, _spans(words, start, end), strict=True):
            known = there and _is_spelled(word["word"], alphabet)
            score = _number(word.get("score")) if known else None
            confidence = None if score is None else min(max(score, 0.0), 1.0)
            said.append(Word(start=begin, end=finish, text=word["word"].strip(), confidence=confidence))
            guessed += not known
    text = found["text"].strip()
    return Segment(start=start, end=end, text=text, confidence=stretch.confidence, words=tuple(said)), guessed


def _letters(text: str) -> str:
    return "".join(text.split())


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
    done, begin = 0, start
    for text in texts:
        done += len(text)
        finish = min(start + (end - start) * done / total, end)  # which rounding may overstep
        yield begin, finish
        begin = finish


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
