"""What a recording really is, by its first bytes and never by its name.

The answer decides which one demuxer ffmpeg may use. A playlist, a picture or a text is none of these, whatever it is
called, so ffmpeg never sees it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from domain.errors import EmptyMedia, UnsupportedMedia

HEAD_BYTES = 65_536
"""Enough for the first frames of any stream, also behind the padding that some recorders leave in front."""

OGG_LONGEST_PAGE = 65_307
"""Bytes; RFC 3533 section 6: 27 of header, 255 lacing values, 255 × 255 of data."""


@dataclass(frozen=True, slots=True)
class Container:
    """`demuxer` is ffmpeg's name; the two MIME types are for a file without and with moving pictures."""

    name: str
    demuxer: str
    audio_type: str
    video_type: str


WAV = Container("WAV", "wav", "audio/wav", "audio/wav")
WAVE64 = Container("Wave64", "w64", "audio/x-w64", "audio/x-w64")
MP3 = Container("MP3", "mp3", "audio/mpeg", "audio/mpeg")
ADTS = Container("AAC", "aac", "audio/aac", "audio/aac")
FLAC = Container("FLAC", "flac", "audio/flac", "audio/flac")
OGG = Container("Ogg", "ogg", "audio/ogg", "video/ogg")
MP4 = Container("MP4", "mov", "audio/mp4", "video/mp4")
QUICKTIME = Container("QuickTime", "mov", "audio/mp4", "video/quicktime")
MATROSKA = Container("Matroska", "matroska", "audio/x-matroska", "video/x-matroska")
WEBM = Container("WebM", "matroska", "audio/webm", "video/webm")
ASF = Container("WMA", "asf", "audio/x-ms-wma", "video/x-ms-wmv")

READABLE = "WAV, MP3, MP4/M4A/MOV, Ogg/Opus, Matroska/WebM, FLAC, AAC, WMA"

_WAVE64_GUID = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
_ASF_GUID = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_EBML = b"\x1a\x45\xdf\xa3"
_QUICKTIME_ATOMS = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})


def identify(source: Path) -> Container:
    """Sniff a file, looking behind the ID3 tags in front of it, however large they claim to be.

    Raises:
        EmptyMedia: no bytes at all.
        UnsupportedMedia: none of the containers that are read here.
    """
    with source.open("rb") as file:
        head = file.read(HEAD_BYTES)
        if not head:
            raise EmptyMedia("the recording has no bytes; send it again")
        container = sniff(_behind_tags(file, head))
    if container is None:
        raise UnsupportedMedia(f"this is not a recording in a format that is read here; send {READABLE}")
    return container


def sniff(head: bytes) -> Container | None:
    """The container whose first bytes these are; `HEAD_BYTES` of them are enough. ID3 tags are for `identify`."""
    if head[:4] in {b"RIFF", b"RIFX", b"RF64", b"BW64"} and head[8:12] == b"WAVE":
        return WAV
    if head.startswith(_WAVE64_GUID):
        return WAVE64
    if head.startswith(b"fLaC"):
        return FLAC
    if head.startswith(b"OggS"):
        return OGG
    if head.startswith(_ASF_GUID):
        return ASF
    if head.startswith(_EBML):
        return WEBM if b"\x42\x82\x84webm" in head[:256] else MATROSKA
    if head[4:8] == b"ftyp":
        return QUICKTIME if head[8:12] == b"qt  " else MP4
    if head[4:8] in _QUICKTIME_ATOMS:
        return QUICKTIME
    return _sniff_frames(head)


def ogg_is_cut(source: Path) -> bool:
    """Does the last page of an Ogg file lack the mark that ends its stream? ffmpeg itself does not say."""
    with source.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - OGG_LONGEST_PAGE))
        tail = file.read()
    page = tail.rfind(b"OggS")
    header = tail[page : page + 27]
    if page < 0 or len(header) < 27:
        return True
    lacing = tail[page + 27 : page + 27 + header[26]]
    whole = len(tail) - page >= 27 + header[26] + sum(lacing)
    return not (whole and header[5] & 0x04)


def _behind_tags(file: BinaryIO, head: bytes) -> bytes:
    """The bytes that follow the ID3v2 tags: seen in the wild are one or two, so four are allowed."""
    offset = 0
    for _ in range(4):
        if len(head) < 10 or not head.startswith(b"ID3"):
            break
        size = 0
        for septet in head[6:10]:
            size = size << 7 | septet & 0x7F
        offset += 10 + size + (10 if head[5] & 0x10 else 0)  # the flag promises a footer as long as the header
        file.seek(offset)
        head = file.read(HEAD_BYTES)
    return head


def _sniff_frames(head: bytes) -> Container | None:
    """Streams without a signature: three frames in a row that agree are MPEG audio or ADTS, and no accident."""
    start = head.find(b"\xff")
    while 0 <= start < len(head) - 7:
        for container, measure in ((MP3, _mpeg_frame), (ADTS, _adts_frame)):
            if _frames_follow(head, start, measure):
                return container
        start = head.find(b"\xff", start + 1)
    return None


def _frames_follow(head: bytes, start: int, measure: "_Measure") -> bool:
    kinds = set()
    for _ in range(3):
        frame = measure(head[start : start + 7])
        if frame is None:
            return False
        kinds.add(frame.kind)
        start += frame.length
    return len(kinds) == 1


@dataclass(frozen=True, slots=True)
class _Frame:
    length: int
    """Bytes, header included."""
    kind: int
    """The header's bits that never change within one stream."""


_Measure = Callable[[bytes], _Frame | None]

_RATES_HZ = (44_100, 48_000, 32_000)  # MPEG-1; halved for MPEG-2, quartered for 2.5; ISO 11172-3 section 2.4.2.3
_KBPS = {  # by MPEG version 1 or later, and layer
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def _mpeg_frame(header: bytes) -> _Frame | None:
    """A frame of MPEG audio, as ISO 11172-3 and 13818-3 write it.

    Layers 2 and 3 only: nobody has layer 1, whose sync is the byte order mark of UTF-16.
    """
    bits = int.from_bytes(header[:4], "big")
    version, layer = bits >> 19 & 3, 4 - (bits >> 17 & 3)  # version: 3 is MPEG-1, 2 is MPEG-2, 0 is MPEG-2.5
    bitrate_index, rate_index = bits >> 12 & 15, bits >> 10 & 3
    if bits >> 21 != 0x7FF or version == 1 or layer in (1, 4) or bitrate_index in (0, 15) or rate_index == 3:
        return None
    mpeg1 = version == 3
    bitrate = _KBPS[mpeg1, layer][bitrate_index - 1] * 1000
    rate = _RATES_HZ[rate_index] >> (3 - version if version else 2)
    padding = bits >> 9 & 1
    length = (72 if layer == 3 and not mpeg1 else 144) * bitrate // rate + padding
    return _Frame(length, bits & 0xFFFE0C00)


def _adts_frame(header: bytes) -> _Frame | None:
    """A frame of AAC in ADTS, as ISO 13818-7 section 6.2 writes it."""
    bits = int.from_bytes(header[:7], "big")
    length = bits >> 13 & 0x1FFF
    if len(header) < 7 or bits >> 44 != 0xFFF or bits >> 41 & 3 or bits >> 34 & 15 > 12 or length < 8:
        return None
    return _Frame(length, bits >> 34)
