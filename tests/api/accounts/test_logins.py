"""Logging in over HTTP, by token or by cookie, and how often that may be tried."""

import asyncio
import hashlib
from datetime import timedelta
from uuid import UUID

import httpx
import pytest

from config.load import load_settings
from db import accounts
from domain.account_errors import BadCredentials
from services import doorkeeper
from services.platform import Platform
from tests.api.accounts.conftest import KEY, code, jobs_of
from tests.api.conftest import JOBS, serving
from tests.support.endpoints import run_sql
from tests.support.jobs import force
from tests.support.people import PASSWORD, Person, logged_in


@pytest.fixture(autouse=True)
def a_minute_is_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, tries that belong together fall into one."""
    monkeypatch.setattr(accounts, "TRIES_WINDOW", timedelta(hours=1))


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


# Trying often


async def test_eleven_tries_within_a_minute_are_one_too_many_even_with_the_right_password(
    client: httpx.AsyncClient, ana: Person
) -> None:
    wrong = {"username": ana.email, "password": "wrong horse"}
    answers = [await client.post("/auth/token", data=wrong) for _ in range(10)]
    assert {answer.status_code for answer in answers} == {401}
    late = await client.post("/auth/token", data={"username": ana.email, "password": PASSWORD})
    assert code(late) == (429, "too_many_tries")
    assert 1 <= int(late.headers["retry-after"]) <= 3600


async def test_after_the_minute_tries_are_counted_anew(
    client: httpx.AsyncClient, platform: Platform, ana: Person
) -> None:
    wrong = {"username": ana.email, "password": "wrong horse"}
    for _ in range(11):
        await client.post("/auth/token", data=wrong)
    await force(platform, "UPDATE login_tries SET since = since - interval '61 min'")
    await logged_in(client, ana.user_id, ana.email)


async def test_many_addresses_of_accounts_are_not_tried_from_one_machine(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(
        *(client.post("/auth/token", data={"username": f"{n}@example.org", "password": PASSWORD}) for n in range(70))
    )
    assert [answer.status_code for answer in answers].count(429) == 10


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


# Staying logged in


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


async def test_many_tabs_that_refresh_at_once_are_told_the_same_and_go_on(
    client: httpx.AsyncClient, ana: Person
) -> None:
    body = {"refresh_token": ana.refresh}
    answers = await asyncio.gather(*(client.post("/auth/refresh", json=body) for _ in range(5)))
    (successor,) = {answer.json()["refresh_token"] for answer in answers}
    assert (await client.post("/auth/refresh", json={"refresh_token": successor})).status_code == 200


@pytest.mark.parametrize("token", ["", "x", "x.y", f"{UUID(int=7)}.secret", "\x00.\x00"])
async def test_a_made_up_refresh_token_is_refused(client: httpx.AsyncClient, token: str) -> None:
    assert code(await client.post("/auth/refresh", json={"refresh_token": token})) == (401, "bad_token")


async def test_logging_out_ends_both_tokens(client: httpx.AsyncClient, ana: Person) -> None:
    assert (await client.post("/auth/logout", headers=ana.headers)).status_code == 204
    assert code(await jobs_of(client, ana.headers)) == (401, "bad_token")
    assert code(await client.post("/auth/refresh", json={"refresh_token": ana.refresh})) == (401, "bad_token")


async def test_somebody_who_is_disabled_gets_no_new_token(
    client: httpx.AsyncClient, admin: Person, ana: Person
) -> None:
    await client.patch(f"/users/{ana.user_id}", json={"disabled": True}, headers=admin.headers)
    body = {"refresh_token": ana.refresh}
    assert code(await client.post("/auth/refresh", json=body)) == (401, "bad_token")
    await client.patch(f"/users/{ana.user_id}", json={"disabled": False}, headers=admin.headers)
    assert code(await client.post("/auth/refresh", json=body)) == (401, "bad_token"), "their log-ins have ended"


# Web pages


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


async def test_a_page_whose_access_cookie_has_expired_can_log_out(url: str, ana: Person) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=30) as browser:
        await browser.post("/auth/login", json={"email": ana.email, "password": PASSWORD})
        kept = browser.cookies["escriba_refresh"]
        browser.cookies.delete("escriba_access")
        assert (await browser.post("/auth/logout")).status_code == 204
        assert "escriba_refresh" not in browser.cookies
        assert code(await browser.post("/auth/refresh", json={"refresh_token": kept})) == (401, "bad_token")


async def test_pages_of_an_allowed_origin_and_no_others_may_read(environ: dict[str, str]) -> None:
    said = {"AUTH": "required", "JWT_SECRET_KEY": KEY, "ALLOWED_ORIGINS": "https://app.example"}
    async with serving(load_settings(environ | said)) as url, httpx.AsyncClient(base_url=url, timeout=30) as page:
        asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        ours = await page.options(f"{JOBS}/transcribe", headers={"Origin": "https://app.example", **asks})
        assert ours.headers["access-control-allow-origin"] == "https://app.example"
        other = await page.options(f"{JOBS}/transcribe", headers={"Origin": "https://evil.example", **asks})
        assert (other.status_code, "access-control-allow-origin" in other.headers) == (403, False)
