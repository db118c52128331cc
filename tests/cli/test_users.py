"""`escriba users`, as whoever runs the machine types it."""

import asyncio
import fcntl
import os
import pty
import subprocess
import termios
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any
from uuid import uuid4

import httpx
import pytest

from config.load import load_settings
from config.settings import Settings
from services import doorkeeper
from services.platform import Platform
from tests.api.conftest import JOBS, serving
from tests.support.endpoints import run_sql
from tests.support.people import PASSWORD, logged_in, registered
from tests.support.whole import ESCRIBA

KEY = "a signing key for tests of 32 bytes"
ANOTHER = "another horse altogether"

Escriba = Callable[..., Awaitable[subprocess.CompletedProcess[str]]]


@pytest.fixture(scope="module")
def settings(environ: dict[str, str]) -> Settings:
    return load_settings(environ | {"AUTH": "required", "JWT_SECRET_KEY": KEY})


@pytest.fixture(scope="module")
async def client(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(settings) as url, httpx.AsyncClient(base_url=url, timeout=30) as client:
        yield client


@pytest.fixture(autouse=True)
async def nobody_has_tried(platform: Platform) -> None:
    await run_sql(platform, "DELETE FROM login_tries")


@pytest.fixture
def escriba(environ: dict[str, str]) -> Escriba:
    async def run(*arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
        environment = environ | {"PATH": os.environ["PATH"], "COLUMNS": "200"}
        return await asyncio.to_thread(
            lambda: subprocess.run(
                [ESCRIBA, "users", *arguments], env=environment, input=said, capture_output=True, text=True, timeout=120
            )
        )

    return run


@pytest.fixture
def email() -> str:
    return f"{uuid4().hex}@example.org"


async def me(client: httpx.AsyncClient, email: str, password: str = PASSWORD) -> dict[str, Any]:
    answer = await client.post("/auth/token", data={"username": email, "password": password})
    assert answer.status_code == 200, answer.text
    token = answer.json()["access_token"]
    found: dict[str, Any] = (await client.get("/users/me", headers={"Authorization": f"Bearer {token}"})).json()
    return found


@pytest.mark.parametrize(("registration", "status"), [("invite", 403), ("closed", 403), ("open", 201)])
async def test_nobody_is_an_administrator_for_having_come_first(
    environ: dict[str, str], platform: Platform, email: str, registration: str, status: int
) -> None:
    """Or a stranger would be, who finds a platform before its operator has made an account."""
    await run_sql(platform, "DELETE FROM users")
    settings = load_settings(environ | {"AUTH": "required", "JWT_SECRET_KEY": KEY, "REGISTRATION": registration})
    async with serving(settings) as url, httpx.AsyncClient(base_url=url, timeout=30) as client:
        answer = await client.post("/users", json={"email": email, "password": PASSWORD})
    assert answer.status_code == status
    assert not answer.json().get("is_admin")


async def test_the_first_administrator_is_made_on_the_machine(
    client: httpx.AsyncClient, escriba: Escriba, email: str
) -> None:
    made = await escriba("add", "--admin", email.upper(), said=f"{PASSWORD}\n")
    assert made.returncode == 0, made.stderr
    assert PASSWORD not in made.stdout + made.stderr
    found = await me(client, email)
    assert found["is_admin"]
    assert [profile["name"] for profile in found["profiles"]] == ["default"]


async def test_at_a_terminal_the_password_is_asked_for_twice_and_not_shown(
    client: httpx.AsyncClient, environ: dict[str, str], email: str
) -> None:
    shown = await asyncio.to_thread(typed, environ | {"PATH": os.environ["PATH"]}, ["add", email])
    assert PASSWORD not in shown
    assert "can log in" in shown
    await me(client, email)


def typed(environment: dict[str, str], arguments: list[str]) -> str:
    """What a terminal shows of somebody who types the password wherever they are asked for something."""
    ours, theirs = pty.openpty()

    def take_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [ESCRIBA, "users", *arguments],
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=take_terminal,
    )
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # EIO: everybody there has closed it
        while piece := os.read(ours, 1024):
            shown += piece
            if shown.endswith(b": "):
                os.write(ours, f"{PASSWORD}\n".encode())
    os.close(ours)
    assert process.wait(60) == 0, shown
    return shown.decode()


async def test_an_invitation_is_good_for_an_account_of_somebodys_own(
    client: httpx.AsyncClient, escriba: Escriba, email: str
) -> None:
    token = (await escriba("invite", "--admin")).stdout.strip()
    await registered(client, invite=token, email=email)
    assert (await me(client, email))["is_admin"]
    again = await client.post("/users", json={"email": f"x{email}", "password": PASSWORD, "invite": token})
    assert again.json()["error"]["code"] == "bad_invite"


@pytest.mark.parametrize(
    ("said", "why"),
    [("short\n", "at least 10"), ("", "at least 10"), (f"{'x' * 257}\n", "at most 256")],
)
async def test_a_password_that_would_not_be_taken_over_http_is_not_taken_here(
    escriba: Escriba, email: str, said: str, why: str
) -> None:
    found = await escriba("add", email, said=said)
    assert (found.returncode, why in found.stderr) == (2, True)
    assert not said.strip() or said.strip() not in found.stderr


async def test_what_is_no_address_or_is_taken_is_said(escriba: Escriba, email: str) -> None:
    odd = await escriba("add", "ana", said=f"{PASSWORD}\n")
    assert (odd.returncode, "email address" in odd.stderr) == (2, True)
    await escriba("add", email, said=f"{PASSWORD}\n")
    again = await escriba("add", email, said=f"{PASSWORD}\n")
    assert (again.returncode, "email_taken" in again.stderr) == (1, True)


async def test_everybody_is_listed_with_role_and_quotas(escriba: Escriba, email: str) -> None:
    await escriba("add", email, said=f"{PASSWORD}\n")
    await escriba("set", email, "--admin", "--jobs", "7", "--audio-hours", "2.5")
    (line,) = [line for line in (await escriba("list")).stdout.splitlines() if email in line]
    assert [cell.strip() for cell in line.split("│")[2:5]] == ["administrator", "7", "2.5"]
    await escriba("set", email, "--no-admin", "--default-quotas")
    (line,) = [line for line in (await escriba("list")).stdout.splitlines() if email in line]
    assert [cell.strip() for cell in line.split("│")[2:5]] == ["user", "-", "-"]


async def test_more_users_than_a_page_has_are_all_listed(platform: Platform, escriba: Escriba) -> None:
    many = "SELECT gen_random_uuid(), 'n' || n || '@many.example', '' FROM generate_series(1, 450) n"
    await run_sql(platform, f"INSERT INTO users (id, email, password_hash) {many}")
    assert (await escriba("list")).stdout.count("@many.example") == 450


async def test_a_change_of_nothing_says_what_can_be_changed(escriba: Escriba, email: str) -> None:
    found = await escriba("set", email)
    assert (found.returncode, "--audio-hours" in found.stderr) == (2, True)


async def test_who_is_disabled_is_out_until_they_are_enabled(
    client: httpx.AsyncClient, escriba: Escriba, email: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorkeeper, "BELIEVED_SECONDS", 0.0)
    await escriba("add", email, said=f"{PASSWORD}\n")
    user_id = (await me(client, email))["user_id"]
    somebody = await logged_in(client, user_id, email)
    assert (await escriba("disable", email)).returncode == 0
    assert (await client.get(JOBS, headers=somebody.headers)).status_code == 401
    refused = await client.post("/auth/token", data={"username": email, "password": PASSWORD})
    assert refused.status_code == 401
    assert (await escriba("enable", email)).returncode == 0
    await me(client, email)


async def test_a_new_password_ends_every_log_in(
    client: httpx.AsyncClient, escriba: Escriba, email: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorkeeper, "BELIEVED_SECONDS", 0.0)
    await escriba("add", email, said=f"{PASSWORD}\n")
    somebody = await logged_in(client, (await me(client, email))["user_id"], email)
    assert (await escriba("password", email, said=f"{ANOTHER}\n")).returncode == 0
    assert (await client.get(JOBS, headers=somebody.headers)).status_code == 401
    await me(client, email, ANOTHER)


async def test_the_last_administrator_stays(platform: Platform, escriba: Escriba, email: str) -> None:
    await run_sql(platform, "UPDATE users SET is_admin = false")
    await escriba("add", "--admin", email, said=f"{PASSWORD}\n")
    for change in (("disable", email), ("set", email, "--no-admin")):
        found = await escriba(*change)
        assert (found.returncode, "last_admin" in found.stderr) == (1, True)


def test_without_a_platform_it_is_said_how_to_get_one(tmp_path: Any) -> None:
    environment = {"PATH": os.environ["PATH"], "ESCRIBA_HOME": str(tmp_path / "nowhere")}
    found = subprocess.run(
        [ESCRIBA, "users", "list"], env=environment, capture_output=True, text=True, timeout=120, cwd=tmp_path
    )
    assert (found.returncode, "escriba up" in found.stderr) == (2, True)
    assert not (tmp_path / "nowhere").exists()
