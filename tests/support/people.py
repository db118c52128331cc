"""People with accounts, for tests of who may do what."""

from dataclasses import dataclass
from uuid import UUID, uuid4

import httpx

from services import administration
from services.platform import Platform

PASSWORD = "correct horse battery"  # of nobody


@dataclass(frozen=True, slots=True)
class Person:
    user_id: UUID
    email: str
    access: str
    refresh: str

    @property
    def owner(self) -> str:
        return str(self.user_id)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access}"}


async def registered(client: httpx.AsyncClient, *, invite: str | None = None, email: str | None = None) -> UUID:
    email = email or f"{uuid4().hex}@example.org"
    answer = await client.post("/users", json={"email": email, "password": PASSWORD, "invite": invite})
    assert answer.status_code == 201, answer.text
    return UUID(answer.json()["user_id"])


async def person(client: httpx.AsyncClient, *, invite: str | None = None, email: str | None = None) -> Person:
    """Somebody new, logged in."""
    email = email or f"{uuid4().hex}@example.org"
    user_id = await registered(client, invite=invite, email=email)
    return await logged_in(client, user_id, email)


async def logged_in(client: httpx.AsyncClient, user_id: UUID, email: str) -> Person:
    answer = await client.post("/auth/token", data={"username": email, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return Person(user_id, email, answer.json()["access_token"], answer.json()["refresh_token"])


async def administrator(platform: Platform, client: httpx.AsyncClient) -> Person:
    """Somebody new, made as whoever runs the machine makes them."""
    email = f"{uuid4().hex}@example.org"
    made = await administration.add_user(platform.sessions, email, PASSWORD, is_admin=True)
    return await logged_in(client, made.id, email)


async def key_of(client: httpx.AsyncClient, owner: Person, *scopes: str) -> dict[str, str]:
    """Headers of a machine that may do no more than that."""
    answer = await client.post("/users/me/keys", json={"name": "a key", "scopes": scopes}, headers=owner.headers)
    assert answer.status_code == 201, answer.text
    return {"Authorization": f"Bearer {answer.json()['key']}"}
