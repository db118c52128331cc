"""What is known to go wrong in transcripts, flagged with its span: never deleted, for a reader to judge."""

import re
import wave
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from domain.transcript import Flag, Segment, Word

SILENCE_DBFS = -55.0  # no frame of a segment louder than this: a quiet room is at about -60, a whisper at -45
FRAME_SECONDS = 0.05

LOW_CONFIDENCE = 0.35  # mean over a segment's words; below it, more words are wrong than right with Whisper

LOOPS = {1: 6, 2: 5, 3: 4, 4: 3, 5: 3, 6: 3}
"""How often a phrase of so many words comes in a row before it is a loop and not emphasis ("no, no, no, no")."""

SAME_SEGMENTS = 3


def flags(segments: Sequence[Segment], audio: Path) -> tuple[Flag, ...]:
    """What a reader should look at, in time order. `audio`: the WAV (16 kHz, mono, 16-bit) that the engine heard."""
    found = [
        *_repeated(segments),
        *_looping(segments),
        *_doubtful(segments),
        *_unaligned(segments),
        *_on_silence(segments, audio),
    ]
    return tuple(sorted(found, key=lambda flag: (flag.start, flag.code)))


def _repeated(segments: Sequence[Segment]) -> Iterator[Flag]:
    """One speaker's segments in a row that say the same."""
    for (_, text), group in groupby(
        segments, key=lambda segment: (segment.speaker_tag, " ".join(_words(segment.text)))
    ):
        run = list(group)
        if len(run) >= SAME_SEGMENTS and len(text.split()) > 1:
            yield Flag(
                code="repetition",
                start=run[0].start,
                end=run[-1].end,
                message=f"the same words {len(run)} times in a row",
            )


def _looping(segments: Sequence[Segment]) -> Iterator[Flag]:
    for segment in segments:
        times = _longest_loop(_words(segment.text))
        if times:
            yield Flag(
                code="repetition",
                start=segment.start,
                end=segment.end,
                message=f"a phrase comes {times} times in a row",
            )


def _longest_loop(words: Sequence[str]) -> int:
    """How often a phrase follows itself, where that is often enough for a loop; else 0."""
    for size, enough in LOOPS.items():
        times = max((_times(words, start, size) for start in range(len(words) - size)), default=0)
        if times >= enough:
            return times
    return 0


def _times(words: Sequence[str], start: int, size: int) -> int:
    """How often the phrase at `start` comes in a row."""
    phrase, times = words[start : start + size], 1
    while words[start + times * size : start + (times + 1) * size] == phrase:
        times += 1
    return times


def _doubtful(segments: Sequence[Segment]) -> Iterator[Flag]:
    for segment in segments:
        known = [word.confidence for word in segment.words if word.confidence is not None]
        mean = sum(known) / len(known) if known else segment.confidence
        if mean is not None and mean < LOW_CONFIDENCE:
            yield Flag(
                code="low_confidence",
                start=segment.start,
                end=segment.end,
                message=f"the engine's confidence is {mean:.2f}",
            )


def _unaligned(segments: Sequence[Segment]) -> Iterator[Flag]:
    """Numbers in digits, which alignment cannot spell: alone of their segment's words they have no confidence."""
    for segment in segments:
        if all(word.confidence is None for word in segment.words):
            continue
        for is_unaligned, group in groupby(segment.words, key=_is_number_without_confidence):
            run = list(group)
            if is_unaligned:
                said = "the time of a number is guessed from the words beside it"
                yield Flag(code="unaligned_number", start=run[0].start, end=run[-1].end, message=said)


def _is_number_without_confidence(word: Word) -> bool:
    return word.confidence is None and any(sign.isdigit() for sign in word.text)


def _on_silence(segments: Sequence[Segment], audio: Path) -> Iterator[Flag]:
    with wave.open(str(audio)) as file:
        rate, frames = file.getframerate(), file.getnframes()
        for segment in segments:
            first, last = round(segment.start * rate), min(frames, round(segment.end * rate))
            if last <= first:
                continue
            file.setpos(first)
            samples = np.frombuffer(file.readframes(last - first), "<i2").astype(np.float64)
            if _loudest_dbfs(samples, round(FRAME_SECONDS * rate)) < SILENCE_DBFS:
                yield Flag(
                    code="text_on_silence",
                    start=segment.start,
                    end=segment.end,
                    message="there is nothing to hear here",
                )


def _loudest_dbfs(samples: np.ndarray[tuple[int], np.dtype[np.float64]], frame: int) -> float:
    whole = samples[: max(frame, samples.size // frame * frame)]
    levels = (whole.reshape(-1, frame) ** 2).mean(axis=1) if whole.size % frame == 0 else np.array([(whole**2).mean()])
    return float(10 * np.log10(levels.max() / 32768**2 + 1e-12))


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
