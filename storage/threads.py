"""A store's blocking calls, kept off the event loop: bytes taken in, bytes given out, listings.

Each store has threads of its own: where its disk or server hangs, name look-ups and other stores do not wait behind it.
"""

import asyncio
from asyncio import Future, Task
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from functools import partial
from hashlib import sha256
from itertools import islice
from typing import ParamSpec, Protocol, TypeVar

CHUNK_BYTES = 1024 * 1024
"""The most that is read at once, as the contract of `open` says."""

LISTING_PAGE = 1000
"""Objects listed per visit to a thread: what one S3 request answers at most."""

P = ParamSpec("P")
T = TypeVar("T")


class Sink(Protocol):
    """Where one put goes. The calls block; they come one at a time, in this order, from any thread."""

    def begin(self) -> None: ...

    def write(self, batch: bytes) -> None:
        """A batch of the size asked for; a shorter one is the last."""
        ...

    def finish(self) -> None:
        """The object is complete; when this returns it is on disk under its key."""
        ...

    def discard(self) -> None:
        """In place of `finish`, or after it or any other call failed: leave nothing behind. Never raises."""
        ...


class Source(Protocol):
    """Where the bytes of one object come from. The calls block; `close` may come while `read` still waits."""

    def read(self) -> bytes:
        """At most CHUNK_BYTES; empty at the end."""
        ...

    def close(self) -> None: ...


class Threads:
    def __init__(self, name: str, count: int) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)
        self._endings: set[Task[None]] = set()

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._start(partial(function, *args, **kwargs))

    async def take_in(self, body: AsyncIterator[bytes], sink: Sink, *, batch_bytes: int) -> tuple[int, str]:
        """Pour `body` into `sink`; answers the number of bytes and their sha256 in lower-case hex.

        One batch is gathered while the one before it is hashed and written, so two are in memory at most. When this
        raises, also by cancellation, `sink` has been discarded and no thread uses it any more.
        """
        size, digest = 0, sha256()

        def absorb(batch: bytes) -> None:
            digest.update(batch)
            sink.write(batch)

        step = self._start(sink.begin)
        try:
            async for batch in batches(body, batch_bytes):
                await asyncio.shield(step)
                step = self._start(partial(absorb, batch))
                size += len(batch)
            await asyncio.shield(step)
            step = self._start(sink.finish)
            await asyncio.shield(step)
        except BaseException:
            await asyncio.shield(self._see_through(self._discard(sink, after=step)))
            raise
        return size, digest.hexdigest()

    @asynccontextmanager
    async def give_out(self, opening: Callable[[], Source]) -> AsyncGenerator[AsyncIterator[bytes], None]:
        """The chunks of what `opening` opens; closed on leaving, however much was read."""
        opened = self._start(opening)
        try:
            source = await asyncio.shield(opened)
        except asyncio.CancelledError:
            self._see_through(self._close(opened))
            raise
        try:
            async with aclosing(self._chunks(source)) as chunks:
                yield chunks
        finally:
            await asyncio.shield(self._see_through(self._close(opened)))

    async def each(self, items: Iterator[T]) -> AsyncIterator[T]:
        """The items of an iterator that blocks."""
        while page := await self.call(lambda: list(islice(items, LISTING_PAGE))):
            for item in page:
                yield item

    async def close(self) -> None:
        """Wait for what is running, and for what cancelled callers left to be tidied up."""
        while self._endings:
            await asyncio.wait(self._endings)
        await asyncio.to_thread(self._pool.shutdown)

    def _start(self, function: Callable[[], T]) -> Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._pool, function)

    def _see_through(self, ending: Coroutine[None, None, None]) -> Task[None]:
        task = asyncio.create_task(ending)
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)
        return task

    async def _discard(self, sink: Sink, *, after: Future[None]) -> None:
        await asyncio.gather(after, return_exceptions=True)
        await self._start(sink.discard)

    async def _close(self, opened: Future[Source]) -> None:
        [source] = await asyncio.gather(opened, return_exceptions=True)
        if not isinstance(source, BaseException):
            await self._start(source.close)

    async def _chunks(self, source: Source) -> AsyncGenerator[bytes, None]:
        while chunk := await self._start(source.read):
            yield chunk


async def batches(body: AsyncIterator[bytes], size: int) -> AsyncGenerator[bytes, None]:
    """The same bytes in pieces of exactly `size`, the last one shorter; none of a body without bytes."""
    pieces: list[memoryview] = []
    room = size
    async for chunk in body:
        rest = memoryview(chunk)
        while len(rest) >= room:
            yield b"".join([*pieces, rest[:room]])
            pieces, rest, room = [], rest[room:], size
        pieces.append(rest)
        room -= len(rest)
    if room < size:
        yield b"".join(pieces)
