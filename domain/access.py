"""Who asks. Every query on user data takes the `owner` of a Caller."""

from dataclasses import dataclass

LOCAL_OWNER = "local"
"""The owner when the platform serves the machine that it runs on."""

PUBLIC_OWNER = "public"
"""The owner when the operator serves a network without asking who calls (INSECURE_NO_AUTH)."""


@dataclass(frozen=True, slots=True)
class Caller:
    owner: str
