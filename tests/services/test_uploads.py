"""Recordings that wait: a job is pending until it is run, cancelled, erased, or too old."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from uuid import UUID, uuid4

import pytest

from domain.access import Caller
from domain.account_errors import QuotaExceeded
from domain.errors import AlreadyFinished, EngineUnavailable, IdempotencyKeyReused, Invalid, JobHasNoResult, JobNotFound
from domain.lifecycle import JobOptions, JobState
from domain.recording_errors import NotPending, NotRun, UploadUnfinished
from services import attempts, ending, following, once, reading, retention, submission, uploads, usage
from services.following import Hub
from services.platform import Platform
from services.submission import Submission
from storage import layout
from storage.contract import StoredObject
from tests.support.jobs import ME, NOBODY_HEARD, aged, body, force, in_state, row, waiting

AS_USUAL = Submission(JobOptions(engine="auto", language="en"))


async def objects(platform: Platform, job_id: UUID, owner: str = ME.owner) -> list[str]:
    return [found.key async for found in platform.store.list(layout.job_prefix(owner, job_id))]


async def test_a_recording_waits_until_it_is_run_and_is_then_a_job_like_any_other(platform: Platform) -> None:
    job_id = await waiting(platform)
    assert await attempts.claim(platform, job_id, worker="w") is None
    receipt = await uploads.run(platform, ME, job_id, AS_USUAL)
    assert (receipt.job_id, receipt.state) == (job_id, JobState.QUEUED)
    attempt = await attempts.claim(platform, job_id, worker="w")
    assert attempt is not None
    assert (attempt.options.language, attempt.options.engine) == ("en", "auto")
    assert await attempts.complete(platform, attempt, NOBODY_HEARD)
    assert (await reading.result(platform, ME, job_id)).heard == NOBODY_HEARD


async def test_what_is_said_when_it_is_run_is_in_the_row(platform: Platform) -> None:
    job_id, session_id = await waiting(platform), uuid4()
    wanted = Submission(JobOptions(engine="whisperx"), session_id=session_id, delete_after_seconds=60)
    await uploads.run(platform, ME, job_id, wanted)
    job, transcript = await reading.find(platform, ME, job_id)
    assert (job.engine, job.delete_after_seconds, transcript.session_id) == ("whisperx", 60, session_id)
    assert transcript.filename == "a.wav"


async def test_a_recording_that_is_still_to_come_can_be_run_once_it_is_there(platform: Platform) -> None:
    job_id = uuid4()
    await uploads.expect(platform, ME, job_id, filename="a.wav")
    with pytest.raises(UploadUnfinished):
        await uploads.run(platform, ME, job_id, AS_USUAL)
    stored = await platform.store.put(layout.source(ME.owner, job_id), body())
    assert (await uploads.run(platform, ME, job_id, AS_USUAL, stored=stored)).state == JobState.QUEUED
    after = await row(platform, job_id)
    assert (after["source_bytes"], after["source_sha256"]) == (stored.size_bytes, stored.sha256)


async def test_the_bytes_of_a_job_that_was_run_are_those_that_were_pinned(platform: Platform) -> None:
    job_id = await waiting(platform)
    await uploads.run(platform, ME, job_id, AS_USUAL)
    before = await row(platform, job_id)
    with pytest.raises(NotPending):
        await uploads.run(platform, ME, job_id, AS_USUAL, stored=StoredObject("other", 1, "f" * 64))
    assert await row(platform, job_id) == before


async def test_of_many_who_run_it_at_once_one_does(platform: Platform) -> None:
    job_id = await waiting(platform)
    runs = (uploads.run(platform, ME, job_id, AS_USUAL) for _ in range(8))
    ends = await asyncio.gather(*runs, return_exceptions=True)
    assert len([end for end in ends if isinstance(end, submission.Receipt)]) == 1
    assert all(isinstance(end, submission.Receipt | NotPending) for end in ends)
    assert (await row(platform, job_id))["seq"] == 2


async def test_a_run_that_is_asked_for_again_gets_the_first_answer(platform: Platform) -> None:
    job_id, key = await waiting(platform), once.Key.parse(str(uuid4()))
    first = await uploads.run(platform, ME, job_id, AS_USUAL, key=key)
    again = await uploads.run(platform, ME, job_id, AS_USUAL, key=key)
    assert (again.job_id, again.message, again.replayed) == (first.job_id, first.message, True)
    with pytest.raises(IdempotencyKeyReused):
        await uploads.run(platform, ME, job_id, Submission(JobOptions(engine="auto", language="fr")), key=key)


async def test_of_runs_with_one_key_at_once_all_get_the_answer(platform: Platform) -> None:
    job_id, key = await waiting(platform), once.Key.parse(str(uuid4()))
    receipts = await asyncio.gather(*(uploads.run(platform, ME, job_id, AS_USUAL, key=key) for _ in range(8)))
    assert sorted(receipt.replayed for receipt in receipts) == [False] + [True] * 7


async def test_an_upload_that_is_sent_again_makes_one_job_and_keeps_one_recording(platform: Platform) -> None:
    key = once.Key.parse(str(uuid4()))
    kept = [await submission.keep(platform, ME, body()) for _ in range(3)]
    first = await uploads.receive(platform, ME, kept[0], filename="a.wav", key=key)
    rest = [uploads.receive(platform, ME, each, filename="a.wav", key=key) for each in kept[1:]]
    assert {receipt.job_id for receipt in await asyncio.gather(*rest)} == {first.job_id}
    assert [len(await objects(platform, each.job_id)) for each in kept] == [1, 0, 0]


async def test_its_options_are_looked_at_when_it_is_run_and_it_waits_on_where_they_do_not_do(
    platform: Platform,
) -> None:
    job_id = await waiting(platform)
    with pytest.raises(Invalid):
        await uploads.run(platform, ME, job_id, Submission(JobOptions(engine="auto", language="no tag")))
    with pytest.raises(EngineUnavailable):
        await uploads.run(platform, ME, job_id, Submission(JobOptions(engine="asr"), wait=False))
    assert (await row(platform, job_id))["state"] == "pending"
    await uploads.run(platform, ME, job_id, AS_USUAL)


@pytest.mark.parametrize("state", [state for state in JobState if state not in (JobState.PENDING, JobState.PURGED)])
async def test_only_what_waits_can_be_run(platform: Platform, state: JobState) -> None:
    job_id = await in_state(platform, state)
    before = await row(platform, job_id)
    with pytest.raises(NotPending):
        await uploads.run(platform, ME, job_id, AS_USUAL)
    assert await row(platform, job_id) == before


async def test_nobody_runs_what_is_another_s_or_erased(platform: Platform) -> None:
    job_id = await waiting(platform)
    with pytest.raises(JobNotFound):
        await uploads.run(platform, Caller("somebody else"), job_id, AS_USUAL)
    await ending.erase(platform, ME, job_id)
    with pytest.raises(JobNotFound):
        await uploads.run(platform, ME, job_id, AS_USUAL)
    assert await objects(platform, job_id) == []


# Waiting, and its end


async def test_what_waits_is_listed_and_has_no_result_but_says_what_to_do(platform: Platform) -> None:
    job_id = await waiting(platform)
    listed = await reading.page(
        platform, ME, limit=200, cursor=None, session_id=None, states=[JobState.PENDING], engine=None
    )
    assert job_id in [status.job.id for status in listed.items]
    assert (await reading.status(platform, ME, job_id)).event.message == uploads.WAITS
    with pytest.raises(NotRun, match="run it"):
        await reading.result(platform, ME, job_id)


async def test_what_waits_can_be_cancelled(platform: Platform) -> None:
    job_id = await waiting(platform)
    assert (await ending.cancel(platform, ME, job_id)).state == JobState.CANCELLED
    with pytest.raises(NotPending):
        await uploads.run(platform, ME, job_id, AS_USUAL)


async def test_what_nobody_runs_expires_with_its_recording_and_says_why(platform: Platform) -> None:
    old, new = await waiting(platform), await waiting(platform)
    await aged(platform, old, "25 hours")
    await uploads.expire(platform)
    assert [(await row(platform, job_id))["state"] for job_id in (old, new)] == ["expired", "pending"]
    assert [len(await objects(platform, job_id)) for job_id in (old, new)] == [0, 1]
    status = await reading.status(platform, ME, old)
    assert status.event.error is not None
    assert status.event.error["code"] == "upload_expired"
    with pytest.raises(JobHasNoResult, match="upload it again"):
        await reading.result(platform, ME, old)
    with pytest.raises(AlreadyFinished):
        await ending.cancel(platform, ME, old)


async def test_a_job_that_was_run_does_not_expire_however_old_it_is(platform: Platform) -> None:
    job_id = await waiting(platform)
    await uploads.run(platform, ME, job_id, AS_USUAL)
    await aged(platform, job_id, "1 year")
    await uploads.expire(platform)
    assert (await row(platform, job_id))["state"] == "queued"


async def test_what_has_expired_is_erased_when_its_time_is_up(platform: Platform) -> None:
    job_id = await in_state(platform, JobState.EXPIRED)
    times = platform.settings.retention.model_copy(update={"result_hours": 1.0})
    settings = platform.settings.model_copy(update={"retention": times})
    await force(platform, f"UPDATE transcript_jobs SET completed_at = now() - interval '2 h' WHERE id = '{job_id}'")
    await retention.erase_expired(
        platform.__class__(settings, platform.sessions, platform.store, platform.queue, platform.events)
    )
    await retention.finish_erasures(platform)
    assert (await row(platform, job_id))["state"] == "purged"


async def test_an_object_that_is_waited_for_is_no_orphan(platform: Platform) -> None:
    job_id = uuid4()
    await uploads.expect(platform, ME, job_id, filename=None)
    await platform.store.put(layout.source(ME.owner, job_id), body())
    times = platform.settings.retention.model_copy(update={"orphan_hours": 1e-9})
    settings = platform.settings.model_copy(update={"retention": times})
    await retention.delete_orphans(
        platform.__class__(settings, platform.sessions, platform.store, platform.queue, platform.events)
    )
    assert len(await objects(platform, job_id)) == 1


# Who follows it


@pytest.fixture
async def hub(platform: Platform) -> AsyncIterator[Hub]:
    hub = Hub(platform)
    hub.start()
    yield hub
    await hub.stop()


async def test_a_stream_that_was_opened_before_the_job_is_run_goes_on_to_its_end(platform: Platform, hub: Hub) -> None:
    job_id = await waiting(platform)
    stream = await following.open_stream(platform, hub, ME, job_id, None)
    assert stream is not None
    async with aclosing(stream):
        first, _ = await anext(stream)
        assert (first.status, first.seq) == (JobState.PENDING, 1)
        await uploads.run(platform, ME, job_id, AS_USUAL)
        attempt = await attempts.claim(platform, job_id, worker="w")
        assert attempt is not None
        assert await attempts.complete(platform, attempt, NOBODY_HEARD)
        told = [(event.seq, event.status) async for event, _ in stream if event.type == "state"]
    assert told == [(2, JobState.QUEUED), (3, JobState.PROCESSING), (4, JobState.COMPLETED)]


async def test_a_stream_of_a_job_that_expires_ends_and_says_so(platform: Platform, hub: Hub) -> None:
    job_id = await waiting(platform)
    stream = await following.open_stream(platform, hub, ME, job_id, None)
    assert stream is not None
    async with aclosing(stream):
        await anext(stream)
        await aged(platform, job_id, "2 days")
        await uploads.expire(platform)
        async with asyncio.timeout(30):
            told = [(event.status, (event.error or {}).get("code")) async for event, _ in stream]
    assert told == [(JobState.EXPIRED, "upload_expired")]
    late = await following.open_stream(platform, hub, ME, job_id, None)
    assert late is not None
    assert [event.status async for event, _ in late][-1] == JobState.EXPIRED


# Quotas


async def test_what_waits_counts_for_the_quota_once_also_when_it_is_run(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = Caller(f"owner-{uuid4().hex}")

    async def one_job(_: Platform, __: Caller) -> usage.Quota:
        return usage.Quota(jobs=1, audio_seconds=None)

    monkeypatch.setattr(usage, "quota_of", one_job)
    job_id = await waiting(platform, owner=caller)
    with pytest.raises(QuotaExceeded):
        await waiting(platform, owner=caller)
    assert (await uploads.run(platform, caller, job_id, AS_USUAL)).state == JobState.QUEUED


async def test_the_quota_of_audio_is_looked_at_again_when_it_is_run(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = Caller(f"owner-{uuid4().hex}")
    waits, other = [await waiting(platform, owner=caller) for _ in range(2)]

    async def ten_seconds(_: Platform, __: Caller) -> usage.Quota:
        return usage.Quota(jobs=None, audio_seconds=10)

    monkeypatch.setattr(usage, "quota_of", ten_seconds)
    await force(platform, f"UPDATE transcript_jobs SET audio_seconds = 11 WHERE id = '{other}'")
    with pytest.raises(QuotaExceeded):
        await uploads.run(platform, caller, waits, AS_USUAL)
    assert (await row(platform, waits))["state"] == "pending"
