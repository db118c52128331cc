"""What of a job goes when: at its owner's word, at the time that was set, and what is left to show for it."""

from uuid import UUID, uuid4

import pytest

from config.load import load_settings
from config.settings import Settings
from db import history
from domain.errors import JobNotFound, StorageUnavailable
from domain.lifecycle import JobOptions, JobState
from domain.speakers import SpeakerEdits
from services import attempts, ending, reading, retention, speakers, submission
from services.platform import Platform
from storage import layout
from storage.local import LocalStore
from tests.storage.dying_put import put_and_die
from tests.support.jobs import ME, NOBODY_HEARD, body, force, in_state, row

A_WEEK_HOURS = 168


@pytest.fixture(scope="module")
def settings(environ: dict[str, str]) -> Settings:
    return load_settings({**environ, "RESULT_RETENTION_HOURS": str(A_WEEK_HOURS), "TOMBSTONE_RETENTION_HOURS": "24"})


async def completed(platform: Platform, *, delete_after_seconds: int | None = None) -> UUID:
    kept = await submission.keep(platform, ME, body())
    wanted = submission.Submission(JobOptions(engine="auto"), delete_after_seconds=delete_after_seconds)
    job_id = (await submission.submit(platform, ME, wanted, kept, filename="a.wav")).job_id
    attempt = await attempts.claim(platform, job_id, worker="worker")
    assert attempt is not None
    assert await attempts.complete(platform, attempt, NOBODY_HEARD)
    return job_id


async def ended_ago(platform: Platform, job_id: UUID, ago: str) -> None:
    await force(platform, f"UPDATE transcript_jobs SET completed_at = now() - interval '{ago}' WHERE id = '{job_id}'")


async def objects(platform: Platform, job_id: UUID) -> list[str]:
    return [found.key async for found in platform.store.list(layout.job_prefix("local", job_id))]


async def tidy(platform: Platform) -> None:
    await retention.erase_expired(platform)
    await retention.finish_erasures(platform)


async def test_a_job_goes_when_its_owner_said_and_not_before(platform: Platform) -> None:
    job_id = await completed(platform, delete_after_seconds=3600)
    await ended_ago(platform, job_id, "59 minutes")
    await tidy(platform)
    assert (await reading.result(platform, ME, job_id)).heard == NOBODY_HEARD
    await ended_ago(platform, job_id, "61 minutes")
    await tidy(platform)
    assert await objects(platform, job_id) == []
    with pytest.raises(JobNotFound):
        await reading.status(platform, ME, job_id)
    receipt = await ending.receipt(platform, ME, job_id)
    assert receipt.erased_at is not None
    assert receipt.objects_deleted == 2  # the recording and the transcript


async def test_a_job_that_has_not_ended_does_not_go_however_soon_it_was_to(platform: Platform) -> None:
    kept = await submission.keep(platform, ME, body())
    wanted = submission.Submission(JobOptions(engine="auto"), delete_after_seconds=1)
    job_id = (await submission.submit(platform, ME, wanted, kept, filename="a.wav")).job_id
    await force(platform, f"UPDATE transcript_jobs SET created_at = now() - interval '1 day' WHERE id = '{job_id}'")
    await tidy(platform)
    assert (await row(platform, job_id))["state"] == "queued"


async def test_every_job_goes_when_the_settings_say(platform: Platform) -> None:
    job_id = await completed(platform)
    await ended_ago(platform, job_id, f"{A_WEEK_HOURS - 1} hours")
    await tidy(platform)
    assert (await row(platform, job_id))["state"] == "completed"
    await ended_ago(platform, job_id, f"{A_WEEK_HOURS + 1} hours")
    await tidy(platform)
    assert (await row(platform, job_id))["state"] == "purged"


@pytest.mark.parametrize("state", [state for state in JobState if state != JobState.PURGED])
async def test_erasing_is_receipted_from_every_state(platform: Platform, state: JobState) -> None:
    job_id = await in_state(platform, state)
    receipt = await ending.erase(platform, ME, job_id)
    again = await ending.erase(platform, ME, job_id)
    assert receipt == again == await ending.receipt(platform, ME, job_id)
    assert (receipt.erased_at is None) == (state == JobState.PROCESSING)


async def test_an_erasure_that_was_cut_short_is_finished_and_only_then_said_to_be(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await completed(platform)

    async def away(_: str) -> None:
        raise StorageUnavailable

    with monkeypatch.context() as fault:
        fault.setattr(platform.store, "delete", away)
        with pytest.raises(StorageUnavailable):
            await ending.erase(platform, ME, job_id)
    assert (await row(platform, job_id))["state"] == "purged"
    assert (await ending.receipt(platform, ME, job_id)).erased_at is None
    assert len(await objects(platform, job_id)) == 2
    await retention.finish_erasures(platform)
    assert (await ending.receipt(platform, ME, job_id)).erased_at is not None
    assert await objects(platform, job_id) == []


async def test_nobody_gets_a_receipt_for_what_was_not_erased_or_is_not_theirs(platform: Platform) -> None:
    job_id = await completed(platform)
    for unknown in (job_id, uuid4()):
        with pytest.raises(JobNotFound):
            await ending.receipt(platform, ME, unknown)


async def test_a_tombstone_goes_in_the_end(platform: Platform) -> None:
    job_id = await completed(platform)
    await ending.erase(platform, ME, job_id)
    await retention.forget_tombstones(platform)
    assert (await ending.receipt(platform, ME, job_id)).erased_at is not None
    await force(platform, f"UPDATE transcript_jobs SET erased_at = now() - interval '2 days' WHERE id = '{job_id}'")
    assert await retention.forget_tombstones(platform) == 1
    with pytest.raises(JobNotFound):
        await ending.receipt(platform, ME, job_id)


async def test_what_a_person_said_of_the_speakers_goes_with_the_job(platform: Platform) -> None:
    job_id, other = await completed(platform), await completed(platform)
    edits = SpeakerEdits(names={0: "Dr. Lee"})
    for named in (job_id, other):
        async with platform.sessions.begin() as session:
            await history.save_speaker_edits(session, named, ME.owner, edits)
    await ending.erase(platform, ME, job_id)
    assert await speakers.edits_of(platform, ME, job_id) == SpeakerEdits()
    assert await speakers.edits_of(platform, ME, other) == edits


async def test_what_a_worker_was_writing_when_it_was_killed_goes_with_the_job(platform: Platform) -> None:
    job_id, other_id = await completed(platform), await completed(platform)
    assert isinstance(platform.store, LocalStore)
    folder = platform.store._root
    for each in (job_id, other_id):
        await put_and_die(folder, layout.result("local", each, 7))
    await ending.erase(platform, ME, job_id)
    assert await platform.store.delete_unfinished(0) == 1
    assert not list(folder.glob(f"**/{job_id}"))
