"""Recordings with a speaker on each channel: are they, and how the channels become one transcript."""

import asyncio
import wave
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from enum import StrEnum
from pathlib import Path

import numpy as np

from domain.transcript import Detected, Heard, Progress, Segment, StageReached

FRAME = 800  # samples at 16 kHz: 50 ms, about a syllable
BLOCK_FRAMES = 1_200  # a minute at a time, so that hours never sit in memory
SPEECH_BELOW_PEAK_DB = 35.0  # quieter than this below a channel's loudest frame is not its speaker
APART_DB = 10.0  # a frame belongs to one channel where the other is this much quieter
APART_SHARE = 0.85  # of the frames with speech that must belong to one channel
SAME_CORRELATION = 0.98  # of the samples: a mono recording that was written twice, whatever its volume
LAGS = 240  # samples: 15 ms, the way of sound between microphones 5 m apart
NOTHING_SHARED = 0.1  # correlation at any lag below which no voice reaches both channels, though both may speak at once
SILENT_BELOW_DB = 40.0  # of a sample squared: a level of 100 in 32768, which is no speech

Levels = np.ndarray[tuple[int], np.dtype[np.float64]]


class Relation(StrEnum):
    SAME = "same"
    """One sound, written on every channel."""
    APART = "apart"
    """Each speaker on a channel of their own."""
    MIXED = "mixed"
    """A room, or music: the same voices on both channels."""


def relate(first: Path, second: Path) -> Relation:
    """How two channels of one recording stand to each other. WAV, 16 kHz, mono, signed 16-bit; reads both once."""
    shared = np.zeros(2 * LAGS + 1)
    energies = np.zeros(2)
    levels: tuple[list[Levels], list[Levels]] = ([], [])
    with wave.open(str(first)) as left, wave.open(str(second)) as right:
        while True:
            blocks = [
                np.frombuffer(file.readframes(FRAME * BLOCK_FRAMES), "<i2").astype(np.float64) for file in (left, right)
            ]
            length = min(block.size for block in blocks) // FRAME * FRAME
            if not length:
                break
            a, b = (block[:length] for block in blocks)
            shared += _shared(a, b)
            energies += (a @ a, b @ b)
            for found, block in zip(levels, (a, b), strict=True):
                found.append((block.reshape(-1, FRAME) ** 2).mean(axis=1))
    if not energies.all():
        return Relation.MIXED
    return _judge(shared / np.sqrt(energies.prod()), np.concatenate(levels[0]), np.concatenate(levels[1]))


def _shared(first: Levels, second: Levels) -> Levels:
    """Products of the two at every lag from -LAGS to LAGS: a sound that reaches both channels stands out at one."""
    size = 1 << (first.size + LAGS).bit_length()
    at_lag = np.fft.irfft(np.fft.rfft(first, size) * np.conj(np.fft.rfft(second, size)), size)
    return np.concatenate((at_lag[-LAGS:], at_lag[: LAGS + 1]))


def _judge(correlations: Levels, first: Levels, second: Levels) -> Relation:
    if correlations[LAGS] > SAME_CORRELATION:
        return Relation.SAME
    loud = [10 * np.log10(level + 1.0) for level in (first, second)]
    if min(level.max() for level in loud) < SILENT_BELOW_DB:
        return Relation.MIXED
    someone = np.logical_or(*(level > level.max() - SPEECH_BELOW_PEAK_DB for level in loud))
    alone = np.abs(loud[0] - loud[1]) >= APART_DB
    if alone[someone].mean() >= APART_SHARE or np.abs(correlations).max() < NOTHING_SHARED:
        return Relation.APART
    return Relation.MIXED


async def hear_apart(streams: Sequence[AsyncGenerator[Heard, None]]) -> AsyncGenerator[Heard, None]:
    """Hear every channel at once, and yield what is heard on one clock; a segment's `speaker_tag` is its channel.

    A segment waits until every other channel has come to one that starts later, or to its end: progress is no sign, as
    an engine may have heard what it has not yet said. Progress is the mean of them.
    Closing this closes them all; what one of them raises ends all of them.
    """
    told: asyncio.Queue[_Told] = asyncio.Queue()
    clock = _Clock(len(streams))
    readers = [asyncio.create_task(_read(channel, stream, told)) for channel, stream in enumerate(streams)]
    try:
        while not clock.ended:
            channel, item = await told.get()
            if isinstance(item, Exception):
                raise item
            for heard in clock.take(channel, item):
                yield heard
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)


_Told = tuple[int, Heard | Exception | None]
"""A channel, and what it yielded, or None at its end, or what it raised."""


async def _read(channel: int, stream: AsyncGenerator[Heard, None], told: asyncio.Queue[_Told]) -> None:
    try:
        async with aclosing(stream) as items:
            async for item in items:
                await told.put((channel, item))
    except Exception as error:  # the reader of all channels raises it
        await told.put((channel, error))
    else:
        await told.put((channel, None))


class _Clock:
    """Merges what the channels yield."""

    def __init__(self, channels: int) -> None:
        self._heard_to = [0.0] * channels
        self._done: dict[str, list[float]] = {}
        """Of each stage, how far every channel is: they need not be at the same one."""
        self._waiting: list[Segment] = []
        self._detected = False

    @property
    def ended(self) -> bool:
        return not self._waiting and all(reached == float("inf") for reached in self._heard_to)

    def take(self, channel: int, item: Heard | None) -> list[Heard]:
        match item:
            case None:
                self._heard_to[channel] = float("inf")
            case Segment():
                self._waiting.append(on_channel(item, channel))
                self._waiting.sort(key=lambda segment: segment.start)
                self._heard_to[channel] = max(self._heard_to[channel], item.start)
            case Progress():
                return self._mean(channel, item)
            case Detected():
                first, self._detected = not self._detected, True
                return [item] if first else []
            case StageReached():
                return []  # of one channel alone, and so no text to go on from
            case _:
                return [item]
        return self._released()

    def _released(self) -> list[Heard]:
        reached = min(self._heard_to)
        ready: list[Heard] = [segment for segment in self._waiting if segment.start <= reached]
        self._waiting = [segment for segment in self._waiting if segment.start > reached]
        return ready

    def _mean(self, channel: int, progress: Progress) -> list[Heard]:
        done = self._done.setdefault(progress.stage, [0.0] * len(self._heard_to))
        done[channel] = progress.done
        return [progress.model_copy(update={"done": sum(done) / len(done)})]


def on_channel(segment: Segment, channel: int) -> Segment:
    """The same segment, said by whoever is on `channel`."""
    words = tuple(word.model_copy(update={"speaker_tag": channel}) for word in segment.words)
    return segment.model_copy(update={"speaker_tag": channel, "words": words})
