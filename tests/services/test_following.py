"""Following a job: a snapshot first, every durable event once and in order, the end always; with hints or without."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from sqlalchemy.event import listen
from sqlalchemy.ext.asyncio import AsyncSession

from db import history
from domain.errors import JobNotFound
from domain.events import Cursor, Event
from domain.lifecycle import JobState
from domain.transcript import Segment
from services import attempts, ending, following
from services.attempts import Attempt
from services.following import Hub, Told
from services.platform import Platform
from tests.support.jobs import ME, NOBODY_HEARD, claimed, force, make_job
from tests.support.servers import RedisServer
from tests.support.waiting import eventually

UNTOLD_SECONDS = 30
"""After which an end is one that is never told."""


class Deaf:
    """The platform's announcements, none of which arrive: Redis is up, and every hint is lost."""

    def __init__(self, platform: Platform) -> None:
        self.publish, self.latest, self.forget = platform.events.publish, platform.events.latest, platform.events.forget

    async def listen(self) -> AsyncIterator[Event | None]:
        await asyncio.Event().wait()
        yield None

    async def close(self) -> None: ...


@pytest.fixture(params=["all hints arrive", "all hints are lost"])
async def hub(
    platform: Platform, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Hub]:
    monkeypatch.setattr(following, "REPAIR_SECONDS", 0.05)
    hub = Hub(platform if request.param == "all hints arrive" else replace(platform, events=Deaf(platform)))
    hub.start()
    yield hub
    await hub.stop()


async def hear(platform: Platform, attempt: Attempt, first: int, *words: str, at: float = 0.0) -> None:
    segments = [
        (n, Segment(start=at + i, end=at + i + 1, text=word))
        for i, (n, word) in enumerate(enumerate(words, start=first))
    ]
    assert await attempts.note_progress(platform, attempt, stage="transcribe", audio_done=1, segments=segments)


async def follow(platform: Platform, hub: Hub, attempt: Attempt, last: Cursor | None = None) -> AsyncIterator[Told]:
    stream = await following.open_stream(platform, hub, ME, attempt.job_id, last)
    assert stream is not None
    return stream


def story(told: list[Told]) -> list[str]:
    """The durable part of what was told, in words."""
    return [event.segment.text if event.segment else event.status.value for event, cursor in told if cursor is not None]


async def until_end(stream: AsyncIterator[Told]) -> list[Told]:
    return [told async for told in stream]


async def test_the_first_thing_told_is_a_snapshot(platform: Platform, hub: Hub) -> None:
    attempt = await claimed(platform)
    stream = await follow(platform, hub, attempt)
    event, cursor = await anext(stream)
    assert (event.type, event.status, cursor) == ("snapshot", "processing", None)
    await stream.aclose()  # type: ignore[attr-defined]


async def test_segments_come_as_they_are_kept_and_then_the_end(platform: Platform, hub: Hub) -> None:
    attempt = await claimed(platform)
    stream = await follow(platform, hub, attempt)
    await anext(stream)
    await hear(platform, attempt, 1, "one")
    assert (await anext(stream))[0].segment == Segment(start=0, end=1, text="one")
    await hear(platform, attempt, 2, "two", "three", at=1)
    await attempts.complete(platform, attempt, NOBODY_HEARD)
    told = await until_end(stream)
    assert story(told) == ["two", "three", "completed"]
    assert told[-1][0].result == {"segments_count": 0, "duration": 1.0}


async def test_a_follower_of_a_queued_job_sees_its_whole_life(platform: Platform, hub: Hub) -> None:
    job_id = await make_job(platform)
    stream = await following.open_stream(platform, hub, ME, job_id, None)
    assert stream is not None
    assert (await anext(stream))[0].status == "queued"
    attempt = await attempts.claim(platform, job_id, worker="w")
    assert attempt is not None
    await hear(platform, attempt, 1, "one")
    await attempts.complete(platform, attempt, NOBODY_HEARD)
    assert story(await until_end(stream)) == ["processing", "one", "completed"]


