"""Every route × everybody who might ask: nobody sees, or changes, what is another's.

The routes are the application's own, so that a new one without a line in KINDS fails.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, event
from starlette.routing import Route, WebSocketRoute
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from api.app import create_app
from config.load import load_settings
from config.settings import Settings
from db.session import Sessions
from domain.access import Caller
from services import attempts, contexts, doorkeeper, videos
from services.platform import Platform
from tests.api.conftest import JOBS, serving
from tests.support.endpoints import OPEN as OUTWARD
from tests.support.endpoints import endpoint, run_sql
from tests.support.jobs import NOBODY_HEARD, make_job
from tests.support.people import Person, key_of, person

KEY = "a signing key for tests of 32 bytes"

OPEN, SIGNED = "for everybody", "by a signed link"
READ, WRITE, SETTINGS, ACCOUNT, ADMIN = "jobs:read", "jobs:write", "settings", "account", "admin"

KINDS = {
    "GET /health": OPEN,
    "GET /metrics": ADMIN,
    "GET /media/{token}": SIGNED,
    "PUT /media/{token}": SIGNED,
    "POST /users": OPEN,
    "POST /auth/token": OPEN,
    "POST /auth/refresh": OPEN,
    "POST /auth/login": OPEN,
    "POST /auth/login/refresh": OPEN,
    "POST /auth/logout": OPEN,
    "GET /users/me": ACCOUNT,
    "POST /users/me/password": ACCOUNT,
    "POST /users/me/profiles": ACCOUNT,
    "DELETE /users/me/profiles/{profile_id}": ACCOUNT,
    "GET /users/me/keys": ACCOUNT,
    "POST /users/me/keys": ACCOUNT,
    "DELETE /users/me/keys/{key_id}": ACCOUNT,
    "GET /users/me/usage": ACCOUNT,
    "GET /users": ADMIN,
    "PATCH /users/{user_id}": ADMIN,
    "POST /invites": ADMIN,
    "GET /engines": READ,
    f"GET {JOBS}/engines": READ,
    f"POST {JOBS}/transcribe": WRITE,
    f"POST {JOBS}/transcribe/asr": WRITE,
    f"POST {JOBS}/transcribe/whisperx": WRITE,
    f"GET {JOBS}": READ,
    f"GET {JOBS}/status/{{job_id}}": READ,
    f"POST {JOBS}/stream/{{job_id}}/ticket": READ,
    f"GET {JOBS}/stream/{{job_id}}": READ,
    f"GET {JOBS}/result/{{job_id}}": READ,
    f"PATCH {JOBS}/result/{{job_id}}/speakers": WRITE,
    f"GET {JOBS}/{{job_id}}/audio": READ,
    f"POST {JOBS}/{{job_id}}/cancel": WRITE,
    f"POST {JOBS}/{{job_id}}/rerun": WRITE,
    f"GET {JOBS}/{{job_id}}/receipt": READ,
    f"DELETE {JOBS}/{{job_id}}": WRITE,
    f"POST {JOBS}/batch": WRITE,
    f"GET {JOBS}/batch/{{batch_id}}": READ,
    "POST /api/transcribe/uploads": WRITE,
    "GET /api/transcribe/uploads/{job_id}": READ,
    "POST /api/transcribe/uploads/{job_id}/complete": WRITE,
    "DELETE /api/transcribe/uploads/{job_id}": WRITE,
    "GET /api/contexts": SETTINGS,
    "POST /api/contexts": SETTINGS,
    "GET /api/contexts/{context_id}": SETTINGS,
    "PUT /api/contexts/{context_id}": SETTINGS,
    "DELETE /api/contexts/{context_id}": SETTINGS,
    "GET /api/webhooks": SETTINGS,
    "POST /api/webhooks": SETTINGS,
    "GET /api/webhooks/{webhook_id}": SETTINGS,
    "PATCH /api/webhooks/{webhook_id}": SETTINGS,
    "DELETE /api/webhooks/{webhook_id}": SETTINGS,
    "POST /api/webhooks/{webhook_id}/rotate": SETTINGS,
    "POST /api/webhooks/{webhook_id}/test": SETTINGS,
    "GET /api/webhooks/{webhook_id}/deliveries": SETTINGS,
    "POST /api/webhooks/{webhook_id}/deliveries/{delivery_id}/replay": SETTINGS,
    f"GET {JOBS}/result/{{job_id}}/subtitles/report": READ,
    f"POST {JOBS}/{{job_id}}/videos": WRITE,
    f"GET {JOBS}/{{job_id}}/videos/{{video_id}}": READ,
    f"GET {JOBS}/{{job_id}}/videos/{{video_id}}/file": READ,
    "POST /upload": WRITE,
    "POST /jobs/{job_id}/run": WRITE,
    "GET /jobs/{job_id}/status": READ,
    "GET /jobs/{job_id}/result": READ,
    "GET /jobs/{job_id}/preview": READ,
    "GET /admin/metrics": ADMIN,
    "POST /transcribe": WRITE,
    "GET /transcribe/{job_id}": READ,
    "POST /transcribe-job": WRITE,
    "GET /job/{job_id}": READ,
    "DELETE /job/{job_id}": WRITE,
    "GET /queue/info": READ,
    "POST /v1/audio/transcriptions": WRITE,
    "POST /v1/audio/translations": WRITE,
    "GET /v1/models": READ,
    "GET /v1/models/{model}": READ,
}
CLOSED = {route: scope for route, scope in KINDS.items() if scope not in (OPEN, SIGNED)}

BODIES: dict[str, Any] = {
    f"PATCH {JOBS}/result/{{job_id}}/speakers": {"names": {"0": "Mallory"}},
    f"POST {JOBS}/{{job_id}}/rerun": {"stages": ["diarize"]},
    f"POST {JOBS}/{{job_id}}/videos": {},
    "POST /jobs/{job_id}/run": {"output_type": "text"},
    "PUT /api/contexts/{context_id}": {"name": "mine now", "terms": []},
    "PATCH /api/webhooks/{webhook_id}": {"state": "paused"},
}


def test_every_route_has_its_line(settings: Settings) -> None:
    paths = create_app(settings).openapi()["paths"]
    assert {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods} == set(KINDS)


@pytest.fixture(scope="module")
def settings(environ: dict[str, str]) -> Settings:
    return load_settings(environ | {"AUTH": "required", "JWT_SECRET_KEY": KEY, "REGISTRATION": "open"} | OUTWARD)


@pytest.fixture(scope="module")
async def url(settings: Settings, platform: Platform) -> AsyncIterator[str]:
    async with serving(settings) as url:
        yield url


@dataclass(frozen=True, slots=True)
class Victim:
    person: Person
    ids: dict[str, str]
    """Of everything that is theirs, by the name that it has in paths."""


@pytest.fixture(autouse=True)
async def nobody_has_tried(platform: Platform) -> None:
    await run_sql(platform, "DELETE FROM login_tries")


@pytest.fixture(scope="module")
async def victim(client: httpx.AsyncClient, platform: Platform) -> Victim:
    found = await person(client)
    owner = Caller(found.owner)
    job_id = await make_job(platform, owner=owner)
    attempt = await attempts.claim(platform, job_id, worker="w")
    assert attempt is not None
    assert await attempts.complete(platform, attempt, NOBODY_HEARD)
    batch_id = uuid4()
    theirs = f"SELECT transcript_id FROM transcript_jobs WHERE id = '{job_id}'"
    await run_sql(platform, f"UPDATE transcripts SET session_id = '{batch_id}' WHERE id = ({theirs})")
    hook = await endpoint(platform, owner=owner)
    key = await client.post("/users/me/keys", json={"name": "k"}, headers=found.headers)
    profile = await client.post("/users/me/profiles", json={"name": "p"}, headers=found.headers)
    tried = await client.post(f"/api/webhooks/{hook.id}/test", headers=found.headers)
    video = await videos.ask(platform, owner, job_id, profile="default", mode="track")
    ids = {
        "job_id": str(job_id),
        "batch_id": str(batch_id),
        "video_id": str(video.id),
        "context_id": str((await contexts.create(platform, owner, "theirs", [])).id),
        "webhook_id": str(hook.id),
        "delivery_id": tried.json()["delivery_id"],
        "key_id": key.json()["key_id"],
        "profile_id": profile.json()["profile_id"],
        "user_id": found.owner,
        "model": str(uuid4()),  # which nobody has
    }
    return Victim(found, ids)


async def ask(client: httpx.AsyncClient, route: str, ids: dict[str, str], headers: dict[str, str]) -> httpx.Response:
    """The answer; of a stream, only its head."""
    method, _, path = route.partition(" ")
    async with client.stream(method, path.format(**ids), json=BODIES.get(route), headers=headers) as answer:
        if "event-stream" not in answer.headers.get("content-type", ""):
            await answer.aread()
        return answer


def bearing(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("route", CLOSED)
async def test_who_does_not_say_who_they_are_gets_nothing(
    client: httpx.AsyncClient, victim: Victim, route: str
) -> None:
    claims = jwt.decode(victim.person.access, options={"verify_signature": False})
    kid = jwt.get_unverified_header(victim.person.access)["kid"]
    shown = {
        "nothing": {},
        "nonsense": bearing("nonsense"),
        "a key of nobody": bearing("esc_" + "A" * 43),
        "a refresh token": bearing(victim.person.refresh),
        "an expired token": bearing(jwt.encode(claims | {"exp": claims["iat"] - 1}, KEY, headers={"kid": kid})),
        "a password": {"Authorization": "Basic YW5hOmhvcnNl"},
    }
    for name, headers in shown.items():
        answer = await ask(client, route, victim.ids, headers)
        assert answer.status_code == 401, name
        assert answer.json()["error"]["code"] in ("unauthenticated", "bad_token"), name


@pytest.fixture(scope="module")
async def keys(client: httpx.AsyncClient, victim: Victim) -> dict[str, dict[str, str]]:
    """A key of the victim's own for every scope that a key may have."""
    return {scope: await key_of(client, victim.person, scope) for scope in (READ, WRITE, SETTINGS)}


