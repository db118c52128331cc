"""Who asks, and what they may. Every query on user data takes the `owner` of a Caller."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

LOCAL_OWNER = "local"
"""The owner when the platform serves the machine that it runs on."""

PUBLIC_OWNER = "public"
"""The owner when the operator serves a network without asking who calls (INSECURE_NO_AUTH)."""


class Scope(StrEnum):
    """What a caller may do with what is theirs; `admin` is about the platform as a whole."""

    READ = "jobs:read"
    WRITE = "jobs:write"
    SETTINGS = "settings"
    """Contexts and webhooks."""
    ACCOUNT = "account"
    """Profiles, keys and the password: for people, so no key has it."""
    ADMIN = "admin"


PERSONAL = frozenset(Scope) - {Scope.ADMIN}


@dataclass(frozen=True, slots=True)
class Caller:
    owner: str
    scopes: frozenset[Scope] = PERSONAL
    user_id: UUID | None = None
    """None where nobody is asked who they are."""
    profile_id: UUID | None = None
    """What their jobs are counted under."""

    @property
    def is_admin(self) -> bool:
        return Scope.ADMIN in self.scopes
