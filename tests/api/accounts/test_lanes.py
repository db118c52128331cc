"""The lane of a job: who may say which, at every way in, and where it is shown."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from tests.api.accounts.conftest import code
from tests.api.conftest import JOBS
from tests.support.people import Person, key_of, person

RECORDING = ("a.wav", b"RIFF")
LINK = "https://93.184.216.34/1.mp3"

Submit = Callable[[httpx.AsyncClient, dict[str, str], dict[str, str]], Awaitable[httpx.Response]]


async def by_form(client: httpx.AsyncClient, said: dict[str, str], headers: dict[str, str]) -> httpx.Response:
    return await client.post(f"{JOBS}/transcribe", data=said, files={"file": RECORDING}, headers=headers)


async def by_url(client: httpx.AsyncClient, said: dict[str, str], headers: dict[str, str]) -> httpx.Response:
    return await client.post(f"{JOBS}/transcribe", json={"audio_url": LINK, **said}, headers=headers)


async def in_parts(client: httpx.AsyncClient, said: dict[str, str], headers: dict[str, str]) -> httpx.Response:
    return await client.post("/api/transcribe/uploads", json={"size": 4, **said}, headers=headers)


async def by_socket_client(client: httpx.AsyncClient, said: dict[str, str], headers: dict[str, str]) -> httpx.Response:
    return await client.post("/transcribe-job", data=said, files={"file": RECORDING}, headers=headers)


WAYS = [by_form, by_url, in_parts, by_socket_client]


async def lane_of(client: httpx.AsyncClient, answer: httpx.Response, headers: dict[str, str]) -> str:
    assert answer.status_code in (200, 201, 202), answer.text
    status = await client.get(f"{JOBS}/status/{answer.json()['job_id']}", headers=headers)
    return str(status.json()["lane"])


@pytest.mark.parametrize("way", WAYS)
async def test_a_job_is_normal_unless_somebody_says_otherwise(
    client: httpx.AsyncClient, ana: Person, way: Submit
) -> None:
    assert await lane_of(client, await way(client, {}, ana.headers), ana.headers) == "normal"
    for lane in ("interactive", "normal", "bulk"):
        assert await lane_of(client, await way(client, {"lane": lane}, ana.headers), ana.headers) == lane


@pytest.mark.parametrize("way", WAYS)
async def test_a_key_says_interactive_where_it_has_the_scope(
    client: httpx.AsyncClient, ana: Person, way: Submit
) -> None:
    plain = await key_of(client, ana, "jobs:read", "jobs:write")
    answer = await way(client, {"lane": "interactive"}, plain)
    assert code(answer) == (403, "missing_scope")
    assert "'jobs:interactive'" in answer.text and "normal or bulk" in answer.text
    for lane in ("normal", "bulk"):
        assert await lane_of(client, await way(client, {"lane": lane}, plain), plain) == lane
    able = await key_of(client, ana, "jobs:read", "jobs:write", "jobs:interactive")
    assert await lane_of(client, await way(client, {"lane": "interactive"}, able), able) == "interactive"


async def test_the_scope_alone_submits_nothing(client: httpx.AsyncClient, ana: Person) -> None:
    key = await key_of(client, ana, "jobs:interactive")
    assert code(await by_form(client, {"lane": "interactive"}, key)) == (403, "missing_scope")


@pytest.mark.parametrize("way", WAYS)
async def test_a_lane_that_nobody_knows_is_refused_with_those_that_there_are(
    client: httpx.AsyncClient, ana: Person, way: Submit
) -> None:
    answer = await way(client, {"lane": "express"}, ana.headers)
    assert code(answer) == (422, "invalid_request")
    assert answer.json()["error"]["field"] == "lane" and "'bulk'" in answer.text


async def test_an_upload_has_the_lane_of_its_beginning_once_it_is_completed(
    client: httpx.AsyncClient, ana: Person
) -> None:
    upload = (await in_parts(client, {"lane": "interactive"}, ana.headers)).json()
    assert (await client.put(upload["parts"][0]["url"], content=b"RIFF")).status_code == 200
    key = await key_of(client, ana, "jobs:read", "jobs:write")  # which did not choose it
    completed = await client.post(f"/api/transcribe/uploads/{upload['upload_id']}/complete", headers=key)
    assert await lane_of(client, completed, key) == "interactive"


def items(*lanes: str | None) -> dict[str, Any]:
    said = [{} if lane is None else {"lane": lane} for lane in lanes]
    return {"items": [{"audio_url": LINK, **each} for each in said]}


async def test_a_batch_is_bulk_but_for_the_items_that_say_otherwise(client: httpx.AsyncClient, ana: Person) -> None:
    answer = await client.post(f"{JOBS}/batch", json=items(None, "normal", "interactive"), headers=ana.headers)
    assert answer.status_code == 202, answer.text
    statuses = [
        await client.get(f"{JOBS}/status/{job['job_id']}", headers=ana.headers) for job in answer.json()["jobs"]
    ]
    assert [status.json()["lane"] for status in statuses] == ["bulk", "normal", "interactive"]


async def test_a_batch_with_a_lane_that_its_key_may_not_take_is_refused_by_its_item(
    client: httpx.AsyncClient, ana: Person
) -> None:
    key = await key_of(client, ana, "jobs:read", "jobs:write")
    answer = await client.post(f"{JOBS}/batch", json=items(None, "interactive"), headers=key)
    assert code(answer) == (422, "batch_refused")
    assert [(item["index"], item["code"]) for item in answer.json()["error"]["items"]] == [(1, "missing_scope")]


async def test_one_key_of_idempotency_in_another_lane_is_another_request(
    client: httpx.AsyncClient, ana: Person
) -> None:
    headers = {**ana.headers, "Idempotency-Key": "one and the same"}
    first = await by_form(client, {"lane": "bulk"}, headers)
    assert (await by_form(client, {"lane": "bulk"}, headers)).json() == first.json()
    assert code(await by_form(client, {"lane": "normal"}, headers)) == (422, "idempotency_key_reused")


async def test_jobs_are_listed_with_their_lanes(client: httpx.AsyncClient) -> None:
    eva = await person(client)
    for lane in ("bulk", "interactive"):
        await by_form(client, {"lane": lane}, eva.headers)
    listed = (await client.get(JOBS, headers=eva.headers)).json()["jobs"]
    assert [job["lane"] for job in listed] == ["interactive", "bulk"]
