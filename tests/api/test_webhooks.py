"""Webhooks over HTTP: made, changed, tried out, read in the log, replayed; and never a way into the network."""

import json
import logging
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from config.load import load_settings
from config.settings import Settings
from domain.access import Caller
from domain.lifecycle import JobState
from services.platform import Platform
from tests.api.conftest import serving
from tests.support.endpoints import OPEN, endpoint, relay_once, run_sql
from tests.support.jobs import in_state
from tests.support.receiver import Receiver, always

HOOKS = "/api/webhooks"

HOSTILE = [
    "https://127.0.0.1/",
    "https://127.0.0.1:443/admin",
    "https://localhost/",
    "https://localhost./",
    "https://[::1]/",
    "https://[::]/",
    "https://0.0.0.0/",
    "https://0/",
    "https://2130706433/",
    "https://017700000001/",
    "https://0x7f000001/",
    "https://0x7f.0.0.1/",
    "https://127.1/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[::127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[64:ff9b:1::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[2001::1]/",
    "https://169.254.169.254/latest/meta-data/",
    "https://[::ffff:169.254.169.254]/latest/meta-data/",
    "https://[fd00:ec2::254]/latest/meta-data/",
    "https://168.63.129.16/machine/",
    "https://100.100.100.200/latest/meta-data/",
    "https://100.64.0.1/",
    "https://10.0.0.1/",
    "https://172.16.0.1/",
    "https://192.168.1.1/",
    "https://192.0.0.192/",
    "https://198.18.0.1/",
    "https://224.0.0.1/",
    "https://255.255.255.255/",
    "https://[fe80::1]/",
    "https://[ff02::1]/",
    "https://[fc00::1]/",
    "https://[2001:db8::1]/",
    "https://user:pass@8.8.8.8/",
    "https://8.8.8.8@127.0.0.1/",
    "https://8.8.8.8#@127.0.0.1/",
    "https://127.0.0.1\\@8.8.8.8/",
    "https://8.8.8.8:22/",
    "https://8.8.8.8:5432/",
    "https://8.8.8.8:6379/",
    "http://8.8.8.8/",
    "ftp://8.8.8.8/",
    "file:///etc/passwd",
    "gopher://8.8.8.8/",
    "javascript:alert(1)",
    "//8.8.8.8/",
    "https://①②⑦.⓪.⓪.①/",
    "https://8.8.8.8/\r\nX: y",
    "https://a.invalid/",
    "",
]


@pytest.fixture(scope="module")
def environ(environ: dict[str, str]) -> dict[str, str]:
    return {**environ, **OPEN, "WEBHOOK_MAX_ENDPOINTS": "5"}


@pytest.fixture(autouse=True)
async def none_yet(platform: Platform) -> None:
    await run_sql(platform, "DELETE FROM webhook_endpoints")


async def make(client: httpx.AsyncClient, url: str, **fields: object) -> dict[str, Any]:
    answer = await client.post(HOOKS, json={"url": url, **fields})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_a_webhook_is_told_when_a_job_ends_and_can_prove_who_told_it(
    client: httpx.AsyncClient, platform: Platform, receiver: Receiver
) -> None:
    made = await make(client, receiver.url)
    assert (made["events"], made["payload"]) == (["job.cancelled", "job.completed", "job.failed"], "thin")
    job_id = await in_state(platform, JobState.COMPLETED)
    await relay_once(platform)
    (received,) = receiver.received
    assert received.verified(made["secret"])["data"]["job_id"] == str(job_id)


async def test_openais_verifier_takes_what_is_sent(
    client: httpx.AsyncClient, platform: Platform, receiver: Receiver
) -> None:
    openai = pytest.importorskip("openai", reason="needs OpenAI's library")
    made = await make(client, receiver.url)
    await in_state(platform, JobState.COMPLETED)
    await relay_once(platform)
    (received,) = receiver.received
    verifier = openai.OpenAI(api_key="none", webhook_secret=made["secret"]).webhooks
    verifier.verify_signature(received.body, received.headers)
    with pytest.raises(openai.InvalidWebhookSignatureError):
        verifier.verify_signature(received.body + b" ", received.headers)


async def test_a_secret_is_shown_once(client: httpx.AsyncClient, receiver: Receiver) -> None:
    made = await make(client, receiver.url)
    path = f"{HOOKS}/{made['webhook_id']}"
    answers = [
        await client.get(HOOKS),
        await client.get(path),
        await client.patch(path, json={"payload": "full"}),
        await client.post(f"{path}/test"),
        await client.get(f"{path}/deliveries"),
    ]
    assert [answer.is_success for answer in answers] == [True] * 5
    assert [answer for answer in answers if "whsec_" in answer.text] == []
    assert {name: made[name] for name in answers[1].json()} == answers[1].json()
    assert answers[0].json()["webhooks"] == [answers[1].json()]


