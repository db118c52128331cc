"""Accounts over HTTP: who may make one, and what is in it: keys for machines, profiles."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from config.load import load_settings
from services import doorkeeper
from services.platform import Platform
from tests.api.accounts.conftest import KEY, code, jobs_of
from tests.api.conftest import JOBS, serving
from tests.support.endpoints import run_sql
from tests.support.jobs import force
from tests.support.people import PASSWORD, Person, key_of


async def test_who_registers_has_a_profile_and_is_no_administrator(client: httpx.AsyncClient, ana: Person) -> None:
    found = (await client.get("/users/me", headers=ana.headers)).json()
    assert not found["is_admin"]
    assert [profile["name"] for profile in found["profiles"]] == ["default"]


async def test_an_address_has_one_account_however_it_is_written(client: httpx.AsyncClient, ana: Person) -> None:
    again = await client.post("/users", json={"email": f" {ana.email.upper()} ", "password": PASSWORD})
    assert code(again) == (409, "email_taken")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"email": "nobody", "password": PASSWORD}, "email"),
        ({"email": "a@b\x00.org", "password": PASSWORD}, "email"),
        ({"email": "a@example.org", "password": "short"}, "password"),
        ({"email": "a@example.org", "password": "x" * 257}, "password"),
        ({"email": "a@example.org", "password": PASSWORD, "is_admin": True}, "is_admin"),
    ],
)
async def test_what_does_not_fit_is_said(client: httpx.AsyncClient, body: dict[str, Any], field: str) -> None:
    answer = await client.post("/users", json=body)
    assert (*code(answer), answer.json()["error"]["field"]) == (422, "invalid_request", field)
    assert body["password"] not in answer.text


async def test_by_invitation_one_account_is_made_of_each(
    environ: dict[str, str], client: httpx.AsyncClient, admin: Person
) -> None:
    said = {"AUTH": "required", "JWT_SECRET_KEY": KEY, "REGISTRATION": "invite"}
    invite = (await client.post("/invites", json={"is_admin": True}, headers=admin.headers)).json()["invite"]
    async with serving(load_settings(environ | said)) as url, httpx.AsyncClient(base_url=url, timeout=30) as closed:
        body = {"email": f"{uuid4().hex}@example.org", "password": PASSWORD}
        assert code(await closed.post("/users", json=body)) == (403, "registration_closed")
        assert code(await closed.post("/users", json=body | {"invite": "wrong"})) == (403, "bad_invite")
        taken = body | {"email": admin.email, "invite": invite}
        assert code(await closed.post("/users", json=taken)) == (409, "email_taken"), "and the invitation stays good"
        answer = await closed.post("/users", json=body | {"invite": invite})
        assert (answer.status_code, answer.json()["is_admin"]) == (201, True)
        again = {"email": f"{uuid4().hex}@example.org", "password": PASSWORD, "invite": invite}
        assert code(await closed.post("/users", json=again)) == (403, "bad_invite")


async def test_a_closed_platform_makes_no_account(
    environ: dict[str, str], client: httpx.AsyncClient, admin: Person
) -> None:
    said = {"AUTH": "required", "JWT_SECRET_KEY": KEY, "REGISTRATION": "closed"}
    invite = (await client.post("/invites", json={}, headers=admin.headers)).json()["invite"]
    async with serving(load_settings(environ | said)) as url, httpx.AsyncClient(base_url=url, timeout=30) as closed:
        body = {"email": f"{uuid4().hex}@example.org", "password": PASSWORD, "invite": invite}
        assert code(await closed.post("/users", json=body)) == (403, "registration_closed")


async def test_the_last_administrator_stays(client: httpx.AsyncClient, platform: Platform, admin: Person) -> None:
    await force(platform, f"UPDATE users SET is_admin = false WHERE id <> '{admin.user_id}'")
    for body in ({"disabled": True}, {"is_admin": False}):
        answer = await client.patch(f"/users/{admin.user_id}", json=body, headers=admin.headers)
        assert code(answer) == (409, "last_admin")


@pytest.mark.parametrize(
    ("method", "path", "sent"),
    [
        ("POST", "/auth/token", {"data": {"username": "a\x00b", "password": "x"}}),
        ("POST", "/auth/token", {"data": {"username": "a", "password": "x", "profile": "\x00"}}),
        ("GET", "/users?after=%00", {}),
        ("PATCH", "/users/{me}", {"json": {"monthly_jobs": 3_000_000_000}}),
        ("PATCH", "/users/{me}", {"content": b'{"monthly_audio_hours": Infinity}'}),
    ],
)
async def test_nothing_that_is_said_makes_a_500(
    client: httpx.AsyncClient, admin: Person, method: str, path: str, sent: dict[str, Any]
) -> None:
    headers = admin.headers | ({"Content-Type": "application/json"} if "content" in sent else {})
    answer = await client.request(method, path.format(me=admin.user_id), headers=headers, **sent)
    assert code(answer) == (422, "invalid_request")


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_is_read_no_further_than_it_may_be_long(client: httpx.AsyncClient, declared: bool) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 100_000

    body: Any = b" " * 2_000_000 if declared else chunks()
    answer = await client.post("/auth/refresh", content=body, headers={"Content-Type": "application/json"})
    assert code(answer) == (413, "body_too_large")
    form = await client.post("/auth/token", data={"username": "a" * 2_000_000, "password": "x"})
    assert code(form) == (413, "body_too_large")


# Keys


async def test_a_key_does_what_its_scopes_say_and_no_more(client: httpx.AsyncClient, ana: Person) -> None:
    reader = await key_of(client, ana, "jobs:read")
    assert (await jobs_of(client, reader)).status_code == 200
    assert (await jobs_of(client, {"X-API-Key": reader["Authorization"].removeprefix("Bearer ")})).status_code == 200
    submitted = await client.post(f"{JOBS}/transcribe", files={"file": ("a.wav", b"RIFF")}, headers=reader)
    assert code(submitted) == (403, "missing_scope")
    assert code(await client.get("/users/me/keys", headers=reader)) == (403, "missing_scope")


async def test_a_key_may_do_no_more_than_who_made_it(client: httpx.AsyncClient, ana: Person) -> None:
    answer = await client.post("/users/me/keys", json={"name": "k", "scopes": ["admin"]}, headers=ana.headers)
    assert code(answer) == (403, "missing_scope")
    account = await client.post("/users/me/keys", json={"name": "k", "scopes": ["account"]}, headers=ana.headers)
    assert code(account) == (422, "invalid_request")


async def test_a_key_is_shown_once_and_kept_as_a_hash(
    client: httpx.AsyncClient, platform: Platform, ana: Person
) -> None:
    key = (await key_of(client, ana, "jobs:read"))["Authorization"].removeprefix("Bearer ")
    listed = await client.get("/users/me/keys", headers=ana.headers)
    assert key not in listed.text
    assert listed.json()["keys"][0]["hint"] == key[:10]
    rows = await run_sql(platform, "SELECT key_sha256, hint FROM api_keys")
    assert key not in str(rows)


async def test_a_revoked_key_and_one_that_has_expired_are_refused(
    client: httpx.AsyncClient, platform: Platform, ana: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorkeeper, "BELIEVED_SECONDS", 0.0)
    for _ in range(2):
        await key_of(client, ana, "jobs:read")
    reader, expired = await key_of(client, ana, "jobs:read"), await key_of(client, ana, "jobs:read")
    ids = [key["key_id"] for key in (await client.get("/users/me/keys", headers=ana.headers)).json()["keys"]]
    assert (await client.delete(f"/users/me/keys/{ids[2]}", headers=ana.headers)).status_code == 204
    await force(platform, f"UPDATE api_keys SET expires_at = now() - interval '1 s' WHERE id = '{ids[3]}'")
    assert code(await jobs_of(client, reader)) == (401, "bad_token")
    assert code(await jobs_of(client, expired)) == (401, "bad_token")
    assert code(await client.delete(f"/users/me/keys/{ids[2]}", headers=ana.headers)) == (404, "key_not_found")


async def test_of_many_keys_at_once_there_are_no_more_than_the_limit(client: httpx.AsyncClient, ana: Person) -> None:
    body = {"name": "k", "scopes": ["jobs:read"]}
    made = await asyncio.gather(*(client.post("/users/me/keys", json=body, headers=ana.headers) for _ in range(60)))
    assert [answer.status_code for answer in made].count(201) == 50
    assert "too_many_keys" in {answer.json()["error"]["code"] for answer in made if answer.status_code == 409}


# Profiles


async def test_profiles_are_made_named_once_and_deleted(client: httpx.AsyncClient, ana: Person) -> None:
    made = await client.post("/users/me/profiles", json={"name": "clinic"}, headers=ana.headers)
    assert made.status_code == 201
    again = await client.post("/users/me/profiles", json={"name": "clinic"}, headers=ana.headers)
    assert code(again) == (409, "profile_taken")
    profile = made.json()["profile_id"]
    data = {"username": ana.email, "password": PASSWORD, "profile": "clinic"}
    assert (await client.post("/auth/token", data=data)).status_code == 200
    assert (await client.delete(f"/users/me/profiles/{profile}", headers=ana.headers)).status_code == 204
    assert code(await client.post("/auth/token", data=data)) == (401, "bad_credentials")
