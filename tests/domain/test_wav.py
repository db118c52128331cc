"""How long a WAV is, by its first bytes: exact where the header holds together, and nobody knows where it does not."""

import struct

import pytest

from domain import wav
from tests.support.audio import tone


@pytest.mark.parametrize(("rate_hz", "channels"), [(16_000, 1), (44_100, 2), (8_000, 1)])
def test_a_wav_is_as_long_as_its_samples(rate_hz: int, channels: int) -> None:
    whole = tone(1.5, rate_hz=rate_hz, channels=channels)
    assert wav.seconds(whole[: wav.HEAD_BYTES], len(whole)) == pytest.approx(1.5)


def chunks(*parts: bytes) -> bytes:
    body = b"".join(part + bytes(len(part) % 2) for part in parts)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


def fmt(*, tag: int = 1, channels: int = 1, rate: int = 16_000, a_second: int | None = None, bits: int = 16) -> bytes:
    block = channels * bits // 8
    a_second = rate * block if a_second is None else a_second
    return b"fmt " + struct.pack("<IHHIIHH", 16, tag, channels, rate, a_second, block, bits)


def data(size: int) -> bytes:
    return b"data" + struct.pack("<I", size)


def test_what_comes_before_the_samples_is_passed_over() -> None:
    head = chunks(b"LIST" + struct.pack("<I", 3) + b"abc", fmt(), data(32_000))
    assert wav.seconds(head, len(head) + 32_000) == 1.0


@pytest.mark.parametrize("declared", [0, wav.STREAMED])
def test_a_header_from_before_the_end_was_known_leaves_it_to_the_size(declared: int) -> None:
    head = chunks(fmt(), data(declared))
    assert wav.seconds(head, len(head) + 16_000) == 0.5


def test_a_recording_is_no_longer_than_its_bytes() -> None:
    head = chunks(fmt(), data(3_200_000))
    assert wav.seconds(head, len(head) + 16_000) == 0.5


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"ID3" + bytes(100),
        chunks(fmt()),
        chunks(data(32_000)),
        chunks(fmt(tag=2), data(32_000)),  # ADPCM: blocks, of which only the decoder knows how much they hold
        chunks(fmt(rate=1), data(32_000)),
        chunks(fmt(rate=10_000_000), data(32_000)),
        chunks(fmt(a_second=7), data(32_000)),
        chunks(fmt(channels=0), data(32_000)),
        chunks(fmt()[:12], data(32_000)),
        chunks(b"LIST" + struct.pack("<I", 100_000), fmt(), data(32_000)),
    ],
)
def test_otherwise_nobody_knows(head: bytes) -> None:
    assert wav.seconds(head, len(head) + 32_000) is None
