"""Tickets for streams: each opens one stream, once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID, uuid4

import httpx
import pytest

from domain.access import Caller, Scope
from services import tickets
from services.platform import Platform
from tests.api.conftest import JOBS
from tests.support.audio import tone
from tests.support.jobs import force

Work = Callable[..., Awaitable[None]]


async def submitted(client: httpx.AsyncClient) -> str:
    file = {"file": ("visit.wav", tone(1.0), "audio/wav")}
    return str((await client.post(f"{JOBS}/transcribe", data={"engine": "scripted"}, files=file)).json()["job_id"])


@pytest.fixture
async def ended(client: httpx.AsyncClient, work: Work) -> AsyncIterator[str]:
    job_id = await submitted(client)
    await work(job_id)
    yield job_id


async def ticket(client: httpx.AsyncClient, job_id: str) -> str:
    answer = await client.post(f"{JOBS}/stream/{job_id}/ticket")
    assert (answer.status_code, answer.json()["expires_in"]) == (201, 30)
    return str(answer.json()["path"])


async def test_a_ticket_opens_its_stream_once(client: httpx.AsyncClient, ended: str) -> None:
    path = await ticket(client, ended)
    first = await client.get(path)
    assert first.status_code == 200
    assert '"completed"' in first.text
    again = await client.get(path)
    assert (again.status_code, again.json()["error"]["code"]) == (403, "bad_ticket")


async def test_of_many_who_hold_a_ticket_one_is_let_in(client: httpx.AsyncClient, ended: str) -> None:
    path = await ticket(client, ended)
    answers = await asyncio.gather(*(client.get(path) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 403, 403, 403, 403]


async def test_a_ticket_opens_no_other_stream_and_is_not_spent_on_it(client: httpx.AsyncClient, ended: str) -> None:
    path = await ticket(client, ended)
    other = await submitted(client)
    assert (await client.get(path.replace(ended, other))).status_code == 403
    assert (await client.get(path)).status_code == 200


async def test_a_ticket_expires(client: httpx.AsyncClient, platform: Platform, ended: str) -> None:
    path = await ticket(client, ended)
    await force(platform, "UPDATE stream_tickets SET expires_at = now() - interval '1 s'")
    assert (await client.get(path)).status_code == 403


async def test_a_ticket_lets_in_as_its_owner_who_reads(
    platform: Platform, client: httpx.AsyncClient, ended: str
) -> None:
    token = (await ticket(client, ended)).partition("ticket=")[2]
    assert await tickets.redeem(platform, token, UUID(ended)) == Caller("local", frozenset({Scope.READ}))


async def test_nobody_gets_a_ticket_for_a_job_that_is_not_theirs(client: httpx.AsyncClient) -> None:
    assert (await client.post(f"{JOBS}/stream/{uuid4()}/ticket")).status_code == 404


async def test_a_new_event_source_goes_on_behind_what_it_was_told(client: httpx.AsyncClient, ended: str) -> None:
    told = await client.get(f"{JOBS}/stream/{ended}")
    last = [line.partition(": ")[2] for line in told.text.splitlines() if line.startswith("id:")][-1]
    assert (await client.get(f"{JOBS}/stream/{ended}", params={"after": last})).status_code == 204


async def test_no_ticket_is_kept_as_it_was_given_out(platform: Platform, client: httpx.AsyncClient, ended: str) -> None:
    token = (await ticket(client, ended)).partition("ticket=")[2]
    async with platform.sessions.begin() as session:
        rows = (await session.connection()).exec_driver_sql("SELECT * FROM stream_tickets")
        assert token not in str((await rows).all())
