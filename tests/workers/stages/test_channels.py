"""A speaker on each channel: is it so, and how the channels become one transcript."""

import asyncio
import wave
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest

from domain.errors import EngineFailed
from domain.transcript import Heard, Progress, Segment
from workers.stages.channels import Relation, hear_apart, relate

RATE = 16_000


def write(path: Path, samples: np.ndarray) -> Path:  # type: ignore[type-arg]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def bursts(*spoken: tuple[float, float], seconds: float = 20.0, seed: int = 1) -> np.ndarray:  # type: ignore[type-arg]
    """Noise where somebody speaks, near silence elsewhere."""
    noise = np.random.default_rng(seed)
    samples = noise.normal(0, 20, round(seconds * RATE))
    for start, end in spoken:
        samples[round(start * RATE) : round(end * RATE)] = noise.normal(0, 4000, round((end - start) * RATE))
    return samples


LEFT = bursts((0, 4), (9, 14), seed=1)
RIGHT = bursts((4.5, 8.5), (14.5, 19), seed=2)


@pytest.mark.parametrize(
    ("first", "second", "relation"),
    [
        (LEFT, RIGHT, Relation.APART),
        (LEFT, LEFT, Relation.SAME),
        (LEFT, 0.25 * LEFT, Relation.SAME),
        (LEFT + 0.1 * RIGHT, RIGHT + 0.1 * LEFT, Relation.APART),
        (LEFT + 0.7 * RIGHT, RIGHT + 0.7 * LEFT, Relation.MIXED),
        (LEFT, 0 * LEFT, Relation.MIXED),
        (0 * LEFT, 0 * LEFT, Relation.MIXED),
    ],
    ids=["a call", "mono twice", "mono twice, one softer", "a call with cross-talk", "a room", "one silent", "silence"],
)
def test_how_channels_stand_to_each_other(  # type: ignore[no-untyped-def]
    tmp_path: Path, first, second, relation: Relation
) -> None:
    assert relate(write(tmp_path / "a.wav", first), write(tmp_path / "b.wav", second)) == relation


def test_one_that_is_longer_than_a_block_is_read_to_its_end(tmp_path: Path) -> None:
    quiet_start = bursts((65, 70), (80, 85), seconds=130)
    other = bursts((71, 79), (90, 120), seconds=130, seed=2)
    assert relate(write(tmp_path / "a.wav", quiet_start), write(tmp_path / "b.wav", other)) == Relation.APART


def said(start: float, text: str) -> Segment:
    return Segment(start=start, end=start + 1, text=text)


async def channel(*items: Heard) -> AsyncGenerator[Heard, None]:
    for item in items:
        await asyncio.sleep(0)
        yield item


async def test_channels_are_merged_on_one_clock() -> None:
    left = channel(said(0, "hello"), said(4, "good"), said(9, "bye"))
    right = channel(said(2, "hi"), said(6, "well"))
    segments = [item async for item in hear_apart([left, right]) if isinstance(item, Segment)]
    assert [segment.text for segment in segments] == ["hello", "hi", "good", "well", "bye"]
    assert [segment.speaker_tag for segment in segments] == [0, 1, 0, 1, 0]


async def test_a_segment_waits_for_the_channel_that_is_behind() -> None:
    go_on = asyncio.Event()

    async def slow() -> AsyncGenerator[Heard, None]:
        yield Progress(stage="transcribe", done=1, total=10)
        await go_on.wait()
        yield said(2, "earlier")

    merged = hear_apart([channel(said(0, "first"), said(5, "later")), slow()])
    async with aclosing(merged):
        seen: list[Heard] = []
        while not any(isinstance(item, Segment) for item in seen):
            seen.append(await anext(merged))
        go_on.set()
        seen += [item async for item in merged]
    assert [item.text for item in seen if isinstance(item, Segment)] == ["first", "earlier", "later"]


async def test_what_an_engine_has_heard_but_not_said_yet_is_waited_for() -> None:
    left = channel(Progress(stage="vad", done=10, total=10), said(0, "hello"), said(6, "later"))
    right = channel(Progress(stage="transcribe", done=10, total=10), said(2, "hi"), said(4, "there"))
    segments = [item async for item in hear_apart([left, right]) if isinstance(item, Segment)]
    assert [segment.text for segment in segments] == ["hello", "hi", "there", "later"]


async def test_channels_at_different_stages_each_count_for_their_own() -> None:
    left = channel(*(Progress(stage=stage, done=done, total=10) for stage in ("vad", "align") for done in (5, 10)))
    right = channel(*(Progress(stage=stage, done=done, total=10) for stage in ("vad", "align") for done in (10, 10)))
    told = [(item.stage, item.done) async for item in hear_apart([left, right]) if isinstance(item, Progress)]
    for stage in ("vad", "align"):
        done = [done for told_stage, done in told if told_stage == stage]
        assert done == sorted(done)
        assert done[-1] == 10


async def test_progress_is_the_mean_of_the_channels_and_never_falls() -> None:
    left = channel(*(Progress(stage="transcribe", done=done, total=10) for done in (2, 6, 10)))
    right = channel(*(Progress(stage="transcribe", done=done, total=10) for done in (5, 10)))
    done = [item.done async for item in hear_apart([left, right]) if isinstance(item, Progress)]
    assert done == sorted(done)
    assert done[-1] == 10


async def test_what_one_channel_raises_ends_all() -> None:
    ended = asyncio.Event()

    async def fails() -> AsyncGenerator[Heard, None]:
        raise EngineFailed("no", retryable=True)
        yield

    async def endless() -> AsyncGenerator[Heard, None]:
        try:
            await asyncio.Event().wait()
            yield said(0, "never")
        finally:
            ended.set()

    with pytest.raises(EngineFailed):
        [item async for item in hear_apart([endless(), fails()])]
    assert ended.is_set()


async def test_closing_closes_every_channel() -> None:
    left = [asyncio.Event(), asyncio.Event()]

    async def endless(event: asyncio.Event) -> AsyncGenerator[Heard, None]:
        try:
            yield said(0, "one")
            await asyncio.Event().wait()
        finally:
            event.set()

    merged = hear_apart([endless(event) for event in left])
    async with aclosing(merged):
        await anext(merged)
    assert all(event.is_set() for event in left)


def test_real_calls_are_told_from_real_rooms(shared_data: Path, tmp_path: Path) -> None:
    for path, relation in (
        ("stereo/libri_call.wav", Relation.APART),
        ("stereo/two-channels-two-speakers.wav", Relation.APART),
    ):
        with wave.open(str(shared_data / path)) as file:
            rate, samples = file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
        assert rate == RATE
        left, right = (write(tmp_path / f"{side}.wav", samples[:, side]) for side in (0, 1))
        assert relate(left, right) == relation, path
