"""Many recordings in one request: all of them are queued, or none."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest

from services.platform import Platform
from tests.api.conftest import JOBS
from tests.support.audio import tone
from tests.support.endpoints import run_sql
from tests.support.receiver import Received, Receiver, response

BATCH = f"{JOBS}/batch"

Work = Callable[..., Awaitable[None]]


@pytest.fixture(scope="module")
def environ(environ: dict[str, str]) -> dict[str, str]:
    return {**environ, "AUDIO_URL_ALLOW_HTTP": "1", "AUDIO_URL_ALLOW_PRIVATE": "1"}


def items(count: int, **said: Any) -> list[dict[str, Any]]:
    return [{"audio_url": f"https://93.184.216.34/{n}.mp3", "engine": "scripted", **said} for n in range(count)]


async def post(client: httpx.AsyncClient, body: Any, *, key: str | None = None) -> httpx.Response:
    return await client.post(BATCH, json=body, headers={} if key is None else {"Idempotency-Key": key}, timeout=120)


async def count(platform: Platform) -> tuple[int, int]:
    """Jobs, and URLs to fetch."""
    jobs = await run_sql(platform, "SELECT count(*) FROM transcript_jobs")
    urls = await run_sql(platform, "SELECT count(*) FROM recording_urls")
    return jobs[0][0], urls[0][0]


async def test_a_thousand_are_queued_in_their_order(client: httpx.AsyncClient, platform: Platform) -> None:
    before = await count(platform)
    answer = await post(client, {"items": items(1000)})
    assert answer.status_code == 202, answer.text
    made = answer.json()
    assert len({job["job_id"] for job in made["jobs"]}) == 1000
    after = await count(platform)
    assert (after[0] - before[0], after[1] - before[1]) == (1000, 1000)
    urls = dict(await run_sql(platform, "SELECT job_id::text, url FROM recording_urls"))
    assert [urls[job["job_id"]] for job in made["jobs"]] == [item["audio_url"] for item in items(1000)]


async def test_its_progress_is_counted_and_its_jobs_are_listed(
    client: httpx.AsyncClient, work: Work, receiver: Receiver
) -> None:
    async def serve(_: Received) -> bytes:
        return response(200, body=tone(1.0))

    receiver.answer = serve
    made = (await post(client, {"items": items(3, audio_url=receiver.url)})).json()
    await work(made["jobs"][0]["job_id"])
    await client.post(f"{JOBS}/{made['jobs'][1]['job_id']}/cancel")
    progress = (await client.get(f"{BATCH}/{made['batch_id']}")).json()
    assert (progress["total"], progress["ended"]) == (3, 2)
    assert progress["states"] == {"completed": 1, "cancelled": 1, "queued": 1}
    listed = (await client.get(JOBS, params={"session_id": made["batch_id"]})).json()["jobs"]
    assert {job["job_id"] for job in listed} == {job["job_id"] for job in made["jobs"]}


async def test_one_item_that_is_wrong_keeps_all_from_being_queued_and_every_one_is_named(
    client: httpx.AsyncClient, platform: Platform
) -> None:
    before = await count(platform)
    wrong = items(5)
    wrong[1]["engine"] = "nobody"
    wrong[3] |= {"engine": "english", "language": "fr"}
    refused = await post(client, {"items": wrong})
    assert refused.status_code == 422
    error = refused.json()["error"]
    assert (error["code"], error["field"]) == ("batch_refused", "items[1]")
    assert [(item["index"], item["code"]) for item in error["items"]] == [
        (1, "unknown_engine"),
        (3, "unsupported_language"),
    ]
    assert await count(platform) == before


async def test_items_that_are_none_are_named_by_their_places(client: httpx.AsyncClient) -> None:
    grouped = {**items(1)[0], "session_id": str(uuid4())}
    said = [*items(1), "text", {"engine": "auto"}, {"audio_url": "ftp://x/"}, grouped]
    error = (await post(client, {"items": said})).json()["error"]
    assert [(item["index"], item.get("field")) for item in error["items"]] == [
        (1, None),
        (2, "audio_url"),
        (3, "audio_url"),
        (4, "session_id"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"items": []},
        {"items": {}},
        {"items": items(1001)},
        {"items": items(1), "batch_id": "x"},
        {"items": items(1), "batch_id": 5},
        {"items": items(1), "more": 1},
        [],
    ],
    ids=["nothing", "none", "an object", "too many", "no uuid", "a number", "more", "a list"],
)
async def test_what_is_no_batch_is_refused(client: httpx.AsyncClient, platform: Platform, body: Any) -> None:
    before = await count(platform)
    refused = await post(client, body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid_request")
    assert await count(platform) == before


async def test_a_batch_that_is_sent_again_is_made_once(client: httpx.AsyncClient, platform: Platform) -> None:
    key, before = str(uuid4()), await count(platform)
    answers = await asyncio.gather(*(post(client, {"items": items(4)}, key=key) for _ in range(3)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    assert (await count(platform))[0] - before[0] == 4
    other = await post(client, {"items": items(5)}, key=key)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")


async def test_a_batch_that_is_not_there_is_not_found(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"{BATCH}/{uuid4()}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "batch_not_found")
