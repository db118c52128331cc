"""What people log in with, as it may be said: over HTTP, or to the command line."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from domain.text import Plain

ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")


def _is_address(email: str) -> str:
    if not ADDRESS.fullmatch(email):
        raise ValueError("should be an email address, such as ana@example.org")
    return email


Email = Annotated[
    Plain, StringConstraints(strip_whitespace=True, to_lower=True, max_length=254), AfterValidator(_is_address)
]
NewPassword = Annotated[str, Field(min_length=10, max_length=256, description="10 characters or more.")]
