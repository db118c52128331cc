"""What a token is, that nobody can forge one, and for how long it holds."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest

from config.settings import Settings
from domain.access import Caller, Proof
from services import doorkeeper
from services.platform import Platform
from services.tokens import Tokens
from tests.api.accounts.conftest import KEY, code, jobs_of
from tests.api.conftest import JOBS
from tests.support.jobs import make_job
from tests.support.people import PASSWORD, Person, key_of


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


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")  # where a longer hash is let through
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
