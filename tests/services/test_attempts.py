"""How an attempt ends well: the last segments with the end, and an end that may be asked for twice."""

import asyncio
import dataclasses

import pytest

from db import history
from domain.access import Caller
from domain.lifecycle import JobState
from domain.transcript import Segment, Transcript
from services import attempts, reading
from services.attempts import Attempt
from services.platform import Platform
from storage import layout
from tests.support.jobs import claimed

ME = Caller("local")
SEGMENTS = [Segment(start=n, end=n + 1, text=f"word {n}") for n in range(3)]
HEARD = Transcript(
    language="en", duration=3.0, engine="test", engine_reason="a test asked for it", segments=tuple(SEGMENTS)
)


@pytest.fixture
async def attempt(platform: Platform) -> Attempt:
    return await claimed(platform)


async def kept(platform: Platform, attempt: Attempt) -> list[tuple[int, str]]:
    async with platform.sessions.begin() as session:
        rows = await history.segments_after(session, attempt.job_id, attempt.fence, 0)
        positions = await history.positions(session, [attempt.job_id])
    assert positions[attempt.job_id][2] == len(rows)
    return [(n, segment["text"]) for n, segment in rows]


async def test_the_last_segments_are_kept_with_the_end(platform: Platform, attempt: Attempt) -> None:
    first, *rest = enumerate(SEGMENTS, start=1)
    await attempts.note_progress(platform, attempt, stage="transcribe", audio_done=1, segments=[first])
    assert await attempts.complete(platform, attempt, HEARD, unkept=rest)
    assert await kept(platform, attempt) == [(1, "word 0"), (2, "word 1"), (3, "word 2")]


async def test_an_end_whose_answer_was_lost_may_be_asked_for_again(platform: Platform, attempt: Attempt) -> None:
    unkept = list(enumerate(SEGMENTS, start=1))
    assert await attempts.complete(platform, attempt, HEARD, unkept=unkept)
    assert await attempts.complete(platform, attempt, HEARD, unkept=unkept)
    assert len(await kept(platform, attempt)) == 3
    assert (await reading.result(platform, ME, attempt.job_id)).heard == HEARD


async def test_nobody_takes_the_last_segments_for_the_end(platform: Platform, attempt: Attempt) -> None:
    said = []
    async with asyncio.timeout(30):
        async for event in platform.events.listen():
            if event is None:
                await attempts.complete(platform, attempt, HEARD, unkept=list(enumerate(SEGMENTS, start=1)))
            elif event.job_id == attempt.job_id:
                said.append((event.type, event.n))
                if event.status == JobState.COMPLETED:
                    break
    assert said[-4:] == [("segment", 1), ("segment", 2), ("segment", 3), ("state", None)]


async def test_an_end_that_is_cut_off_leaves_no_object_that_no_row_names(platform: Platform, attempt: Attempt) -> None:
    zombie = dataclasses.replace(attempt, fence=attempt.fence + 1)
    for moment in range(40):
        ending = asyncio.create_task(attempts.complete(platform, zombie, HEARD))
        await asyncio.sleep(moment * 0.0002)
        ending.cancel()
        await asyncio.gather(ending, return_exceptions=True)
        prefix = layout.job_prefix(attempt.owner, attempt.job_id)
        assert [found.key async for found in platform.store.list(prefix)] == [attempt.recording.key]
