"""Files made to hurt whoever decodes them, or to bring a sound that is not theirs. Small, and made here by script."""

import random
import struct
from collections.abc import Iterator

MP3_FRAME_SECONDS = 0.072
MP3_FRAME = b"\xff\xe3\x18\xc0" + bytes(68)
"""Silence: MPEG-2.5 layer III, 8 kHz mono, 8 kbit/s; 576 samples in 72 bytes. Any number of them is a recording."""


def wav(
    samples: bytes, *, rate_hz: int = 16_000, channels: int = 1, bits: int = 16, form: int = 1, info: bytes = b""
) -> bytes:
    """A WAV with any header; `form` 3 is floating point; `info` becomes the title among its metadata."""
    block = channels * bits // 8
    fmt = struct.pack("<HHIIHH", form, channels, rate_hz, rate_hz * block & 0xFFFFFFFF, block & 0xFFFF, bits)
    title = b"INFO" + chunk(b"INAM", info) if info else b""
    chunks = chunk(b"fmt ", fmt) + (chunk(b"LIST", title) if title else b"") + chunk(b"data", samples)
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def silent_mp3(seconds: float) -> bytes:
    return MP3_FRAME * round(seconds / MP3_FRAME_SECONDS)


def hls(url: str) -> bytes:
    lines = ("#EXTM3U", "#EXT-X-TARGETDURATION:2", "#EXT-X-MEDIA-SEQUENCE:0", "#EXTINF:2.0,", url, "#EXT-X-ENDLIST", "")
    return "\n".join(lines).encode()


def ffconcat(path: str) -> bytes:
    return f"ffconcat version 1.0\nfile '{path}'\n".encode()


def sdp(port: int) -> bytes:
    lines = ("v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=x", "c=IN IP4 127.0.0.1", "t=0 0", f"m=audio {port} RTP/AVP 0", "")
    return "\r\n".join(lines).encode()


def dash(url: str) -> bytes:
    kind = 'contentType="audio" mimeType="audio/mp4"'
    return (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT2S"'
        ' profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period>'
        f'<AdaptationSet {kind}><Representation id="a" bandwidth="64000" mimeType="audio/mp4">'
        f"<BaseURL>{url}</BaseURL></Representation></AdaptationSet></Period></MPD>"
    ).encode()


def id3_bomb(claimed_bytes: int, rest: bytes) -> bytes:
    """An ID3 tag that claims to be large, with one picture that fills it, in front of `rest`."""
    return b"ID3\x04\x00\x00" + _septets(claimed_bytes) + b"APIC" + _septets(claimed_bytes - 10) + b"\x00\x00" + rest


def _septets(size: int) -> bytes:
    return bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))


def truncations(whole: bytes, count: int) -> Iterator[bytes]:
    for cut in range(1, count + 1):
        yield whole[: len(whole) * cut // (count + 1)]


def mutations(whole: bytes, count: int, *, seed: int) -> Iterator[bytes]:
    """Copies with a few bytes changed, half of the changes near the front, where the structure is."""
    chance = random.Random(seed)
    for _ in range(count):
        copy = bytearray(whole)
        for _ in range(chance.randint(1, 12)):
            limit = min(512, len(copy)) if chance.random() < 0.5 else len(copy)
            copy[chance.randrange(limit)] = chance.choice((0, 0x7F, 0xFF, chance.randrange(256)))
        yield bytes(copy)
