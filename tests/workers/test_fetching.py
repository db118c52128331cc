"""Jobs whose recording a worker fetches: from a real server, into a real store, once and for all."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import pytest

from config.load import load_settings
from config.settings import Settings
from domain.errors import EngineFailed
from domain.intake_errors import AudioUrlRefused
from domain.lifecycle import JobOptions
from domain.transcript import Heard, Segment
from engines.contract import Hearing
from services import attempts, ending, fetching, reading, submission
from services.attempts import Pinned
from services.platform import Platform
from storage import layout
from tests.support.audio import tone
from tests.support.endpoints import run_sql
from tests.support.hostile_urls import HOSTILE
from tests.support.jobs import ME, force, row
from tests.support.jobs import make_job as make_uploaded
from tests.support.receiver import Dawdling, Received, Receiver, always, receiving, response
from tests.support.scripted import ScriptedEngine, registry_of
from workers.pipeline import run_attempt

SECOND = tone(1.0)
OPEN = {"AUDIO_URL_ALLOW_HTTP": "1", "AUDIO_URL_ALLOW_PRIVATE": "1"}


@pytest.fixture(scope="module")
def settings(environ: dict[str, str]) -> Settings:
    return load_settings({**environ, **OPEN, "JOB_LEASE_SEC": "0.5", "MAX_FILE_SIZE": "1000000"})


def serving(body: bytes) -> Callable[[Received], Awaitable[bytes]]:
    async def serve(_: Received) -> bytes:
        return response(200, body=body)

    return serve


async def make_job(platform: Platform, url: str) -> UUID:
    wanted = submission.Submission(JobOptions(engine="auto"))
    return (await submission.submit(platform, ME, wanted, submission.link(platform, url), filename=None)).job_id


async def run(platform: Platform, job_id: UUID, engine: ScriptedEngine | None = None) -> None:
    await run_attempt(platform, registry_of(engine or ScriptedEngine()), job_id, worker="worker-1")


@pytest.fixture(autouse=True)
async def none_is_left(platform: Platform) -> None:
    await run_sql(platform, "DELETE FROM recording_urls")


async def urls(platform: Platform) -> list[str]:
    return [url for (url,) in await run_sql(platform, "SELECT url FROM recording_urls")]


async def objects(platform: Platform, job_id: UUID) -> set[str]:
    return {found.key async for found in platform.store.list(layout.job_prefix("local", job_id))}


def code_of(after: dict[str, object]) -> object:
    assert isinstance(after["error_details"], dict)
    return after["error_details"]["code"]


async def be_lost(platform: Platform, job_id: UUID) -> None:
    """Another worker may take the job, as the one that has it is not heard of any more."""
    await force(platform, f"UPDATE transcript_jobs SET state = 'queued', lease_until = NULL WHERE id = '{job_id}'")


async def test_a_recording_is_fetched_and_heard(platform: Platform, receiver: Receiver) -> None:
    receiver.answer = serving(SECOND)
    job_id = await make_job(platform, receiver.url)
    assert receiver.connections == 0
    await run(platform, job_id)
    result = await reading.result(platform, ME, job_id)
    assert [segment.text for segment in result.heard.segments] == ["one", "two", "three"]
    assert result.heard.duration == pytest.approx(1.0)
    found = await reading.audio(platform, ME, job_id)
    async with platform.store.open(found.key) as chunks:
        assert b"".join([chunk async for chunk in chunks]) == SECOND


async def test_what_was_fetched_is_pinned_and_its_url_forgotten(platform: Platform, receiver: Receiver) -> None:
    receiver.answer = serving(SECOND)
    job_id = await make_job(platform, receiver.url)
    before = await row(platform, job_id)
    assert (before["source_key"], before["source_bytes"], before["source_sha256"]) == (None, None, None)
    assert await urls(platform) == [receiver.url]
    await run(platform, job_id)
    after = await row(platform, job_id)
    assert (after["source_bytes"], after["source_sha256"]) == (len(SECOND), sha256(SECOND).hexdigest())
    assert after["source_key"] == layout.fetched("local", job_id, 1)
    assert await urls(platform) == []


async def test_every_try_hears_the_bytes_of_the_first(platform: Platform, receiver: Receiver) -> None:
    async def script(_: Path, __: Hearing) -> AsyncIterator[Heard]:
        raise EngineFailed("the engine hiccuped", retryable=True)
        yield

    receiver.answer = serving(SECOND)
    job_id = await make_job(platform, receiver.url)
    await run(platform, job_id, ScriptedEngine(script))
    receiver.answer = serving(tone(2.0))
    await force(platform, f"UPDATE transcript_jobs SET run_at = now() WHERE id = '{job_id}'")
    await run(platform, job_id)
    assert (await reading.result(platform, ME, job_id)).heard.duration == pytest.approx(1.0)
    assert receiver.connections == 1


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (response(404), "audio_url_not_served"),
        (response(302, "Location: http://127.0.0.1/"), "audio_url_redirects"),
        (response(200, body=bytes(1_000_001)), "audio_url_too_large"),
        (response(200), "media_empty"),
        (response(200, body=b"<html>please log in</html>"), "media_unsupported"),
    ],
)
async def test_what_can_never_be_fetched_fails_the_job_at_once_by_name(
    platform: Platform, receiver: Receiver, answer: bytes, code: str
) -> None:
    receiver.answer = lambda _: asyncio.sleep(0, answer)
    job_id = await make_job(platform, receiver.url)
    await run(platform, job_id)
    after = await row(platform, job_id)
    assert (after["state"], code_of(after), after["attempts"]) == ("failed", code, 0)
    assert await urls(platform) == []


async def test_what_cannot_be_fetched_now_is_tried_again(platform: Platform, receiver: Receiver) -> None:
    receiver.answer = always(503)
    job_id = await make_job(platform, receiver.url)
    await run(platform, job_id)
    after = await row(platform, job_id)
    assert (after["state"], code_of(after), after["attempts"]) == ("queued", "audio_url_unreachable", 1)
    assert await urls(platform) == [receiver.url]
    receiver.answer = serving(SECOND)
    await force(platform, f"UPDATE transcript_jobs SET run_at = now() WHERE id = '{job_id}'")
    await run(platform, job_id)
    assert (await row(platform, job_id))["state"] == "completed"


def careful(platform: Platform, *ports: int) -> Platform:
    """The same platform, which fetches from the public internet alone."""
    strict = platform.settings.audio_urls.model_copy(update={"allow_private": False, "ports": ports})
    return replace(platform, settings=platform.settings.model_copy(update={"audio_urls": strict}))


async def test_a_name_that_leads_inside_fails_the_job_when_it_is_to_be_fetched(
    platform: Platform, receiver: Receiver
) -> None:
    strict = careful(platform, receiver.port)
    job_id = await make_job(strict, f"http://localhost:{receiver.port}/")
    await run(strict, job_id)
    after = await row(platform, job_id)
    assert (after["state"], code_of(after), receiver.connections) == ("failed", "audio_url_refused", 0)


async def test_whatever_url_is_sent_no_worker_calls_inside(platform: Platform, receiver: Receiver) -> None:
    strict = careful(platform, receiver.port)
    for url in (url.format(port=receiver.port) for url in HOSTILE if ".example" not in url and "google" not in url):
        try:
            job_id = await make_job(strict, url)
        except AudioUrlRefused:
            continue
        await run(strict, job_id)
        assert code_of(await row(platform, job_id)) in ("audio_url_refused", "audio_url_unreachable"), url
    assert receiver.connections == 0


@pytest.mark.parametrize("ending_of_job", ["cancelled", "purged"])
async def test_a_job_that_is_ended_while_its_recording_comes_leaves_nothing(
    platform: Platform, receiver: Receiver, ending_of_job: str
) -> None:
    asked, never = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n" + bytes(400_000))
        asked.set()
        await never.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    job_id = await make_job(platform, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    attempt = asyncio.create_task(run(platform, job_id))
    await asked.wait()
    if ending_of_job == "cancelled":
        await ending.cancel(platform, ME, job_id)
    else:
        await ending.erase(platform, ME, job_id)
    await attempt
    await ending.purge(platform, job_id, "local") if ending_of_job == "purged" else None
    never.set()
    server.close()
    assert (await row(platform, job_id))["state"] == ending_of_job
    assert (await objects(platform, job_id), await urls(platform)) == (set(), [])
    assert await platform.store.delete_unfinished(0) == 0


async def test_a_job_that_ends_before_it_is_fetched_forgets_its_url(platform: Platform, receiver: Receiver) -> None:
    await ending.cancel(platform, ME, await make_job(platform, receiver.url))
    await ending.erase(platform, ME, await make_job(platform, receiver.url))
    await attempts.give_up(platform, await make_job(platform, receiver.url), code="test", reason="a test asked for it")
    assert (await urls(platform), receiver.connections) == ([], 0)


async def test_of_two_that_fetched_the_one_that_holds_the_job_pins(platform: Platform, receiver: Receiver) -> None:
    job_id = await make_job(platform, receiver.url)
    zombie = await attempts.claim(platform, job_id, worker="zombie")
    assert zombie is not None
    receiver.answer = serving(b"what the zombie found")
    zombies = await fetching.bring_in(platform, zombie)
    await be_lost(platform, job_id)
    heir = await attempts.claim(platform, job_id, worker="heir")
    assert heir is not None
    assert not await fetching.pin(platform, zombie, zombies)
    receiver.answer = serving(SECOND)
    assert await fetching.pin(platform, heir, await fetching.bring_in(platform, heir))
    assert not await fetching.pin(platform, zombie, zombies)
    assert (await row(platform, job_id))["source_sha256"] == sha256(SECOND).hexdigest()
    assert await objects(platform, job_id) == {layout.fetched("local", job_id, heir.fence)}


async def test_a_pin_whose_commit_nobody_heard_of_holds(platform: Platform, receiver: Receiver) -> None:
    receiver.answer = serving(SECOND)
    job_id = await make_job(platform, receiver.url)
    first = await attempts.claim(platform, job_id, worker="first")
    assert first is not None
    stored = await fetching.bring_in(platform, first)
    assert await fetching.pin(platform, first, stored)
    assert await fetching.pin(platform, first, stored)
    await be_lost(platform, job_id)
    heir = await attempts.claim(platform, job_id, worker="heir")
    assert heir is not None
    assert not await fetching.pin(platform, first, stored)
    assert heir.recording == Pinned(stored.key, stored.sha256)
    assert await objects(platform, job_id) == {stored.key}


async def test_a_url_is_never_logged_and_stands_in_no_other_table(
    platform: Platform, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for answer in (always(404), always(503), serving(SECOND)):
        receiver.answer = answer
        await run(platform, await make_job(platform, receiver.url))
    async with receiving() as gone:
        url = gone.url
    await run(platform, await make_job(platform, url))
    assert "shh" not in caplog.text
    for table in ("transcript_jobs", "transcripts", "job_events", "outbox_events", "idempotency_keys"):
        assert "shh" not in str(await run_sql(platform, f"SELECT * FROM {table}"))


async def test_the_stage_says_that_a_recording_is_being_fetched(platform: Platform, receiver: Receiver) -> None:
    async def script(_: Path, __: Hearing) -> AsyncIterator[Heard]:
        yield Segment(start=0, end=1, text="heard")

    receiver.answer = server = Dawdling(SECOND)
    job_id = await make_job(platform, receiver.url)
    attempt = asyncio.create_task(run(platform, job_id, ScriptedEngine(script)))
    await server.asked.wait()
    status = await reading.status(platform, ME, job_id)
    assert (status.job.state, status.event.stage) == ("processing", "fetch")
    server.go_on.set()
    await attempt


async def test_servers_that_dawdle_keep_no_worker_from_what_is_there(platform: Platform, receiver: Receiver) -> None:
    receiver.answer = server = Dawdling(SECOND)
    fetches = asyncio.Semaphore(1)

    async def attempt(job_id: UUID) -> None:
        registry = registry_of(ScriptedEngine())
        await run_attempt(platform, registry, job_id, worker="worker-1", fetches=fetches)

    slow, next_one = await make_job(platform, receiver.url), await make_job(platform, receiver.url)
    there = await make_uploaded(platform, content=SECOND)
    fetching_it = asyncio.create_task(attempt(slow))
    await server.asked.wait()
    await attempt(next_one)
    await attempt(there)
    waiting = await row(platform, next_one)
    assert (waiting["state"], waiting["fence"], receiver.connections) == ("queued", 0, 1)
    assert (await row(platform, there))["state"] == "completed"
    server.go_on.set()
    await fetching_it
    await force(platform, f"UPDATE transcript_jobs SET run_at = now() WHERE id = '{next_one}'")
    await attempt(next_one)
    assert (await row(platform, next_one))["state"] == "completed"


async def test_of_urls_that_come_at_once_no_more_are_begun_than_there_is_room_for(
    platform: Platform, receiver: Receiver
) -> None:
    fetches = asyncio.Semaphore(1)
    receiver.answer = server = Dawdling(SECOND)
    jobs = [await make_job(platform, receiver.url) for _ in range(3)]
    registry = registry_of(ScriptedEngine())
    attempts = [
        asyncio.create_task(run_attempt(platform, registry, job, worker="worker-1", fetches=fetches)) for job in jobs
    ]
    await server.asked.wait()
    while sum(not attempt.done() for attempt in attempts) > 1:
        await asyncio.wait([attempt for attempt in attempts if not attempt.done()], return_when="FIRST_COMPLETED")
    assert sorted([(await row(platform, job))["state"] for job in jobs]) == ["processing", "queued", "queued"]
    server.go_on.set()
    await asyncio.gather(*attempts)
    assert not fetches.locked()
