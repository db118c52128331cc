"""Accounts over HTTP: who may make one, how they log in, what a token and a key are good for, and for how long."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest

from config.load import load_settings
from config.settings import Settings
from domain.access import Caller, Proof
from domain.account_errors import BadCredentials
from services import doorkeeper
from services.platform import Platform
from services.tokens import Tokens
from tests.api.conftest import JOBS, serving
from tests.support.endpoints import run_sql
from tests.support.jobs import force, make_job
from tests.support.people import PASSWORD, Person, key_of, logged_in, person, registered

KEY, EARLIER_KEY = "a signing key for tests of 32 bytes", "an earlier key which is still good"


@pytest.fixture(scope="module")
def settings(environ: dict[str, str]) -> Settings:
    said = {"AUTH": "required", "JWT_SECRET_KEY": KEY, "JWT_PREVIOUS_SECRET_KEYS": EARLIER_KEY, "REGISTRATION": "open"}
    return load_settings(environ | said)


@pytest.fixture(scope="module")
async def url(settings: Settings, platform: Platform) -> AsyncIterator[str]:
    async with serving(settings) as url:
        yield url


@pytest.fixture(scope="module")
async def admin(client: httpx.AsyncClient) -> Person:
    """The first user there is."""
    return await person(client, email="admin@example.org")


@pytest.fixture(autouse=True)
async def nobody_has_tried(platform: Platform, admin: Person) -> None:
    await run_sql(platform, "DELETE FROM login_tries")


@pytest.fixture
async def ana(client: httpx.AsyncClient, platform: Platform) -> Person:
    found = await person(client)
    await run_sql(platform, "DELETE FROM login_tries")  # hers among them
    return found


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def jobs_of(client: httpx.AsyncClient, headers: dict[str, str]) -> httpx.Response:
    return await client.get(JOBS, headers=headers)


# Making one


async def test_the_first_user_is_the_administrator_and_no_other(client: httpx.AsyncClient, admin: Person) -> None:
    assert (await client.get("/users/me", headers=admin.headers)).json()["is_admin"]
    someone = await person(client)
    found = (await client.get("/users/me", headers=someone.headers)).json()
    assert not found["is_admin"]
    assert [profile["name"] for profile in found["profiles"]] == ["default"]


async def test_of_many_who_register_first_one_is_the_administrator(settings: Settings, platform: Platform) -> None:
    async with serving(settings) as url, httpx.AsyncClient(base_url=url, timeout=30) as client:
        made = await asyncio.gather(*(registered(client) for _ in range(6)))
    assert len(set(made)) == 6


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


# Logging in


async def test_a_token_is_given_to_the_documented_form(client: httpx.AsyncClient, ana: Person) -> None:
    answer = await client.post("/auth/token", data={"username": ana.email.title(), "password": PASSWORD})
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["token_type"] == "bearer"
    assert answer.json()["expires_in"] == 900
    as_multipart = await client.post("/auth/token", files={"username": (None, ana.email), "password": (None, PASSWORD)})
    assert as_multipart.status_code == 200


async def test_a_wrong_password_and_an_unknown_address_are_told_alike(client: httpx.AsyncClient, ana: Person) -> None:
    wrong = await client.post("/auth/token", data={"username": ana.email, "password": "wrong horse"})
    unknown = await client.post("/auth/token", data={"username": "nobody@example.org", "password": PASSWORD})
    assert code(wrong) == (401, "bad_credentials")
    assert wrong.content == unknown.content
    assert wrong.headers["www-authenticate"] == "Bearer"


async def test_eleven_tries_within_a_minute_are_one_too_many_even_with_the_right_password(
    client: httpx.AsyncClient, ana: Person
) -> None:
    wrong = {"username": ana.email, "password": "wrong horse"}
    answers = [await client.post("/auth/token", data=wrong) for _ in range(10)]
    assert {answer.status_code for answer in answers} == {401}
    late = await client.post("/auth/token", data={"username": ana.email, "password": PASSWORD})
    assert code(late) == (429, "too_many_tries")
    assert 1 <= int(late.headers["retry-after"]) <= 60


async def test_after_the_minute_tries_are_counted_anew(
    client: httpx.AsyncClient, platform: Platform, ana: Person
) -> None:
    wrong = {"username": ana.email, "password": "wrong horse"}
    for _ in range(11):
        await client.post("/auth/token", data=wrong)
    await force(platform, "UPDATE login_tries SET since = since - interval '61 s'")
    await logged_in(client, ana.user_id, ana.email)


async def test_many_addresses_of_accounts_are_not_tried_from_one_machine(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(
        *(client.post("/auth/token", data={"username": f"{n}@example.org", "password": PASSWORD}) for n in range(70))
    )
    assert [answer.status_code for answer in answers].count(429) == 10


async def test_a_refresh_token_gets_the_next_pair_and_is_good_once(
    client: httpx.AsyncClient, platform: Platform, ana: Person
) -> None:
    first = await client.post("/auth/refresh", json={"refresh_token": ana.refresh})
    fresh = first.json()
    assert (await jobs_of(client, {"Authorization": f"Bearer {fresh['access_token']}"})).status_code == 200
    await force(platform, "UPDATE login_sessions SET refreshed_at = refreshed_at - interval '11 s'")
    stolen = await client.post("/auth/refresh", json={"refresh_token": ana.refresh})
    assert code(stolen) == (401, "bad_token")
    honest = await client.post("/auth/refresh", json={"refresh_token": fresh["refresh_token"]})
    assert code(honest) == (401, "bad_token"), "the log-in has ended for both"


async def test_two_tabs_that_refresh_at_once_both_stay_logged_in(client: httpx.AsyncClient, ana: Person) -> None:
    answers = await asyncio.gather(
        *(client.post("/auth/refresh", json={"refresh_token": ana.refresh}) for _ in range(2))
    )
    assert [answer.status_code for answer in answers] == [200, 200]


@pytest.mark.parametrize("token", ["", "x", "x.y", f"{uuid4()}.secret", "\x00.\x00"])
async def test_a_made_up_refresh_token_is_refused(client: httpx.AsyncClient, token: str) -> None:
    assert code(await client.post("/auth/refresh", json={"refresh_token": token})) == (401, "bad_token")


async def test_logging_out_ends_both_tokens(client: httpx.AsyncClient, ana: Person) -> None:
    assert (await client.post("/auth/logout", headers=ana.headers)).status_code == 204
    assert code(await jobs_of(client, ana.headers)) == (401, "bad_token")
    assert code(await client.post("/auth/refresh", json={"refresh_token": ana.refresh})) == (401, "bad_token")


async def test_a_new_password_ends_every_log_in(client: httpx.AsyncClient, ana: Person) -> None:
    elsewhere = await logged_in(client, ana.user_id, ana.email)
    body = {"old_password": PASSWORD, "new_password": "another horse altogether"}
    wrong = body | {"old_password": "wrong horse"}
    assert code(await client.post("/users/me/password", json=wrong, headers=ana.headers)) == (401, "bad_credentials")
    assert (await client.post("/users/me/password", json=body, headers=ana.headers)).status_code == 204
    assert code(await jobs_of(client, elsewhere.headers)) == (401, "bad_token")
    old = await client.post("/auth/token", data={"username": ana.email, "password": PASSWORD})
    assert code(old) == (401, "bad_credentials")
    new = await client.post("/auth/token", data={"username": ana.email, "password": body["new_password"]})
    assert new.status_code == 200


async def test_a_web_page_logs_in_by_cookies_that_no_script_reads(url: str, ana: Person) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=30) as browser:
        answer = await browser.post("/auth/login", json={"email": ana.email, "password": PASSWORD})
        cookies = answer.headers.get_list("set-cookie")
        assert len(cookies) == 2
        assert all("HttpOnly" in cookie and "SameSite=strict" in cookie for cookie in cookies)
        assert (await browser.get(JOBS)).status_code == 200
        assert (await browser.post("/auth/login/refresh")).status_code == 204
        assert (await browser.get(JOBS)).status_code == 200
        from_elsewhere = await browser.get(JOBS, headers={"Origin": "https://evil.example"})
        assert code(from_elsewhere) == (403, "origin_not_allowed")
        assert (await browser.post("/auth/logout")).status_code == 204
        assert (await browser.get(JOBS)).status_code == 401


# What a token is


def signed(claims: dict[str, Any], *, key: str = KEY, algorithm: str = "HS256", **header: Any) -> str:
    return jwt.encode(claims, key, algorithm, headers=header)


def by_hand(
    header: dict[str, Any], claims: dict[str, Any], *, key: bytes = KEY.encode(), digest: str = "sha256"
) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part, default=int).encode()).rstrip(b"=") for part in (header, claims)]
    mac = hmac.new(key, b".".join(parts), digest).digest()
    return b".".join([*parts, base64.urlsafe_b64encode(mac).rstrip(b"=")]).decode()


def forged(good: str, other: Person) -> Iterator[tuple[str, str]]:
    """What somebody might try who has a good token and knows how ours are made."""
    header, claims = jwt.get_unverified_header(good), jwt.decode(good, options={"verify_signature": False})
    head, body, mac = good.split(".")
    past = int((datetime.now(UTC) - timedelta(hours=1)).timestamp())
    yield "unsigned", by_hand(header | {"alg": "none"}, claims).rsplit(".", 1)[0] + "."
    yield "None", by_hand(header | {"alg": "None"}, claims, key=b"")
    yield "no signature", f"{head}.{body}."
    yield "another algorithm", by_hand(header | {"alg": "HS384"}, claims, digest="sha384")
    yield "another, of the same size", by_hand(header | {"alg": "HS512"}, claims, digest="sha512")
    yield "RS256 by our key", by_hand(header | {"alg": "RS256"}, claims)
    yield "no algorithm", by_hand({name: header[name] for name in ("kid", "typ")}, claims)
    yield "an empty key", by_hand(header, claims, key=b"")
    yield "the kid as key", by_hand(header, claims, key=header["kid"].encode())
    yield "another key", by_hand(header, claims, key=b"x" * 32)
    yield "no kid", by_hand({name: header[name] for name in ("alg", "typ")}, claims)
    yield "an unknown kid", by_hand(header | {"kid": "00000000"}, claims)
    yield "a kid that is a path", by_hand(header | {"kid": "../../dev/null"}, claims, key=b"")
    yield "a kid that is SQL", by_hand(header | {"kid": "' OR 1=1 --"}, claims)
    yield "a kid that is a list", by_hand(header | {"kid": [header["kid"]]}, claims)
    yield "a jku", by_hand(header | {"jku": "https://evil.example/keys"}, claims)
    yield "a jwk", by_hand(header | {"jwk": {"kty": "oct", "k": "eHh4"}}, claims, key=b"xxx")
    yield "an x5u", by_hand(header | {"x5u": "https://evil.example/c.pem"}, claims)
    yield "crit", by_hand(header | {"crit": ["exp"]}, claims)
    elsewhere = by_hand(header, claims | {"sub": other.owner}).split(".")[1]
    yield "another subject", f"{head}.{elsewhere}.{mac}"
    yield "expired", by_hand(header, claims | {"exp": past})
    yield "not yet", by_hand(header, claims | {"nbf": claims["exp"]})
    yield "for another audience", by_hand(header, claims | {"aud": "another"})
    yield "by another issuer", by_hand(header, claims | {"iss": "another"})
    yield "a refresh token's type", by_hand(header, claims | {"typ": "refresh"})
    for name in ("exp", "aud", "iss", "sub", "sid", "typ", "nbf", "jti"):
        yield f"without {name}", by_hand(header, {key: value for key, value in claims.items() if key != name})
    yield "of no log-in", by_hand(header, claims | {"sid": str(uuid4())})
    yield "a log-in that is no UUID", by_hand(header, claims | {"sid": "1 OR 1=1"})
    yield "a log-in that is a number", by_hand(header, claims | {"sid": 1})
    yield "an end that is text", by_hand(header, claims | {"exp": "tomorrow"})
    yield "two parts", f"{head}.{body}"
    yield "not base64", "%.%.%"
    yield "very long", good + "A" * 100_000
    yield "a refresh token", other.refresh


async def test_no_forged_token_is_taken(client: httpx.AsyncClient, ana: Person, admin: Person) -> None:
    taken = []
    tried = list(forged(ana.access, admin))
    for name, token in tried:
        answer = await jobs_of(client, {"Authorization": f"Bearer {token}"})
        if code(answer) != (401, "bad_token") if answer.status_code == 401 else answer.status_code != 431:
            taken.append((name, answer.status_code))
    assert not taken
    assert len(tried) >= 30


async def test_the_forgers_way_of_making_tokens_makes_good_ones_too(client: httpx.AsyncClient, ana: Person) -> None:
    header = jwt.get_unverified_header(ana.access)
    claims = jwt.decode(ana.access, options={"verify_signature": False})
    answer = await jobs_of(client, {"Authorization": f"Bearer {by_hand(header, claims)}"})
    assert answer.status_code == 200, "else the test above shows nothing"


async def test_what_the_key_before_has_signed_is_good_until_it_expires(
    client: httpx.AsyncClient, settings: Settings, ana: Person
) -> None:
    before = settings.accounts.model_copy(update={"jwt_key": settings.accounts.jwt_previous_keys[0]})
    login = jwt.decode(ana.access, options={"verify_signature": False})["sid"]
    token = Tokens(before).issue(ana.user_id, login)
    assert (await jobs_of(client, {"Authorization": f"Bearer {token}"})).status_code == 200
    kids = {jwt.get_unverified_header(each)["kid"] for each in (token, ana.access)}
    assert len(kids) == 2
    assert hashlib.sha256(KEY.encode()).hexdigest()[:8] not in kids, (
        "a plain hash of the key would be a way to test guesses"
    )


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


# For how long it holds


async def test_somebody_who_is_disabled_is_out_within_seconds(
    client: httpx.AsyncClient, admin: Person, ana: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorkeeper, "BELIEVED_SECONDS", 0.0)
    reader = await key_of(client, ana, "jobs:read")
    out = await client.patch(f"/users/{ana.user_id}", json={"disabled": True}, headers=admin.headers)
    assert out.json()["disabled"]
    for headers in (ana.headers, reader):
        assert code(await jobs_of(client, headers)) == (401, "bad_token")
    again = await client.post("/auth/token", data={"username": ana.email, "password": PASSWORD})
    assert code(again) == (401, "bad_credentials")
    await client.patch(f"/users/{ana.user_id}", json={"disabled": False}, headers=admin.headers)
    assert (await jobs_of(client, reader)).status_code == 200


async def test_nobody_is_believed_for_longer_than_a_minute() -> None:
    assert doorkeeper.BELIEVED_SECONDS + doorkeeper.LOOK_SECONDS < 60


async def test_an_open_stream_ends_when_its_reader_is_refused(
    client: httpx.AsyncClient, platform: Platform, ana: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorkeeper, "BELIEVED_SECONDS", 0.0)
    monkeypatch.setattr(doorkeeper, "LOOK_SECONDS", 0.05)
    job_id = await make_job(platform, owner=Caller(ana.owner))
    ticket = (await client.post(f"{JOBS}/stream/{job_id}/ticket", headers=ana.headers)).json()["path"]
    for path, headers in ((f"{JOBS}/stream/{job_id}", ana.headers), (ticket, {})):
        async with client.stream("GET", path, headers=headers) as answer:
            lines = answer.aiter_lines()
            assert "snapshot" in await anext(lines) or "data" in await anext(lines)
            if headers:
                continue
            await client.post("/auth/logout", headers=ana.headers)
            async with asyncio.timeout(10):
                async for _ in lines:
                    pass
    assert (await client.get(f"{JOBS}/stream/{job_id}", headers=ana.headers)).status_code == 401


async def test_the_last_administrator_stays(client: httpx.AsyncClient, platform: Platform, admin: Person) -> None:
    await force(platform, f"UPDATE users SET is_admin = false WHERE id <> '{admin.user_id}'")
    for body in ({"disabled": True}, {"is_admin": False}):
        answer = await client.patch(f"/users/{admin.user_id}", json=body, headers=admin.headers)
        assert code(answer) == (409, "last_admin")


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


# What people tried who wished us ill


async def test_one_address_that_guesses_locks_nobody_out(
    client: httpx.AsyncClient, platform: Platform, ana: Person
) -> None:
    for _ in range(80):
        await client.post("/auth/token", data={"username": ana.email, "password": "wrong horse"})
    account = hashlib.sha256(f"account {ana.email}".encode()).hexdigest()
    rows = await run_sql(platform, f"SELECT tries FROM login_tries WHERE bucket_sha256 = '{account}'")
    assert [row[0] for row in rows] == [10], "what was over its own limit is no try at the account"


async def test_a_name_that_looks_like_a_bucket_fills_no_other(client: httpx.AsyncClient, ana: Person) -> None:
    for name in (f"{ana.email} 127.0.0.1", f"127.0.0.1 {ana.email}", "127.0.0.1"):
        for _ in range(11):
            await client.post("/auth/token", data={"username": name, "password": "wrong horse"})
    await logged_in(client, ana.user_id, ana.email)


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


async def test_whoever_logs_in_while_the_password_is_changed_is_not_let_in(
    platform: Platform, client: httpx.AsyncClient, ana: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = doorkeeper.Doorkeeper(platform)
    caller = await keeper.admit(ana.access)
    fits = keeper._passwords.fits

    async def slowly(password: str, password_hash: str | None) -> bool:
        found = await fits(password, password_hash)
        monkeypatch.setattr(keeper._passwords, "fits", fits)
        await keeper.change_password(caller, PASSWORD, "another horse altogether", address="x")
        return found

    monkeypatch.setattr(keeper._passwords, "fits", slowly)
    with pytest.raises(BadCredentials):
        await keeper.log_in(ana.email, PASSWORD, address="x")
    keeper.close()


async def test_many_tabs_that_refresh_at_once_are_told_the_same_and_go_on(
    client: httpx.AsyncClient, ana: Person
) -> None:
    body = {"refresh_token": ana.refresh}
    answers = await asyncio.gather(*(client.post("/auth/refresh", json=body) for _ in range(5)))
    (successor,) = {answer.json()["refresh_token"] for answer in answers}
    assert (await client.post("/auth/refresh", json={"refresh_token": successor})).status_code == 200


async def test_somebody_who_is_disabled_gets_no_new_token(
    client: httpx.AsyncClient, admin: Person, ana: Person
) -> None:
    await client.patch(f"/users/{ana.user_id}", json={"disabled": True}, headers=admin.headers)
    body = {"refresh_token": ana.refresh}
    assert code(await client.post("/auth/refresh", json=body)) == (401, "bad_token")
    await client.patch(f"/users/{ana.user_id}", json={"disabled": False}, headers=admin.headers)
    assert code(await client.post("/auth/refresh", json=body)) == (401, "bad_token"), "their log-ins have ended"


async def test_a_page_whose_access_cookie_has_expired_can_log_out(url: str, ana: Person) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=30) as browser:
        await browser.post("/auth/login", json={"email": ana.email, "password": PASSWORD})
        kept = browser.cookies["escriba_refresh"]
        browser.cookies.delete("escriba_access")
        assert (await browser.post("/auth/logout")).status_code == 204
        assert "escriba_refresh" not in browser.cookies
        assert code(await browser.post("/auth/refresh", json={"refresh_token": kept})) == (401, "bad_token")


async def test_of_many_keys_at_once_there_are_no_more_than_the_limit(client: httpx.AsyncClient, ana: Person) -> None:
    body = {"name": "k", "scopes": ["jobs:read"]}
    made = await asyncio.gather(*(client.post("/users/me/keys", json=body, headers=ana.headers) for _ in range(60)))
    assert [answer.status_code for answer in made].count(201) == 50
    assert "too_many_keys" in {answer.json()["error"]["code"] for answer in made if answer.status_code == 409}


async def test_pages_of_an_allowed_origin_and_no_others_may_read(environ: dict[str, str]) -> None:
    said = {"AUTH": "required", "JWT_SECRET_KEY": KEY, "ALLOWED_ORIGINS": "https://app.example"}
    async with serving(load_settings(environ | said)) as url, httpx.AsyncClient(base_url=url, timeout=30) as page:
        asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        ours = await page.options(f"{JOBS}/transcribe", headers={"Origin": "https://app.example", **asks})
        assert ours.headers["access-control-allow-origin"] == "https://app.example"
        other = await page.options(f"{JOBS}/transcribe", headers={"Origin": "https://evil.example", **asks})
        assert (other.status_code, "access-control-allow-origin" in other.headers) == (403, False)


# Streams of those who leave, or have to


async def endless(closed: asyncio.Event, *, ready: bool) -> AsyncGenerator[int]:
    try:
        while True:
            if not ready:
                await asyncio.Event().wait()
            yield 1
    finally:
        closed.set()


async def test_a_reader_who_leaves_leaves_nothing_behind(platform: Platform, ana: Person) -> None:
    keeper, closed = doorkeeper.Doorkeeper(platform), asyncio.Event()
    items = keeper.while_good(Proof("login", str(uuid4())), endless(closed, ready=False))

    async def read() -> None:
        async with aclosing(items):
            async for _ in items:
                pass

    reading = asyncio.create_task(read())
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # it waits for the first item
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert closed.is_set()
    keeper.close()


async def test_a_reader_who_is_refused_reads_no_further_though_there_is_more(
    platform: Platform, ana: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorkeeper, "LOOK_SECONDS", 0.0)
    keeper, closed = doorkeeper.Doorkeeper(platform), asyncio.Event()
    async with asyncio.timeout(10):
        async for _ in keeper.while_good(Proof("login", str(uuid4())), endless(closed, ready=True)):
            await asyncio.sleep(0)
    assert closed.is_set()
    keeper.close()