async def test_a_secret_is_changed_while_both_are_good(
    client: httpx.AsyncClient, platform: Platform, receiver: Receiver
) -> None:
    made = await make(client, receiver.url)
    path = f"{HOOKS}/{made['webhook_id']}"
    rotated = (await client.post(f"{path}/rotate")).json()
    assert rotated["secret"] != made["secret"]
    await client.post(f"{path}/test")
    await relay_once(platform)
    assert receiver.received[0].verified(made["secret"]) == receiver.received[0].verified(rotated["secret"])
    await run_sql(platform, "UPDATE webhook_endpoints SET previous_secret_until = now() - interval '1 s'")
    await client.post(f"{path}/test")
    await relay_once(platform)
    assert len(receiver.received[1].headers["webhook-signature"].split(" ")) == 1
    assert receiver.received[1].verified(rotated["secret"])["type"] == "ping"


async def test_a_trial_is_delivered_and_logged_like_anything_else(
    client: httpx.AsyncClient, platform: Platform, receiver: Receiver
) -> None:
    made = await make(client, receiver.url)
    path = f"{HOOKS}/{made['webhook_id']}"
    owed = await client.post(f"{path}/test")
    assert (owed.status_code, owed.json()["state"], owed.json()["event"]) == (202, "pending", "ping")
    receiver.answer = always(500)
    await relay_once(platform)
    (logged,) = (await client.get(f"{path}/deliveries")).json()["deliveries"]
    assert {name: logged[name] for name in ("delivery_id", "message_id")} == {
        name: owed.json()[name] for name in ("delivery_id", "message_id")
    }
    assert [(tried["status_code"], tried["error"]) for tried in logged["attempts"]] == [(500, "status")]
    assert logged["next_attempt_at"] is not None
    assert receiver.received[0].id == logged["message_id"]
    receiver.answer = always(200)
    assert (await client.post(f"{path}/deliveries/{logged['delivery_id']}/replay")).status_code == 202
    await relay_once(platform)
    (logged,) = (await client.get(f"{path}/deliveries", params={"state": "delivered"})).json()["deliveries"]
    assert (logged["state"], logged["next_attempt_at"], len(logged["attempts"])) == ("delivered", None, 2)


async def test_the_log_is_read_page_by_page(client: httpx.AsyncClient, receiver: Receiver) -> None:
    path = f"{HOOKS}/{(await make(client, receiver.url))['webhook_id']}"
    made = [(await client.post(f"{path}/test")).json()["delivery_id"] for _ in range(5)]
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await client.get(f"{path}/deliveries", params={"limit": 2, **cursor})).json()
        found += [logged["delivery_id"] for logged in page["deliveries"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert found == made[::-1]
    wrong = await client.get(f"{path}/deliveries", params={"cursor": str(uuid4())})
    assert (wrong.status_code, wrong.json()["error"]["field"]) == (422, "cursor")


async def test_a_webhook_is_paused_and_made_active_again(
    client: httpx.AsyncClient, platform: Platform, receiver: Receiver
) -> None:
    path = f"{HOOKS}/{(await make(client, receiver.url))['webhook_id']}"
    paused = (await client.patch(path, json={"state": "paused"})).json()
    assert (paused["state"], paused["reason"]) == ("paused", "paused by its owner")
    refused = await client.post(f"{path}/test")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "webhook_not_active")
    await in_state(platform, JobState.COMPLETED)
    assert (await client.get(f"{path}/deliveries")).json()["deliveries"][0]["state"] == "paused"
    assert (await client.patch(path, json={"state": "active"})).json()["state"] == "active"
    assert await relay_once(platform) == 1


async def test_what_is_owed_goes_to_the_new_url(
    client: httpx.AsyncClient, platform: Platform, receiver: Receiver
) -> None:
    path = f"{HOOKS}/{(await make(client, 'http://127.0.0.1:9/'))['webhook_id']}"
    await client.post(f"{path}/test")
    await client.patch(path, json={"url": receiver.url, "events": ["job.erased"]})
    await relay_once(platform)
    assert len(receiver.received) == 1
    assert (await client.get(path)).json()["events"] == ["job.erased"]


async def test_a_webhook_is_deleted(client: httpx.AsyncClient, receiver: Receiver) -> None:
    path = f"{HOOKS}/{(await make(client, receiver.url))['webhook_id']}"
    assert (await client.delete(path)).status_code == 204
    assert (await client.delete(path)).json()["error"]["code"] == "webhook_not_found"
    assert (await client.get(HOOKS)).json() == {"webhooks": []}


async def test_an_owner_has_so_many_webhooks_and_no_more(client: httpx.AsyncClient, receiver: Receiver) -> None:
    for _ in range(5):
        await make(client, receiver.url)
    refused = await client.post(HOOKS, json={"url": receiver.url})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "too_many_webhooks")


