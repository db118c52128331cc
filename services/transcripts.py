"""Transcripts, and what was reached on the way to them, as objects: JSON, compressed with zstd.

A transcript is one JSON document in three frames: what is said of it as a whole, its segments, its text. The last two
can go out as they were stored, so that an answer of 100,000 words (9.6 MB, 1.4 MB in the store) is neither parsed nor
written anew. To every other reader, frames that follow one another are one file.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from dataclasses import dataclass

import zstandard
from pydantic import TypeAdapter

from domain.transcript import Segment, StageReached, Transcript
from storage.contract import Store

LEVEL = 3
LARGEST_BYTES = 1 << 30
"""No honest transcript comes near; a damaged object must not fill the memory."""
PIECE_BYTES = 1 << 15
"""Compressed bytes unpacked at a time: half a millisecond's work, and some 200 KiB to send."""

_SEGMENTS = TypeAdapter(tuple[Segment, ...])


@dataclass(frozen=True, slots=True)
class Unread:
    """A transcript of which only what is said of it as a whole has been read."""

    about: Transcript
    """Without its segments."""
    rest: AsyncGenerator[bytes]
    """The end of a JSON object: `,"segments":[…],"text":"…"}`. Close it."""


async def compressed(heard: Transcript) -> AsyncIterator[bytes]:
    """The object of what was heard, made in a thread: a heartbeat must not wait for it."""
    yield await asyncio.to_thread(_compress, lambda: _frames(heard))


async def compressed_stage(reached: StageReached) -> AsyncIterator[bytes]:
    yield await asyncio.to_thread(_compress, lambda: [reached.model_dump_json().encode()])


async def load(store: Store, key: str) -> Transcript:
    """Raises ObjectNotFound, StorageUnavailable."""
    about, segments, _text = await _read(store, key)
    return await asyncio.to_thread(Transcript.model_validate_json, about + segments + b"}")


async def load_text(store: Store, key: str) -> str:
    """Raises ObjectNotFound, StorageUnavailable."""
    _about, _segments, text = await _read(store, key)
    said = await asyncio.to_thread(json.loads, b"{" + text.removeprefix(b","))
    return str(said["text"])


async def load_stage(store: Store, key: str) -> StageReached:
    """Raises ObjectNotFound, StorageUnavailable."""
    (reached,) = await _read(store, key)
    return await asyncio.to_thread(StageReached.model_validate_json, reached)


async def open_unread(store: Store, key: str) -> Unread:
    """For whoever passes the transcript on. Raises ObjectNotFound, StorageUnavailable."""
    pieces = _pieces(store, key)
    try:
        return Unread(Transcript.model_validate_json(await anext(pieces) + b"}"), pieces)
    except BaseException:
        await pieces.aclose()
        raise


def unread(heard: Transcript) -> Unread:
    """As if it were stored so."""
    about, *rest = _frames(heard)

    async def parts() -> AsyncGenerator[bytes]:
        for part in rest:
            yield part

    return Unread(Transcript.model_validate_json(about + b"}"), parts())


async def _pieces(store: Store, key: str) -> AsyncGenerator[bytes]:
    """The first frame as a whole, then whatever comes."""
    about, unpacker = bytearray(), _Unpacker()
    async with store.open(key) as chunks:
        async for chunk in chunks:
            for number, piece in unpacker.unpack(chunk):
                if number == 0:
                    about += piece
                    continue
                if about:
                    yield bytes(about)
                    about.clear()
                yield piece
    unpacker.end()


async def _read(store: Store, key: str) -> list[bytes]:
    """All frames."""
    async with store.open(key) as chunks:
        body = b"".join([chunk async for chunk in chunks])
    return await asyncio.to_thread(_decompress, body)


def _frames(heard: Transcript) -> list[bytes]:
    about = heard.model_dump_json(exclude={"segments"}).encode()
    segments, text = _SEGMENTS.dump_json(heard.segments), json.dumps(heard.text, ensure_ascii=False).encode()
    return [about.removesuffix(b"}"), b',"segments":' + segments, b',"text":' + text + b"}"]


def _compress(frames: Callable[[], list[bytes]]) -> bytes:
    compressor = zstandard.ZstdCompressor(level=LEVEL)
    return b"".join(compressor.compress(frame) for frame in frames())


def _decompress(body: bytes) -> list[bytes]:
    frames: list[bytearray] = []
    unpacker = _Unpacker()
    for number, piece in unpacker.unpack(body):
        if number == len(frames):
            frames.append(bytearray())
        frames[number] += piece
    unpacker.end()
    return [bytes(frame) for frame in frames]


class _Unpacker:
    """Unpacks frames that follow one another, piece by piece."""

    def __init__(self) -> None:
        self._number = 0
        self._inside = False
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._left = LARGEST_BYTES

    def unpack(self, chunk: bytes) -> Iterator[tuple[int, bytes]]:
        """Pieces, each with the number of its frame, from 0. Raises ZstdError."""
        for start in range(0, len(chunk), PIECE_BYTES):
            packed = chunk[start : start + PIECE_BYTES]
            while packed:
                piece = self._frame.decompress(packed)
                self._left -= len(piece)
                if self._left < 0:
                    raise zstandard.ZstdError(f"more than {LARGEST_BYTES} bytes")
                yield self._number, piece
                packed, self._inside = self._frame.unused_data, not self._frame.eof
                if not self._inside:
                    self._number += 1
                    self._frame = zstandard.ZstdDecompressor().decompressobj()

    def end(self) -> None:
        """Raises ZstdError where the last frame is not whole: what is cut off must not look like the end."""
        if self._inside:
            raise zstandard.ZstdError("the object is cut off")
