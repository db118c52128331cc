"""Who asks, and what they may. Every query on user data takes the `owner` of a Caller."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Self
from uuid import UUID

LOCAL_OWNER = "local"
"""The owner when the platform serves the machine that it runs on."""

PUBLIC_OWNER = "public"
"""The owner when the operator serves a network without asking who calls (INSECURE_NO_AUTH)."""


class Scope(StrEnum):
    """What a caller may do with what is theirs; `admin` is about the platform as a whole."""

    READ = "jobs:read"
    WRITE = "jobs:write"
    INTERACTIVE = "jobs:interactive"
    """Jobs that go before everybody's others (`domain.lanes`). People have it; a key has it where it was given."""
    SETTINGS = "settings"
    """Contexts and webhooks."""
    ACCOUNT = "account"
    """Profiles, keys and the password: for people, so no key has it."""
    ADMIN = "admin"


PERSONAL = frozenset(Scope) - {Scope.ADMIN}


FOR_KEYS = PERSONAL - {Scope.ACCOUNT}
"""What a machine may be given."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What somebody has shown: a log-in, by its id, or an API key, by its hash."""

    kind: Literal["login", "key"]
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"

    @classmethod
    def parse(cls, text: str) -> Self:
        kind, _, name = text.partition(":")
        return cls("key" if kind == "key" else "login", name)


@dataclass(frozen=True, slots=True)
class Caller:
    owner: str
    scopes: frozenset[Scope] = PERSONAL
    user_id: UUID | None = None
    """None where nobody is asked who they are."""
    profile_id: UUID | None = None
    """What their jobs are counted under."""
    proof: Proof | None = None

    @property
    def is_admin(self) -> bool:
        return Scope.ADMIN in self.scopes
