"""Submissions that are sent again: one job, one recording, and the same answer however often."""

import asyncio
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from domain.access import Caller
from domain.lifecycle import JobOptions
from services import once, submission
from services.platform import Platform
from storage import layout
from tests.api.conftest import JOBS
from tests.support.audio import tone
from tests.support.jobs import body, force

FILE = {"file": ("visit.wav", tone(1.0), "audio/wav")}


async def submit(
    client: httpx.AsyncClient,
    key: str | None,
    files: dict[str, tuple[str, bytes, str]] = FILE,
    **fields: str,
) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    data = {"engine": "scripted", **fields}
    return await client.post(f"{JOBS}/transcribe", data=data, files=files, headers=headers)


async def count(platform: Platform) -> tuple[int, int]:
    """Jobs and recordings."""
    async with platform.sessions.begin() as session:
        jobs = await session.scalar(text("SELECT count(*) FROM transcript_jobs"))
    return jobs or 0, len([found async for found in platform.store.list(layout.ROOT)])


async def test_the_second_time_gets_the_first_answer_and_makes_no_job(
    client: httpx.AsyncClient, platform: Platform
) -> None:
    key = str(uuid4())
    first = await submit(client, key)
    made = await count(platform)
    second = await submit(client, key)
    assert (first.status_code, second.status_code) == (202, 202)
    assert second.content == first.content
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert await count(platform) == made


async def test_many_at_once_make_one_job_and_get_one_answer(client: httpx.AsyncClient, platform: Platform) -> None:
    key = str(uuid4())
    before = await count(platform)
    answers = await asyncio.gather(*(submit(client, key) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    after = await count(platform)
    assert (after[0] - before[0], after[1] - before[1]) == (1, 1)


@pytest.mark.parametrize(
    ("file", "fields"),
    [
        (("visit.wav", tone(1.0, pitch_hz=300), "audio/wav"), {}),
        (("other.wav", tone(1.0), "audio/wav"), {}),
        (FILE["file"], {"language": "en"}),
        (FILE["file"], {"engine": "auto"}),
        (FILE["file"], {"session_id": str(uuid4())}),
    ],
    ids=["recording", "name", "option", "engine", "session"],
)
async def test_a_key_that_is_sent_with_something_else_is_refused(
    client: httpx.AsyncClient, platform: Platform, file: tuple[str, bytes, str], fields: dict[str, str]
) -> None:
    key = str(uuid4())
    assert (await submit(client, key)).status_code == 202
    made = await count(platform)
    refused = await submit(client, key, {"file": file}, **fields)
    assert refused.status_code == 422
    assert refused.json()["error"]["code"] == "idempotency_key_reused"
    assert await count(platform) == made


async def test_the_same_recording_without_a_key_is_two_jobs(client: httpx.AsyncClient) -> None:
    first, second = await submit(client, None), await submit(client, None)
    assert first.json()["job_id"] != second.json()["job_id"]


async def test_an_answer_that_was_an_error_is_none(client: httpx.AsyncClient) -> None:
    key = str(uuid4())
    assert (await submit(client, key, engine="nobody")).status_code == 422
    assert (await submit(client, key)).status_code == 202


@pytest.mark.parametrize("key", ["x" * 256, "caf\u00e9".encode("latin-1")])
async def test_what_is_no_key_is_refused(client: httpx.AsyncClient, key: str | bytes) -> None:
    answer = await client.post(
        f"{JOBS}/transcribe", data={"engine": "scripted"}, files=FILE, headers={b"Idempotency-Key": key}
    )
    assert answer.status_code == 422
    assert answer.json()["error"]["field"] == "Idempotency-Key"


async def test_another_owner_may_have_the_same_key(platform: Platform) -> None:
    key = once.Key.parse(str(uuid4()))
    request = once.fingerprint(said="this")
    me, you = Caller("local"), Caller("somebody")
    async with platform.sessions.begin() as session:
        await once.remember(session, me, key, request, {"job_id": "1"})
        await once.remember(session, you, key, request, {"job_id": "2"})
    assert await once.answer_before(platform, you, key, request) == {"job_id": "2"}


async def test_an_answer_is_remembered_for_a_week(client: httpx.AsyncClient, platform: Platform) -> None:
    key = str(uuid4())
    first = await submit(client, key)
    await force(platform, "UPDATE idempotency_keys SET created_at = now() - interval '6 days'")
    assert await once.forget_old(platform) == 0
    await force(platform, "UPDATE idempotency_keys SET created_at = now() - interval '8 days'")
    assert await once.forget_old(platform) >= 1
    assert (await submit(client, key)).json()["job_id"] != first.json()["job_id"]


async def test_no_key_is_kept_as_it_was_sent(client: httpx.AsyncClient, platform: Platform) -> None:
    await submit(client, "maria-schmidt-1970")
    async with platform.sessions.begin() as session:
        rows = await session.execute(text("SELECT * FROM idempotency_keys"))
        assert "schmidt" not in str(rows.all())


async def test_a_submission_whose_answer_was_lost_at_the_commit_is_found_again(platform: Platform) -> None:
    """The row is there and the caller was told nothing: the next try must meet it."""
    key = once.Key.parse(str(uuid4()))
    owner = Caller("local")
    wanted = submission.Submission(JobOptions(engine="auto"))

    first_kept = await submission.keep(platform, owner, body(FILE["file"][1]))
    first = await submission.submit(platform, owner, wanted, first_kept, filename="a.wav", key=key)
    second_kept = await submission.keep(platform, owner, body(FILE["file"][1]))
    second = await submission.submit(platform, owner, wanted, second_kept, filename="a.wav", key=key)
    assert (second.job_id, second.replayed) == (first.job_id, True)
    assert [found async for found in platform.store.list(layout.job_prefix("local", second_kept.job_id))] == []