@pytest.mark.parametrize("route", CLOSED)
async def test_a_key_goes_as_far_as_its_scope(
    client: httpx.AsyncClient, victim: Victim, keys: dict[str, dict[str, str]], route: str
) -> None:
    nobodys = {name: str(uuid4()) for name in victim.ids}  # what may change something, finds nothing to change
    for scope, headers in keys.items():
        answer = await ask(client, route, nobodys, headers)
        refused = answer.status_code == 403 and answer.json()["error"]["code"] == "missing_scope"
        assert refused == (scope != CLOSED[route]), scope


@pytest.mark.parametrize("route", [route for route in CLOSED if "{" in route and "{model}" not in route])
async def test_of_what_is_another_s_nobody_learns_even_that_it_is_there(
    client: httpx.AsyncClient, victim: Victim, route: str
) -> None:
    mallory = await person(client)
    theirs = await ask(client, route, victim.ids, mallory.headers)
    nobodys = await ask(client, route, {name: str(uuid4()) for name in victim.ids}, mallory.headers)
    assert theirs.status_code == (403 if CLOSED[route] == ADMIN else 404)
    assert (theirs.status_code, theirs.content) == (nobodys.status_code, nobodys.content)


# With the application's own filters removed


@pytest.fixture
def unfiltered() -> Iterator[list[str]]:
    """No query of ours asks any more whose a row is; those that did."""
    seen: list[str] = []

    def forget(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        without, changes = re.subn(r"(\w+\.)?owner = (\$\d+::\w+)", r"(\1owner = \2 OR true)", statement)
        if changes and not statement.startswith("INSERT"):
            seen.append(statement)
            return without, parameters
        return statement, parameters

    event.listen(Engine, "before_cursor_execute", forget, retval=True)
    yield seen
    event.remove(Engine, "before_cursor_execute", forget)


MINE = [
    route
    for route, scope in CLOSED.items()
    if "{job_id}" in route or "{batch_id}" in route or "{context_id}" in route or "{webhook_id}" in route
]


@pytest.mark.parametrize("route", MINE)
async def test_postgresql_hides_what_is_another_s_where_our_queries_would_not(
    client: httpx.AsyncClient, victim: Victim, unfiltered: list[str], route: str
) -> None:
    mallory = await person(client)
    unfiltered.clear()
    theirs = await ask(client, route, victim.ids, mallory.headers)
    assert theirs.status_code == 404
    assert unfiltered, "or it was none of our filters that hid it"


async def test_without_filters_and_without_postgresql_s_help_all_would_be_seen(
    client: httpx.AsyncClient, victim: Victim, unfiltered: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the test above would show nothing."""
    mallory = await person(client)
    monkeypatch.setattr(Sessions, "_seeing", lambda self, owner: nullcontext())
    answer = await ask(client, f"GET {JOBS}/result/{{job_id}}", victim.ids, mallory.headers)
    assert answer.status_code == 200


@pytest.mark.parametrize("route", [route for route in CLOSED if route.startswith("GET") and "{" not in route])
async def test_no_list_has_what_is_another_s(client: httpx.AsyncClient, victim: Victim, route: str) -> None:
    answer = await ask(client, route, {}, (await person(client)).headers)
    assert not [name for name, known in victim.ids.items() if known in answer.text]


async def test_the_victim_has_everything_still(client: httpx.AsyncClient, victim: Victim) -> None:
    """And with it that what was asked in vain above, was there to be had."""
    mine = victim.person.headers
    assert (await client.get(f"{JOBS}/result/{victim.ids['job_id']}", headers=mine)).status_code == 200
    context = await client.get(f"/api/contexts/{victim.ids['context_id']}", headers=mine)
    assert context.json()["name"] == "theirs"
    assert (await client.get(f"/api/webhooks/{victim.ids['webhook_id']}", headers=mine)).json()["state"] == "active"
    listed = (await client.get("/users/me/keys", headers=mine)).json()["keys"]
    assert victim.ids["key_id"] in [key["key_id"] for key in listed]


async def test_a_key_s_profile_has_to_be_its_owner_s(client: httpx.AsyncClient, victim: Victim) -> None:
    mallory = await person(client)
    body = {"name": "k", "profile_id": victim.ids["profile_id"]}
    answer = await client.post("/users/me/keys", json=body, headers=mallory.headers)
    assert answer.json()["error"]["code"] == "profile_not_found"


async def test_another_s_context_is_in_no_job(client: httpx.AsyncClient, victim: Victim) -> None:
    mallory = await person(client)
    form = {"context_id": victim.ids["context_id"]}
    answer = await client.post(
        f"{JOBS}/transcribe", data=form, files={"file": ("a.wav", b"RIFF")}, headers=mallory.headers
    )
    assert answer.json()["error"]["code"] == "context_not_found"


async def test_a_ticket_opens_the_stream_of_its_job_and_nothing_else(client: httpx.AsyncClient, victim: Victim) -> None:
    issued = await client.post(f"{JOBS}/stream/{victim.ids['job_id']}/ticket", headers=victim.person.headers)
    ticket = {"ticket": issued.json()["ticket"]}
    other = await client.get(f"{JOBS}/stream/{uuid4()}", params=ticket)
    assert other.json()["error"]["code"] == "bad_ticket"
    assert (await client.get(f"{JOBS}/status/{victim.ids['job_id']}", params=ticket)).status_code == 401
    assert (await client.get(f"{JOBS}/stream/{victim.ids['job_id']}", params=ticket)).status_code == 200


# WebSockets, which have no place in OpenAPI's list


async def heard_at(url: str, job_id: str, headers: dict[str, str]) -> tuple[str, int | None]:
    """The first message that a WebSocket is sent, and what it is closed with if that is at once."""
    address = f"{url.replace('http', 'ws', 1)}/ws/transcription/{job_id}"
    async with connect(address, additional_headers=headers, proxy=None) as socket:
        first = json.loads(await socket.recv())
        if first["type"] == "error":
            await socket.wait_closed()
        return str(first["data"].get("code", first["type"])), socket.close_code


async def test_every_websocket_is_known_here(settings: Settings) -> None:
    found = [path for path, kind in routes_of(create_app(settings)) if kind == "websocket"]
    assert found == ["/ws/transcription/{job_id}"]


def routes_of(app: FastAPI) -> list[tuple[str, str]]:
    """Path and kind of every route, those of included routers among them."""
    included = [route.original_router.routes for route in app.routes if hasattr(route, "original_router")]
    kinds = {WebSocketRoute: "websocket", Route: "http"}
    return [
        (route.path, kinds[kind])
        for routes in included
        for route in routes
        for kind in kinds
        if isinstance(route, kind)
    ]


async def test_a_websocket_tells_nobody_what_is_another_s(url: str, client: httpx.AsyncClient, victim: Victim) -> None:
    job_id = victim.ids["job_id"]
    assert await heard_at(url, job_id, victim.person.headers) == ("connected", None)
    for headers in ({}, bearing("nonsense"), bearing("esc_" + "A" * 43), bearing(victim.person.refresh)):
        code, closed = await heard_at(url, job_id, headers)
        assert (code in ("unauthenticated", "bad_token"), closed) == (True, 4401)
    mallory = await person(client)
    assert await heard_at(url, job_id, mallory.headers) == await heard_at(url, str(uuid4()), mallory.headers)
    assert await heard_at(url, job_id, mallory.headers) == ("job_not_found", 4404)
    writer = await key_of(client, victim.person, WRITE)
    assert await heard_at(url, job_id, writer) == ("missing_scope", 4403)


async def test_a_websocket_ends_when_its_client_is_logged_out(
    url: str, client: httpx.AsyncClient, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorkeeper, "BELIEVED_SECONDS", 0.0)
    monkeypatch.setattr(doorkeeper, "LOOK_SECONDS", 0.05)
    ana = await person(client)
    job_id = await make_job(platform, owner=Caller(ana.owner))
    address = f"{url.replace('http', 'ws', 1)}/ws/transcription/{job_id}"
    async with connect(address, additional_headers=ana.headers, proxy=None) as socket:
        assert json.loads(await socket.recv())["type"] == "connected"
        await client.post("/auth/logout", headers=ana.headers)
        said = []
        with suppress(ConnectionClosed):
            async with asyncio.timeout(10):
                while True:
                    said.append(json.loads(await socket.recv()))
        assert said[-1]["data"]["code"] == "bad_token"
        assert socket.close_code == 4401