async def test_a_newcomer_to_a_finished_job_gets_all_of_it(platform: Platform, hub: Hub) -> None:
    attempt = await claimed(platform)
    await hear(platform, attempt, 1, "one", "two")
    await attempts.complete(platform, attempt, NOBODY_HEARD)
    told = await until_end(await follow(platform, hub, attempt))
    assert told[0][0].type == "snapshot"
    assert story(told)[-3:] == ["one", "two", "completed"]


async def test_a_reconnect_anywhere_goes_on_right_behind(platform: Platform, hub: Hub) -> None:
    attempt = await claimed(platform)
    await hear(platform, attempt, 1, "one", "two", "three")
    await attempts.complete(platform, attempt, NOBODY_HEARD)
    whole = [(event, cursor) for event, cursor in await until_end(await follow(platform, hub, attempt)) if cursor]
    for cut in range(1, len(whole)):
        last = Cursor.parse(str(whole[cut - 1][1]))
        rest = await until_end(await follow(platform, hub, attempt, last))
        assert story(rest) == story(whole[cut:])  # type: ignore[arg-type]


async def test_a_reconnect_behind_the_end_has_nothing_to_tell(platform: Platform, hub: Hub) -> None:
    attempt = await claimed(platform)
    await attempts.complete(platform, attempt, NOBODY_HEARD)
    told = await until_end(await follow(platform, hub, attempt))
    assert await following.open_stream(platform, hub, ME, attempt.job_id, told[-1][1]) is None


async def test_a_new_attempt_goes_on_behind_the_last_second_delivered(platform: Platform, hub: Hub) -> None:
    first = await claimed(platform)
    stream = await follow(platform, hub, first)
    await anext(stream)
    await hear(platform, first, 1, "one", "two")
    assert story([await anext(stream), await anext(stream)]) == ["one", "two"]
    await attempts.release(platform, first, reason="drained")
    second = await attempts.claim(platform, first.job_id, worker="other")
    assert second is not None
    await hear(platform, second, 1, "one", "two", "three")
    await attempts.complete(platform, second, NOBODY_HEARD)
    told = story(await until_end(stream))
    assert [word for word in told if word in ("one", "two", "three")] == ["three"]
    assert told[-1] == "completed"


async def test_a_slow_client_loses_no_durable_event(
    platform: Platform, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "BACKLOG", 4)
    attempt = await claimed(platform)
    stream = await follow(platform, hub, attempt)
    await anext(stream)
    words = [f"w{n}" for n in range(50)]
    for n, word in enumerate(words, start=1):
        await hear(platform, attempt, n, word, at=n)
    await attempts.complete(platform, attempt, NOBODY_HEARD)
    assert story(await until_end(stream)) == [*words, "completed"]


async def test_the_end_is_told_once_to_each_of_many_clients(platform: Platform, hub: Hub) -> None:
    attempt = await claimed(platform)
    clients = [asyncio.create_task(until_end(await follow(platform, hub, attempt))) for _ in range(50)]
    await hear(platform, attempt, 1, "one")
    await attempts.complete(platform, attempt, NOBODY_HEARD)
    for told in await asyncio.gather(*clients):
        assert story(told)[-2:] == ["one", "completed"]
        assert story(told).count("completed") == 1


async def test_a_stream_that_is_closed_before_anybody_listens_is_followed_no_more(platform: Platform, hub: Hub) -> None:
    attempt = await claimed(platform)
    stream = await following.open_stream(platform, hub, ME, attempt.job_id, None)
    assert stream is not None
    assert attempt.job_id in hub._followers
    await stream.aclose()
    assert attempt.job_id not in hub._followers


