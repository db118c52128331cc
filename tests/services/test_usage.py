"""What callers have used, and how much of it they may."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert

from config.load import load_settings
from config.settings import Settings
from db.account_tables import Profile, User
from domain.access import PERSONAL, Caller
from domain.account_errors import QuotaExceeded
from domain.lifecycle import JobOptions
from services import attempts, ending, submission, usage
from services.platform import Platform
from tests.support.endpoints import run_sql
from tests.support.jobs import ME, NOBODY_HEARD, force, make_job

HOUR = 3600.0


@pytest.fixture(scope="module")
def settings(environ: dict[str, str]) -> Settings:
    return load_settings(environ | {"QUOTA_JOBS": "3", "QUOTA_AUDIO_HOURS": "1"})


@pytest.fixture
async def ana(platform: Platform) -> AsyncIterator[Caller]:
    user_id, profile_id = uuid4(), uuid4()
    async with platform.sessions.begin() as session:
        await session.execute(insert(User).values(id=user_id, email=f"{user_id}@example.org", password_hash="x"))
        await session.execute(insert(Profile).values(id=profile_id, user_id=user_id, name="clinic"))
    yield Caller(str(user_id), PERSONAL, user_id, profile_id)


async def completed(platform: Platform, owner: Caller, *, seconds: float = 10.0, engine: str = "sphinx") -> UUID:
    job_id = await make_job(platform, owner=owner)
    attempt = await attempts.claim(platform, job_id, worker="w")
    assert attempt is not None
    heard = NOBODY_HEARD.model_copy(update={"duration": seconds, "engine": engine})
    assert await attempts.complete(platform, attempt, heard)
    return job_id


def this_month() -> date:
    return datetime.now(UTC).date().replace(day=1)


async def test_completed_jobs_are_counted_by_month_profile_and_engine(platform: Platform, ana: Caller) -> None:
    for seconds, engine in ((10.0, "sphinx"), (20.0, "sphinx"), (5.0, "asr")):
        await completed(platform, ana, seconds=seconds, engine=engine)
    await force(platform, f"UPDATE usage SET month = '2026-01-01' WHERE owner = '{ana.owner}' AND engine = 'asr'")
    found = await usage.lines(platform, ana, since=None)
    assert [(line.month, line.profile, line.engine, line.jobs, line.audio_seconds) for line in found] == [
        (this_month(), "clinic", "sphinx", 2, 30.0),
        (date(2026, 1, 1), "clinic", "asr", 1, 5.0),
    ]
    assert [line.engine for line in await usage.lines(platform, ana, since=date(2026, 2, 1))] == ["sphinx"]
    assert await usage.lines(platform, Caller(str(uuid4())), since=None) == []


async def test_what_failed_is_not_counted(platform: Platform, ana: Caller) -> None:
    job_id = await make_job(platform, owner=ana)
    attempt = await attempts.claim(platform, job_id, worker="w")
    assert attempt is not None
    await attempts.release(platform, attempt, reason="a test")
    assert await usage.lines(platform, ana, since=None) == []


async def test_what_was_cancelled_is_counted_as_far_as_it_was_heard(platform: Platform, ana: Caller) -> None:
    """Its segments were told as they came, so a cancel in the last minute must not make the whole free."""
    for heard in (0.0, 7.5):
        job_id = await make_job(platform, owner=ana)
        attempt = await attempts.claim(platform, job_id, worker="w")
        assert attempt is not None
        assert await attempts.note_progress(platform, attempt, stage="transcribe", audio_done=heard, segments=[])
        await ending.cancel(platform, ana, job_id)
        assert await attempts.cancel(platform, attempt)
    (line,) = await usage.lines(platform, ana, since=None)
    assert (line.jobs, line.audio_seconds) == (1, 7.5)


async def test_a_completion_that_is_said_twice_counts_once(platform: Platform, ana: Caller) -> None:
    job_id = await make_job(platform, owner=ana)
    attempt = await attempts.claim(platform, job_id, worker="w")
    assert attempt is not None
    for _ in range(2):  # as after an answer that was lost
        assert await attempts.complete(platform, attempt, NOBODY_HEARD)
    assert [line.jobs for line in await usage.lines(platform, ana, since=None)] == [1]


async def test_what_was_used_stays_counted_when_profile_and_job_are_gone(platform: Platform, ana: Caller) -> None:
    await completed(platform, ana)
    await run_sql(platform, f"DELETE FROM profiles WHERE user_id = '{ana.user_id}'")
    await force(platform, f"DELETE FROM job_events WHERE owner = '{ana.owner}'")
    (line,) = await usage.lines(platform, ana, since=None)
    assert (line.profile, line.jobs) == (None, 1)


async def test_a_quota_of_jobs_lets_in_as_many_and_no_more(platform: Platform, ana: Caller) -> None:
    for _ in range(3):
        await completed(platform, ana)
    with pytest.raises(QuotaExceeded) as refused:
        await make_job(platform, owner=ana)
    assert 0 < refused.value.retry_after <= 31 * 24 * HOUR
    await make_job(platform, owner=ME)


async def test_a_quota_of_audio_is_used_up_by_the_recording_that_goes_beyond_it(
    platform: Platform, ana: Caller
) -> None:
    await completed(platform, ana, seconds=HOUR + 1)
    with pytest.raises(QuotaExceeded):
        await submission.check(platform, ana, submission.Submission(JobOptions(engine="auto")))


async def test_last_month_is_over(platform: Platform, ana: Caller) -> None:
    await completed(platform, ana, seconds=HOUR + 1)
    await force(platform, f"UPDATE usage SET month = month - interval '1 month' WHERE owner = '{ana.owner}'")
    await make_job(platform, owner=ana)


async def test_a_user_s_own_quota_goes_before_that_of_the_settings(platform: Platform, ana: Caller) -> None:
    await force(platform, f"UPDATE users SET monthly_jobs = 1 WHERE id = '{ana.user_id}'")
    await completed(platform, ana)
    with pytest.raises(QuotaExceeded):
        await make_job(platform, owner=ana)
    await force(platform, f"UPDATE users SET monthly_jobs = 5 WHERE id = '{ana.user_id}'")
    for _ in range(4):
        await completed(platform, ana)
    with pytest.raises(QuotaExceeded):
        await make_job(platform, owner=ana)


async def test_of_many_submissions_at_once_no_more_are_taken_than_the_quota_has(
    platform: Platform, ana: Caller
) -> None:
    made = await asyncio.gather(*(make_job(platform, owner=ana) for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(each, UUID) for each in made) == 3
    assert all(isinstance(each, UUID | QuotaExceeded) for each in made)


async def test_a_month_is_read_out_from_any_day_of_it(platform: Platform, ana: Caller) -> None:
    await completed(platform, ana)
    day = this_month().replace(day=28)
    assert [line.jobs for line in await usage.lines(platform, ana, since=day)] == [1]
