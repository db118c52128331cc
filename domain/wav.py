"""How long a WAV recording is, going by its first bytes and its size: for estimates, before anything is decoded. Pure.

What a header says is nothing to rely on; where it contradicts itself, or the samples are not of one size, nobody knows.
"""

import struct

HEAD_BYTES = 4_096
"""Where `data` begins further behind, after a picture or a long comment, the length stays unknown."""

EVEN = frozenset({1, 3, 6, 7, 0xFFFE})
"""Formats in which every second takes the same bytes: PCM, float, A-law, µ-law, and those by their extended names."""

SLOWEST_HZ, FASTEST_HZ = 4_000, 192_000
STREAMED = 0xFFFFFFFF
"""The size of `data` in a header that was written before the end was known; 0 as well."""


def seconds(head: bytes, size_bytes: int) -> float | None:
    """The length by the first `HEAD_BYTES` of a recording of `size_bytes`; None where it cannot be told."""
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None
    bytes_a_second: int | None = None
    at = 12
    while at + 8 <= len(head):
        name, declared = head[at : at + 4], struct.unpack_from("<I", head, at + 4)[0]
        at += 8
        if name == b"fmt ":
            bytes_a_second = _bytes_a_second(head[at : at + 16])
        if name == b"data":
            there = size_bytes - at
            held = there if declared in (0, STREAMED) else min(declared, there)
            return held / bytes_a_second if bytes_a_second else None
        at += declared + declared % 2  # chunks begin at even places
    return None


def _bytes_a_second(fmt: bytes) -> int | None:
    if len(fmt) < 16:
        return None
    tag, channels, rate, bytes_a_second, block, bits = struct.unpack("<HHIIHH", fmt)
    agree = block == channels * ((bits + 7) // 8) and bytes_a_second == rate * block
    return bytes_a_second if tag in EVEN and agree and SLOWEST_HZ <= rate <= FASTEST_HZ and block else None
