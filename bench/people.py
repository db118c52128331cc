"""People with accounts on a platform that is measured."""

from uuid import uuid4

import httpx

from bench.running import Running
from db.session import NOBODY, Sessions
from services import administration

PASSWORD = "correct horse battery"  # of nobody


async def make_people(platform: Running, count: int) -> list[str]:
    """Their email addresses; all have the same password."""
    emails = [f"{uuid4().hex}@example.org" for _ in range(count)]
    sessions = Sessions.connect(platform.embedded.settings.database, application="bench", sees=NOBODY)
    for email in emails:
        await administration.add_user(sessions, email, PASSWORD, is_admin=False)
    await sessions.close()
    return emails


async def log_in(client: httpx.AsyncClient, email: str, password: str = PASSWORD) -> httpx.Response:
    return await client.post("/auth/token", data={"username": email, "password": password})


async def headers_of(client: httpx.AsyncClient, email: str) -> dict[str, str]:
    answer = (await log_in(client, email)).raise_for_status()
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}
