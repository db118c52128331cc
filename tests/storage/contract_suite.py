"""What every store promises. A class per store inherits these tests and says how to make one."""

import asyncio
import hashlib
import tracemalloc
from abc import ABC, abstractmethod
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.errors import ObjectNotFound, RangeNotSatisfiable, StorageUnavailable
from domain.intake_errors import PartsMissing
from storage import layout, threads
from storage.contract import Store
from tests.storage.bodies import MIB, BrokenOff, Stalled, breaking_off, in_chunks, keys, noise, read, zeros

JOB = UUID(int=7)
SOURCE = layout.source("local", JOB)
RESULT = layout.result("local", JOB, 3)
PART = 5 * MIB
"""The S3 store's unit; the suite looks at both sides of it."""


class StoreContract(ABC):
    memory_bytes: int
    """The most that one put of any length may hold."""
    refuses_late_parts = True
    """Once they are joined; else what they would change cannot be read any more."""
    status_of_another_size: int
    """What a part is answered that is longer or shorter than was agreed."""

    @pytest.fixture
    @abstractmethod
    async def store(self) -> Store:
        """An empty store."""

    @abstractmethod
    async def leave_unfinished(self, store: Store, key: str) -> None:
        """What the death of a process in the middle of a put leaves."""

    @pytest.fixture
    def small_pages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(threads, "LISTING_PAGE", 3)

    @pytest.fixture
    async def recording(self, store: Store) -> bytes:
        """The bytes of an object that lies under SOURCE: more than two chunks, not a multiple of one."""
        data = noise(2_500_000)
        await store.put(SOURCE, in_chunks(data))
        return data

    @pytest.mark.parametrize("size", [0, 1, 65_537, PART - 1, PART, PART + 1, 2 * PART + 12_345])
    async def test_what_was_put_is_read_back_counted_and_hashed(self, store: Store, size: int) -> None:
        data = noise(size)
        stored = await store.put(SOURCE, in_chunks(data))
        assert (stored.key, stored.size_bytes) == (SOURCE, size)
        assert stored.sha256 == hashlib.sha256(data).hexdigest()
        assert await store.size(SOURCE) == size
        assert await read(store, SOURCE) == data

    async def test_a_put_replaces_the_object_of_before(self, store: Store) -> None:
        await store.put(SOURCE, in_chunks(noise(PART + 1)))
        await store.put(SOURCE, in_chunks(b"shorter"))
        assert await read(store, SOURCE) == b"shorter"
        assert await keys(store) == {SOURCE}

    @pytest.mark.parametrize("size", [0, 1000, 2 * PART + 1])
    async def test_a_body_that_breaks_off_leaves_nothing_and_its_error_passes(self, store: Store, size: int) -> None:
        with pytest.raises(BrokenOff):
            await store.put(SOURCE, breaking_off(noise(size)))
        with pytest.raises(ObjectNotFound):
            await store.size(SOURCE)
        assert await keys(store) == set()
        assert await store.delete_unfinished(0) == 0

    @pytest.mark.parametrize("size", [1000, 2 * PART + 1])
    async def test_a_body_that_breaks_off_leaves_the_object_of_before(self, store: Store, size: int) -> None:
        await store.put(SOURCE, in_chunks(b"before"))
        with pytest.raises(BrokenOff):
            await store.put(SOURCE, breaking_off(noise(size)))
        assert await read(store, SOURCE) == b"before"

    async def test_a_put_that_is_cancelled_leaves_nothing(self, store: Store) -> None:
        body = Stalled(noise(2 * PART + 1))
        put = asyncio.create_task(store.put(SOURCE, body.chunks()))
        await body.delivered.wait()
        put.cancel()
        with pytest.raises(asyncio.CancelledError):
            await put
        assert await keys(store) == set()
        assert await store.delete_unfinished(0) == 0

    async def test_a_put_under_way_is_not_seen_and_no_sweep_of_old_ones_takes_it(self, store: Store) -> None:
        body = Stalled(noise(PART + 1))
        put = asyncio.create_task(store.put(SOURCE, body.chunks()))
        await body.delivered.wait()
        assert await keys(store) == set()
        with pytest.raises(ObjectNotFound):
            await store.size(SOURCE)
        assert await store.delete_unfinished(3600) == 0
        body.go_on.set()
        assert (await put).size_bytes == PART + 1
        assert await read(store, SOURCE) == noise(PART + 1)

    async def test_puts_at_the_same_time_do_not_mix(self, store: Store) -> None:
        wanted = {layout.result("local", JOB, fence): noise(PART + fence * 1000) for fence in range(6)}
        await asyncio.gather(*(store.put(key, in_chunks(data)) for key, data in wanted.items()))
        assert {key: await read(store, key) for key in wanted} == wanted

    async def test_memory_for_a_put_does_not_grow_with_its_length(self, store: Store) -> None:
        peaks = []
        for _ in range(3):  # as below: the least of them is the store's
            tracemalloc.start()
            try:
                await store.put(SOURCE, zeros(48 * MIB))
                peaks.append(tracemalloc.get_traced_memory()[1])
            finally:
                tracemalloc.stop()
        assert min(peaks) <= self.memory_bytes

    async def test_memory_for_reading_is_a_few_chunks_of_one_mebibyte(self, store: Store) -> None:
        await store.put(SOURCE, zeros(24 * MIB))
        peaks = []
        for _ in range(3):  # what else goes on in this process only adds to a peak: the least of them is the store's
            tracemalloc.start()
            try:
                async with store.open(SOURCE) as chunks:
                    sizes = [len(chunk) async for chunk in chunks]
                peaks.append(tracemalloc.get_traced_memory()[1])
            finally:
                tracemalloc.stop()
            assert sum(sizes) == 24 * MIB
            assert max(sizes) <= MIB
        assert min(peaks) <= 4 * MIB

    @settings(
        max_examples=40,
        deadline=None,
        # One store serves all examples, as they only read; and the test is inherited, so several classes run it.
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
    )
    @given(start=st.integers(0, 2_499_999), length=st.none() | st.integers(0, 3_000_000))
    async def test_a_range_is_that_slice_of_the_bytes(
        self, store: Store, recording: bytes, start: int, length: int | None
    ) -> None:
        end = None if length is None else start + length
        assert await read(store, SOURCE, start=start, length=length) == recording[start:end]

    @pytest.mark.parametrize("start", [10, 11, 10_000])
    @pytest.mark.parametrize("length", [None, 0, 5])
    async def test_a_start_beyond_the_end_is_refused_with_the_size(
        self, store: Store, start: int, length: int | None
    ) -> None:
        await store.put(SOURCE, in_chunks(bytes(10)))
        with pytest.raises(RangeNotSatisfiable) as refusal:
            await read(store, SOURCE, start=start, length=length)
        assert refusal.value.size_bytes == 10

    @pytest.mark.parametrize("length", [None, 0, 5])
    async def test_an_empty_object_can_be_read_from_its_start_only(self, store: Store, length: int | None) -> None:
        await store.put(SOURCE, in_chunks(b""))
        assert await read(store, SOURCE, length=length) == b""
        with pytest.raises(RangeNotSatisfiable):
            await read(store, SOURCE, start=1, length=length)

    async def test_readers_that_leave_early_hold_nothing_up(self, store: Store, recording: bytes) -> None:
        for _ in range(40):
            async with store.open(SOURCE) as chunks:
                assert recording.startswith(await anext(chunks))
        assert await read(store, SOURCE) == recording

    async def test_readers_that_are_cancelled_hold_nothing_up(self, store: Store, recording: bytes) -> None:
        for _ in range(10):
            readers = [asyncio.create_task(read(store, SOURCE)) for _ in range(4)]
            await asyncio.sleep(0)
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)
        assert await read(store, SOURCE) == recording

    @pytest.mark.parametrize("key", [SOURCE, f"{SOURCE}/deeper", layout.job_prefix("local", JOB).rstrip("/")])
    async def test_what_is_not_there_is_said_to_be_missing(self, store: Store, key: str) -> None:
        await store.put(RESULT, in_chunks(b"a neighbour"))
        with pytest.raises(ObjectNotFound):
            await store.size(key)
        for length in (None, 0, 5):
            with pytest.raises(ObjectNotFound):
                await read(store, key, length=length)

    async def test_deleting_twice_is_deleting_once(self, store: Store) -> None:
        await store.put(SOURCE, in_chunks(b"gone soon"))
        await store.put(RESULT, in_chunks(b"stays"))
        await store.delete(SOURCE)
        await store.delete(SOURCE)
        await store.delete(layout.source("nobody", JOB))
        assert await keys(store) == {RESULT}

    async def test_a_list_has_what_begins_with_the_prefix_with_size_and_time(self, store: Store) -> None:
        other = layout.source("local", UUID(int=8))
        for key in (SOURCE, RESULT, other):
            await store.put(key, in_chunks(b"four"))
        assert await keys(store, "") == await keys(store, layout.ROOT) == {SOURCE, RESULT, other}
        assert await keys(store, layout.job_prefix("local", JOB)) == {SOURCE, RESULT}
        assert await keys(store, SOURCE[:-3]) == {SOURCE}
        assert await keys(store, "o/lo") == {SOURCE, RESULT, other}
        assert await keys(store, layout.job_prefix("stranger", JOB)) == set()
        [listed] = [found async for found in store.list(SOURCE)]
        assert listed.size_bytes == 4
        assert abs(datetime.now(UTC) - listed.modified_at) < timedelta(minutes=1)

    async def test_a_list_has_more_objects_than_one_page(self, store: Store, small_pages: None) -> None:
        wanted = {layout.result("local", JOB, fence) for fence in range(7)}
        for key in wanted:
            await store.put(key, in_chunks(b""))
        assert await keys(store) == wanted

    async def test_a_sweep_removes_what_dead_puts_left_and_nothing_else(self, store: Store, small_pages: None) -> None:
        await store.put(SOURCE, in_chunks(b"whole"))
        for fence in range(5):
            await self.leave_unfinished(store, layout.result("local", JOB, fence))
        assert await keys(store) == {SOURCE}
        assert await store.delete_unfinished(3600) == 0
        assert await store.delete_unfinished(0, prefix=layout.job_prefix("stranger", JOB)) == 0
        assert await store.delete_unfinished(0, prefix=layout.job_prefix("local", JOB)) == 5
        assert await store.delete_unfinished(0) == 0
        assert await read(store, SOURCE) == b"whole"

    # What others send in parts

    async def begin(self, store: Store, sizes: dict[int, int], key: str = SOURCE) -> tuple[str, bytes]:
        """A sending of which these parts are there, and all their bytes."""
        sending, body = await store.begin_parts(key), noise(sum(sizes.values()))
        for number, size in sizes.items():
            start = sum(other for at, other in sizes.items() if at < number)
            await self.send(store, key, sending, number, body[start : start + size])
        return sending, body

    async def send(self, store: Store, key: str, sending: str, number: int, part: bytes) -> int:
        link = await store.part_link(key, sending, number, size_bytes=len(part), seconds=60)
        return await self.put(store, link, part)

    @abstractmethod
    async def put(self, store: Store, link: str, part: bytes) -> int:
        """The status of a PUT to a part's link, as anybody may make it."""

    async def test_parts_are_joined_in_order_however_they_came(self, store: Store) -> None:
        sending, body = await self.begin(store, {3: 12_345, 1: PART, 2: PART})
        assert await store.parts(SOURCE, sending) == {1: PART, 2: PART, 3: 12_345}
        assert await keys(store) == set()
        await store.join_parts(SOURCE, sending, [PART, PART, 12_345])
        assert await read(store, SOURCE) == body
        assert await keys(store) == {SOURCE}

    async def test_a_part_that_is_sent_again_is_replaced(self, store: Store) -> None:
        sending, _ = await self.begin(store, {1: 1000})
        await self.send(store, SOURCE, sending, 1, b"the last word")
        await store.join_parts(SOURCE, sending, [13])
        assert await read(store, SOURCE) == b"the last word"

    @pytest.mark.parametrize("size", [0, 999, 1001])
    async def test_a_part_of_another_size_than_was_agreed_is_refused(self, store: Store, size: int) -> None:
        sending = await store.begin_parts(SOURCE)
        link = await store.part_link(SOURCE, sending, 1, size_bytes=1000, seconds=60)
        assert await self.put(store, link, noise(size)) == self.status_of_another_size
        assert await store.parts(SOURCE, sending) == {}
        assert await self.put(store, link, noise(1000)) == 200
        assert await self.put(store, link, noise(size)) == self.status_of_another_size
        assert await store.parts(SOURCE, sending) == {1: 1000}

    async def test_joining_twice_is_joining_once(self, store: Store) -> None:
        sending, body = await self.begin(store, {1: PART, 2: 10})
        for _ in range(2):
            await store.join_parts(SOURCE, sending, [PART, 10])
        assert await read(store, SOURCE) == body

    @pytest.mark.parametrize("sizes", [[PART, 10], [PART - 1], [PART + 1], [10, PART]])
    async def test_nothing_is_made_of_parts_that_are_missing_or_of_another_size(
        self, store: Store, sizes: list[int]
    ) -> None:
        sending, _ = await self.begin(store, {1: PART})
        with pytest.raises(PartsMissing):
            await store.join_parts(SOURCE, sending, sizes)
        assert await keys(store) == set()
        assert await store.parts(SOURCE, sending) == {1: PART}

    async def test_a_link_of_a_sending_that_was_dropped_leads_nowhere(self, store: Store) -> None:
        sending, _ = await self.begin(store, {1: 1000})
        link = await store.part_link(SOURCE, sending, 1, size_bytes=4, seconds=60)
        await store.drop_parts(SOURCE, sending)
        assert await self.put(store, link, b"late") == 404
        assert await keys(store) == set()
        assert await store.delete_unfinished(0) == 0
        with pytest.raises(ObjectNotFound):
            await store.parts(SOURCE, sending)
        with pytest.raises(ObjectNotFound):
            await store.join_parts(SOURCE, sending, [1000])

    async def test_a_part_that_comes_once_all_are_joined_is_never_read(self, store: Store) -> None:
        sending, body = await self.begin(store, {1: 1000})
        link = await store.part_link(SOURCE, sending, 1, size_bytes=4, seconds=60)
        await store.join_parts(SOURCE, sending, [1000])
        late = await self.put(store, link, b"late")
        if self.refuses_late_parts:
            assert late == 404
            assert await read(store, SOURCE) == body
        else:
            with pytest.raises(StorageUnavailable):
                await read(store, SOURCE)

    async def test_a_link_is_good_for_its_own_part_alone(self, store: Store) -> None:
        sending = await store.begin_parts(SOURCE)
        link = await store.part_link(SOURCE, sending, 1, size_bytes=4, seconds=60)
        for changed in (link[:-2], link + "0", link.replace(link[-20:-10], link[-10:])):
            assert await self.put(store, changed, b"evil") in (400, 403)
        assert await store.parts(SOURCE, sending) == {}

    async def test_two_sendings_of_one_key_do_not_mix(self, store: Store) -> None:
        first, _ = await self.begin(store, {1: 1000})
        second, _ = await self.begin(store, {1: 2000})
        assert (await store.parts(SOURCE, first), await store.parts(SOURCE, second)) == ({1: 1000}, {1: 2000})
        await store.drop_parts(SOURCE, first)
        await store.join_parts(SOURCE, second, [2000])
        assert await store.size(SOURCE) == 2000

    async def test_dropping_twice_is_dropping_once_and_leaves_nothing(self, store: Store) -> None:
        sending, _ = await self.begin(store, {1: PART, 2: 10})
        await store.drop_parts(SOURCE, sending)
        await store.drop_parts(SOURCE, sending)
        assert await store.delete_unfinished(0) == 0

    async def test_to_drop_parts_that_are_joined_takes_nothing_away(self, store: Store) -> None:
        sending, body = await self.begin(store, {1: PART, 2: 10})
        await store.join_parts(SOURCE, sending, [PART, 10])
        await store.drop_parts(SOURCE, sending)
        assert await read(store, SOURCE) == body

    async def test_a_sweep_removes_sendings_that_nobody_ended(self, store: Store) -> None:
        sending, _ = await self.begin(store, {1: 1000})
        assert await store.delete_unfinished(3600) == 0
        assert await store.parts(SOURCE, sending) == {1: 1000}
        assert await store.delete_unfinished(0) > 0
        with pytest.raises(ObjectNotFound):
            await store.parts(SOURCE, sending)