async def test_anothers_webhook_is_not_there(client: httpx.AsyncClient, platform: Platform) -> None:
    theirs = await endpoint(platform, owner=Caller("somebody else"))
    path = f"{HOOKS}/{theirs.id}"
    answers = [
        await client.get(path),
        await client.patch(path, json={"state": "paused"}),
        await client.delete(path),
        await client.post(f"{path}/rotate"),
        await client.post(f"{path}/test"),
        await client.get(f"{path}/deliveries"),
        await client.post(f"{path}/deliveries/{uuid4()}/replay"),
    ]
    assert {(answer.status_code, answer.json()["error"]["code"]) for answer in answers} == {(404, "webhook_not_found")}
    assert (await client.get(HOOKS)).json() == {"webhooks": []}
    (after,) = await run_sql(platform, "SELECT state, secret FROM webhook_endpoints")
    assert tuple(after) == ("active", theirs.secret)


async def test_a_delivery_is_only_found_under_its_own_webhook(client: httpx.AsyncClient, receiver: Receiver) -> None:
    one, other = [f"{HOOKS}/{(await make(client, receiver.url))['webhook_id']}" for _ in range(2)]
    delivery_id = (await client.post(f"{one}/test")).json()["delivery_id"]
    refused = await client.post(f"{other}/deliveries/{delivery_id}/replay")
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "delivery_not_found")
    assert (await client.get(f"{other}/deliveries", params={"cursor": delivery_id})).status_code == 422


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"url": None},
        {"url": "https://8.8.8.8/", "events": []},
        {"url": "https://8.8.8.8/", "events": ["ping"]},
        {"url": "https://8.8.8.8/", "events": ["job.started"]},
        {"url": "https://8.8.8.8/", "payload": "everything"},
        {"url": "https://8.8.8.8/", "secret": "whsec_mine"},
        {"url": "https://8.8.8.8/" + "a" * 2048},
    ],
)
async def test_a_body_that_does_not_fit_is_refused(client: httpx.AsyncClient, body: dict[str, object]) -> None:
    refused = await client.post(HOOKS, json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid_request")


async def test_a_webhook_cannot_be_disabled_by_hand(client: httpx.AsyncClient, receiver: Receiver) -> None:
    path = f"{HOOKS}/{(await make(client, receiver.url))['webhook_id']}"
    assert (await client.patch(path, json={"state": "disabled"})).status_code == 422


# Where a webhook may lead


@pytest.fixture(scope="module")
def strict(environ: dict[str, str]) -> Settings:
    return load_settings({name: value for name, value in environ.items() if name not in OPEN})


@pytest.fixture(scope="module")
async def strict_client(strict: Settings) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(strict) as url, httpx.AsyncClient(base_url=url, timeout=30) as client:
        yield client


@pytest.mark.parametrize("url", HOSTILE)
async def test_a_url_that_does_not_lead_to_the_public_internet_is_refused(
    strict_client: httpx.AsyncClient, url: str
) -> None:
    refused = await strict_client.post(HOOKS, json={"url": url})
    error = refused.json()["error"]
    assert (refused.status_code, error["field"]) == (422, "url")
    assert error["code"] in ("webhook_url_refused", "webhook_host_unknown")


async def test_a_url_is_judged_when_it_is_changed_too(strict_client: httpx.AsyncClient) -> None:
    path = f"{HOOKS}/{(await make(strict_client, 'https://8.8.8.8/'))['webhook_id']}"
    refused = await strict_client.patch(path, json={"url": "https://127.0.0.1/"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "webhook_url_refused")
    assert (await strict_client.get(path)).json()["url"] == "https://8.8.8.8/"


async def test_neither_url_nor_secret_nor_body_is_logged(
    client: httpx.AsyncClient, platform: Platform, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    made = await make(client, receiver.url)
    path = f"{HOOKS}/{made['webhook_id']}"
    job_id = await in_state(platform, JobState.COMPLETED)
    for status in (500, 410):
        receiver.answer = always(status)
        await relay_once(platform)
        await run_sql(platform, "UPDATE deliveries SET next_at = now() - interval '1 s'")
    await client.post(HOOKS, json={"url": "https://user:shh@127.0.0.1/?token=shh"})
    await client.get(f"{path}/deliveries")
    ours = [record for record in caplog.records if record.name.split(".")[0] != "httpx"]  # the test's own client
    said = json.dumps([record.getMessage() for record in ours])
    assert "is disabled" in said
    assert [word for word in ("shh", made["secret"], str(job_id), "/hook") if word in said] == []