async def test_an_end_between_the_look_at_the_events_and_at_the_row_is_told(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = await claimed(platform)
    look = history.events_after

    async def ends_behind_it(session: AsyncSession, job_id: UUID, seq: int) -> list[Event]:
        monkeypatch.undo()
        found = await look(session, job_id, seq)
        await attempts.complete(platform, attempt, NOBODY_HEARD)
        return found

    monkeypatch.setattr(history, "events_after", ends_behind_it)
    hub = Hub(replace(platform, events=Deaf(platform)))  # no hint, and no repair: it is not started
    stream = await follow(platform, hub, attempt)
    async with asyncio.timeout(UNTOLD_SECONDS):
        told = await until_end(stream)
    assert told[0][0].status == JobState.COMPLETED
    assert story(told)[-1:] == ["completed"]


async def test_who_comes_back_behind_the_end_is_not_read_the_transcript(platform: Platform, hub: Hub) -> None:
    attempt = await claimed(platform)
    await hear(platform, attempt, 1, "one")
    await attempts.complete(platform, attempt, NOBODY_HEARD)
    told = await until_end(await follow(platform, hub, attempt))
    asked = Statements(platform)
    assert await following.open_stream(platform, hub, ME, attempt.job_id, told[-1][1]) is None
    assert asked.looks == 0


async def test_an_erased_job_ends_the_stream(platform: Platform, hub: Hub) -> None:
    attempt = await claimed(platform)
    stream = await follow(platform, hub, attempt)
    await anext(stream)
    await attempts.complete(platform, attempt, NOBODY_HEARD)
    await ending.erase(platform, ME, attempt.job_id)
    with pytest.raises(JobNotFound):
        await following.open_stream(platform, hub, ME, attempt.job_id, None)


async def test_another_owners_job_is_not_found(platform: Platform, hub: Hub) -> None:
    job_id = await make_job(platform)
    await force(platform, f"UPDATE transcript_jobs SET owner = 'somebody else' WHERE id = '{job_id}'")
    with pytest.raises(JobNotFound):
        await following.open_stream(platform, hub, ME, job_id, None)


async def test_one_subscription_serves_every_follower_of_a_process(platform: Platform, redis: RedisServer) -> None:
    hub = Hub(platform)
    hub.start()
    attempt = await claimed(platform)
    streams = [await follow(platform, hub, attempt) for _ in range(20)]
    for stream in streams:
        await anext(stream)
    client = platform.events._redis  # type: ignore[attr-defined]  # counts what Redis itself sees
    assert await client.pubsub_numpat() == 1
    await hub.stop()
    assert redis.url


async def test_a_cursor_is_what_it_was_when_it_comes_back() -> None:
    cursor = Cursor(seq=3, fence=2, n=17, end_ms=45_200)
    assert Cursor.parse(str(cursor)) == cursor
    for strange in ("", "1", "a.b.c.d", "1.2.3", "1.2.3.4.5", "-1.0.0.0", "٣.1.1.1"):
        assert Cursor.parse(strange) is None


async def test_the_end_is_told_although_a_look_failed_as_nobody_foresaw(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "REPAIR_SECONDS", 0.05)
    look, failed = history.positions, asyncio.Event()

    async def fails_once(session: AsyncSession, ids: Sequence[UUID]) -> dict[UUID, tuple[int, int, int]]:
        if not failed.is_set():
            failed.set()
            raise RuntimeError("a bug in a look")
        return await look(session, ids)

    monkeypatch.setattr(history, "positions", fails_once)
    hub = Hub(replace(platform, events=Deaf(platform)))
    hub.start()
    attempt = await claimed(platform)
    stream = await follow(platform, hub, attempt)
    await anext(stream)
    await hear(platform, attempt, 1, "one")
    assert story([await anext(stream)]) == ["one"]
    await failed.wait()
    await attempts.complete(platform, attempt, NOBODY_HEARD)
    told = await asyncio.wait_for(until_end(stream), 30)
    assert story(told)[-1:] == ["completed"]
    await hub.stop()


async def test_announcements_are_heard_again_after_an_error_that_nobody_foresaw(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "REPAIR_SECONDS", 0.05)
    heard_again = asyncio.Event()

    class BreaksOnce(Deaf):
        broken = False

        async def listen(self) -> AsyncIterator[Event | None]:
            if not self.broken:
                self.broken = True
                raise RuntimeError("readuntil() called while another coroutine is already waiting for incoming data")
            heard_again.set()
            async for event in super().listen():
                yield event

    hub = Hub(replace(platform, events=BreaksOnce(platform)))
    hub.start()
    await asyncio.wait_for(heard_again.wait(), 30)
    await hub.stop()


@pytest.mark.parametrize("beyond", ["100.0.0.0", "2147483647.1.0.0", "2.9.0.0", "2.1.9.0"])
async def test_a_cursor_that_is_ahead_of_its_job_counts_as_none(platform: Platform, hub: Hub, beyond: str) -> None:
    attempt = await claimed(platform)
    stream = await follow(platform, hub, attempt, Cursor.parse(beyond))
    await anext(stream)
    await hear(platform, attempt, 1, "one")
    await attempts.complete(platform, attempt, NOBODY_HEARD)
    async with asyncio.timeout(UNTOLD_SECONDS):
        assert story(await until_end(stream)) == ["one", "completed"]
        again = await until_end(await follow(platform, hub, attempt, Cursor.parse(beyond)))
    assert story(again)[-2:] == ["one", "completed"]


async def test_a_cursor_has_no_numbers_that_no_row_could_have() -> None:
    assert Cursor.parse("2147483647.2147483647.2147483647.9999999999") is not None
    for beyond in ("2147483648.0.0.0", "0.2147483648.0.0", "0.0.2147483648.0"):
        assert Cursor.parse(beyond) is None


class Statements:
    """Counts what PostgreSQL is asked for: how often for where jobs stand, and how often for what one has said."""

    def __init__(self, platform: Platform) -> None:
        self.positions = self.looks = 0
        listen(platform.sessions.engine.sync_engine, "before_cursor_execute", self._count)

    def _count(self, _: object, __: object, statement: str, *___: object) -> None:
        self.looks += "FROM transcript_segments" in statement
        self.positions += "segments_n" in statement and "JOIN" not in statement and statement.startswith("SELECT")


async def test_a_job_that_has_nothing_to_say_is_looked_up_once(platform: Platform, hub: Hub) -> None:
    first = await claimed(platform)
    await hear(platform, first, 1, "one", "two")
    await attempts.release(platform, first, reason="drained")
    last = Cursor(seq=2, fence=first.fence, n=2, end_ms=2000)
    second = await attempts.claim(platform, first.job_id, worker="other")
    assert second is not None
    await hear(platform, second, 1, "one")
    asked = Statements(platform)
    streams = [await follow(platform, hub, second, last), await follow(platform, hub, await claimed(platform))]
    told = [asyncio.create_task(until_end(stream)) for stream in streams]
    await eventually(lambda: asked.positions >= 10)
    assert len(streams) <= asked.looks < 2 * len(streams) + 2  # one each, and one more if the repair came in between
    await hear(platform, second, 2, "two", "three", at=1)
    await attempts.complete(platform, second, NOBODY_HEARD)
    assert story(await told[0])[-2:] == ["three", "completed"]
    told[1].cancel()


async def test_more_than_a_follower_can_hold_sends_it_looking() -> None:
    heard = Event(type="segment", job_id=uuid4(), status=JobState.PROCESSING, progress=0)
    follower = following.Follower(heard.job_id)
    for _ in range(following.BACKLOG):
        follower.tell(heard)
    assert follower.take() == ([heard] * following.BACKLOG, None, False)
    for _ in range(following.BACKLOG + 1):
        follower.tell(heard)
    assert follower.take() == ([heard] * following.BACKLOG, None, True)
