"""Segments on real PostgreSQL: kept once, also where a writer never heard of its commit and says them again."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from db import jobs
from services.platform import Platform
from tests.support.jobs import claimed

ONE, TWO = ({"start": 0, "end": 1, "text": "one"}, {"start": 1, "end": 2, "text": "two"})


@pytest.mark.parametrize("by", ["note_progress", "complete"])
async def test_segments_that_are_said_again_are_kept_once(platform: Platform, by: str) -> None:
    attempt = await claimed(platform)
    job_id, fence = attempt.job_id, attempt.fence
    async with platform.sessions.begin() as session:
        assert await jobs.note_progress(session, job_id, fence, stage=None, audio_done=None, segments=[(1, ONE)])
    again = [(1, ONE), (2, TWO)]
    async with platform.sessions.begin() as session:
        if by == "complete":
            assert await jobs.complete(session, job_id, fence, result_key="k", message=None, segments=again)
        else:
            assert await jobs.note_progress(session, job_id, fence, stage=None, audio_done=None, segments=again)
    async with platform.sessions.begin() as session:
        kept = await session.execute(
            text("SELECT n, segment ->> 'text' FROM transcript_segments WHERE job_id = :id ORDER BY n"), {"id": job_id}
        )
        assert [tuple(found) for found in kept] == [(1, "one"), (2, "two")]


async def test_each_attempt_keeps_its_own(platform: Platform) -> None:
    attempt = await claimed(platform)
    for fence in (1, 2):
        async with platform.sessions.begin() as session:
            segments = [(1, ONE)]
            assert await jobs.note_progress(
                session, attempt.job_id, fence, stage=None, audio_done=None, segments=segments
            )
        async with platform.sessions.begin() as session:
            await jobs.release(session, attempt.job_id, fence, message="drained", delay=timedelta(0))
            await jobs.claim(session, attempt.job_id, worker="w", lease=timedelta(hours=1), floor=timedelta(hours=1))
    async with platform.sessions.begin() as session:
        kept = await session.scalars(
            text("SELECT fence FROM transcript_segments WHERE job_id = :id ORDER BY fence"), {"id": attempt.job_id}
        )
        assert list(kept) == [1, 2]
