"""OpenAI's library sends a recording again where no answer came: it makes no second job."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import httpx
import pytest

from api.dialects import openai
from domain.access import Caller
from services import engine_reports, submission
from services.platform import Platform
from storage import layout
from tests.contracts.conftest import api_process
from tests.support.audio import tone
from tests.support.endpoints import run_sql
from tests.support.openai_desk import PLAIN, RECORDING, TEXT, TRANSCRIPTIONS, TRANSLATIONS, Desk
from tests.support.waiting import eventually

OTHER = tone(1.5)


@pytest.fixture(autouse=True)
async def nothing_remembered(platform: Platform) -> None:
    await run_sql(platform, "DELETE FROM idempotency_keys")


async def count_jobs(platform: Platform) -> int:
    return int((await run_sql(platform, "SELECT count(*) FROM transcript_jobs"))[0][0])


async def test_the_first_try_always_makes_a_job(desk: Desk) -> None:
    first, again = await desk.view(tries=0), await desk.view(tries=0)
    assert first["job_id"] != again["job_id"]
    assert (await desk.view(tries=1))["job_id"] == again["job_id"]


@pytest.mark.parametrize("tries", [1, 2])
async def test_a_later_try_meets_the_job_that_has_ended(desk: Desk, platform: Platform, tries: int) -> None:
    first = await desk.view(tries=0)
    before = await count_jobs(platform)
    assert await desk.view(tries=tries) == first
    assert await count_jobs(platform) == before


async def test_a_later_try_meets_the_job_that_runs_though_the_first_was_cut_off(desk: Desk, platform: Platform) -> None:
    desk.able.goes_on.clear()
    before = await count_jobs(platform)
    first = asyncio.create_task(desk.ask(tries=0))
    await desk.able.began.wait()
    first.cancel()
    with suppress(asyncio.CancelledError):
        await first
    again = asyncio.create_task(desk.ask(tries=1))
    desk.able.goes_on.set()
    assert (await again).json()["text"] == TEXT
    assert await count_jobs(platform) == before + 1
    assert len(desk.able.heard) == 1


async def test_first_tries_at_the_same_time_make_a_job_each(desk: Desk) -> None:
    """Whichever is stored first: the others began before it was."""
    views = await asyncio.gather(*(desk.view(tries=0) for _ in range(8)))
    assert len({view["job_id"] for view in views}) == 8


async def test_a_try_of_one_who_waited_long_meets_the_job_behind_the_window(desk: Desk, platform: Platform) -> None:
    first = await desk.view(tries=0)
    seconds = platform.settings.openai.retry_window_seconds + 599
    await run_sql(platform, f"UPDATE idempotency_keys SET created_at = now() - interval '{seconds} s'")
    desk.client.headers["x-stainless-read-timeout"] = "600"
    try:
        again = await desk.view(tries=1)
    finally:
        del desk.client.headers["x-stainless-read-timeout"]
    assert again["job_id"] == first["job_id"]


async def test_tries_at_the_same_time_make_one_job(desk: Desk, platform: Platform) -> None:
    """Where the first never arrived."""
    before = await count_jobs(platform)
    views = await asyncio.gather(*(desk.view(tries=tries) for tries in (1, 2, 1, 2)))
    assert len({view["job_id"] for view in views}) == 1
    assert await count_jobs(platform) == before + 1


@pytest.mark.parametrize(
    ("fields", "path", "recording"),
    [
        ([("language", "en")], TRANSCRIPTIONS, RECORDING),
        ([("model", "gpt-4o-transcribe")], TRANSCRIPTIONS, RECORDING),
        ([("keywords[]", "cough")], TRANSCRIPTIONS, RECORDING),
        ([("response_format", "diarized_json")], TRANSCRIPTIONS, RECORDING),
        ([], TRANSLATIONS, RECORDING),
        ([], TRANSCRIPTIONS, OTHER),
    ],
    ids=["another language", "another model", "other words", "another format", "another task", "another recording"],
)
async def test_what_asks_for_something_else_is_another_job(
    desk: Desk, fields: list[tuple[str, str]], path: str, recording: bytes
) -> None:
    first = await desk.view(tries=0)
    other = await desk.view(*fields, path=path, recording=recording, tries=1)
    assert other["job_id"] != first["job_id"]


async def test_a_try_meets_the_job_though_engines_have_come_meanwhile(desk: Desk, platform: Platform) -> None:
    """With them, what the words stand for may have changed."""
    first = await desk.view(("model", "small"), tries=0)
    better = PLAIN.model_copy(update={"engine": "better", "quality": 50})
    await engine_reports.record(platform, worker="worker-2", reports=[better])
    again = await desk.view(("model", "small"), tries=1)
    await engine_reports.withdraw(platform, worker="worker-2")
    assert again["job_id"] == first["job_id"]


@pytest.mark.parametrize("count", [None, "", "x", "-1", "1.0", "1" * 5000, "٣"])
async def test_who_does_not_count_tries_makes_a_job_each_time(desk: Desk, count: str | None) -> None:
    first = await desk.view(tries=0)
    headers = {} if count is None else {b"x-stainless-retry-count": count.encode()}
    parts = [("model", (None, "whisper-1")), ("file", ("speech.wav", RECORDING))]
    other = await desk.client.post(TRANSCRIPTIONS, files=parts, headers=headers)  # type: ignore[arg-type]
    assert other.json()["job_id"] != first["job_id"]


async def test_after_the_window_a_try_makes_a_job_which_the_next_one_meets(desk: Desk, platform: Platform) -> None:
    first = await desk.view(tries=0)
    seconds = platform.settings.openai.retry_window_seconds
    await run_sql(platform, f"UPDATE idempotency_keys SET created_at = now() - interval '{seconds} s'")
    second = await desk.view(tries=1)
    assert second["job_id"] != first["job_id"]
    assert (await desk.view(tries=2))["job_id"] == second["job_id"]


async def test_nobody_meets_another_s_job(desk: Desk, platform: Platform) -> None:
    first = await desk.view(tries=0)
    await run_sql(platform, "UPDATE idempotency_keys SET owner = 'somebody else'")
    assert (await desk.view(tries=1))["job_id"] != first["job_id"]


async def test_of_a_recording_that_is_not_needed_again_nothing_stays(desk: Desk, platform: Platform) -> None:
    async def stored() -> int:
        return len([found async for found in platform.store.list(layout.ROOT)])

    await desk.view(tries=0)
    before = await stored()
    await desk.view(tries=1)
    assert await stored() == before


async def test_a_failure_is_told_again_and_not_repeated(desk: Desk, platform: Platform) -> None:
    broken = b"no recording" * 100
    first = await desk.ask(recording=broken, tries=0)
    before = await count_jobs(platform)
    again = await desk.ask(recording=broken, tries=1)
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert again.headers["x-should-retry"] == "false"
    assert await count_jobs(platform) == before


async def test_an_idempotency_key_is_meant_even_at_the_first_try(desk: Desk) -> None:
    views = []
    for _ in range(2):
        parts = [("model", (None, "whisper-1")), ("file", ("speech.wav", RECORDING))]
        headers = {"Idempotency-Key": "visit-1", "x-stainless-retry-count": "0", "x-stainless-lang": "python"}
        views.append((await desk.client.post(TRANSCRIPTIONS, files=parts, headers=headers)).json())
    assert views[0] == views[1]


async def test_a_try_meets_the_job_in_another_process_and_after_a_restart(
    desk: Desk, platform: Platform, environ: dict[str, str]
) -> None:
    """The process that took the recording is killed in the middle of the job."""
    desk.able.goes_on.clear()
    parts = [("model", (None, "whisper-1")), ("file", ("speech.wav", RECORDING))]
    counted = {"x-stainless-lang": "python"}
    before = await count_jobs(platform)
    async with api_process(environ) as first, httpx.AsyncClient(base_url=first, timeout=60) as client:
        asking = asyncio.create_task(
            client.post(TRANSCRIPTIONS, files=parts, headers={**counted, "x-stainless-retry-count": "0"})
        )
        await desk.able.began.wait()
    with pytest.raises(httpx.TransportError):
        await asking
    async with api_process(environ) as second, httpx.AsyncClient(base_url=second, timeout=60) as client:
        desk.able.goes_on.set()
        answer = await client.post(TRANSCRIPTIONS, files=parts, headers={**counted, "x-stainless-retry-count": "1"})
    assert answer.json()["text"] == TEXT
    assert await count_jobs(platform) == before + 1


# A client that leaves


async def test_a_job_goes_on_when_its_client_leaves_and_nobody_waits_for_it_in_vain(
    desk: Desk, platform: Platform
) -> None:
    desk.able.goes_on.clear()
    asking = asyncio.create_task(desk.ask(tries=0))
    await desk.able.began.wait()
    asking.cancel()
    await eventually(
        lambda: openai._leave.__name__ not in [getattr(task.get_coro(), "__name__", "") for task in asyncio.all_tasks()]
    )
    desk.able.goes_on.set()
    await eventually(lambda: desk.able.ended.is_set())
    assert (await desk.view(tries=1))["text"] == TEXT
    assert len(desk.able.heard) == 1


async def test_no_job_is_made_for_a_client_that_has_left_before(
    desk: Desk, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its next try, if there is one, brings the recording along again."""
    stored, goes_on, discarded = asyncio.Event(), asyncio.Event(), asyncio.Event()
    keep, discard = submission.keep, submission.discard

    async def slowly(platform: Platform, caller: Caller, media: AsyncIterator[bytes]) -> submission.Kept:
        kept = await keep(platform, caller, media)
        stored.set()
        await goes_on.wait()
        return kept

    async def told(platform: Platform, caller: Caller, kept: submission.Kept) -> None:
        await discard(platform, caller, kept)
        discarded.set()

    monkeypatch.setattr(submission, "keep", slowly)
    monkeypatch.setattr(submission, "discard", told)
    before = await count_jobs(platform)
    asking = asyncio.create_task(desk.ask(tries=0))
    await stored.wait()
    asking.cancel()
    with suppress(asyncio.CancelledError):
        await asking
    for _ in range(5):  # turns of the loop in which the server, which is in it, sees that the line is closed
        await asyncio.sleep(0)
    goes_on.set()
    await asyncio.wait_for(discarded.wait(), 30)
    assert await count_jobs(platform) == before
