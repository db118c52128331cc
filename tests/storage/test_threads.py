"""The order in which a put's blocking calls run, whatever happens to the put."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.threads import Threads, batches
from tests.storage.bodies import BrokenOff, Stalled, breaking_off


class SlowSink:
    """Remembers what happened to it; its writes wait until they are allowed."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.writing = threading.Event()
        self.allowed = threading.Event()

    def begin(self) -> None:
        self.calls.append("begin")

    def write(self, batch: bytes) -> None:
        self.calls.append("write")
        self.writing.set()
        self.allowed.wait()
        self.calls.append("written")

    def finish(self) -> None:
        self.calls.append("finish")

    def discard(self) -> None:
        self.calls.append("discard")


@pytest.fixture
async def threads() -> AsyncIterator[Threads]:
    threads = Threads("tests", 4)
    yield threads
    await threads.close()


async def test_a_write_under_way_ends_before_the_put_is_discarded(threads: Threads) -> None:
    sink, body = SlowSink(), Stalled(b"four")
    put = asyncio.create_task(threads.take_in(body.chunks(), sink, batch_bytes=4))
    await body.delivered.wait()
    await asyncio.to_thread(sink.writing.wait)
    put.cancel()
    await asyncio.sleep(0)
    put.cancel()  # whoever is impatient cancels twice
    await asyncio.gather(put, return_exceptions=True)
    assert sink.calls == ["begin", "write"]
    sink.allowed.set()
    await threads.close()
    assert sink.calls == ["begin", "write", "written", "discard"]


async def test_a_body_that_breaks_off_is_discarded_before_its_error_passes(threads: Threads) -> None:
    sink = SlowSink()
    sink.allowed.set()
    with pytest.raises(BrokenOff):
        await threads.take_in(breaking_off(b"four"), sink, batch_bytes=4)
    assert sink.calls == ["begin", "write", "written", "discard"]


@given(st.lists(st.binary(max_size=40)), st.integers(1, 30))
async def test_batches_have_one_size_and_lose_nothing(chunks: list[bytes], size: int) -> None:
    async def body() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    found = [batch async for batch in batches(body(), size)]
    assert b"".join(found) == b"".join(chunks)
    assert all(len(batch) == size for batch in found[:-1])
    assert all(0 < len(batch) <= size for batch in found)
