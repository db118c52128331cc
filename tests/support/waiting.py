"""For what announces itself to nobody: look until it is so, and fail where it never is."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from time import monotonic


async def eventually(condition: Callable[[], Awaitable[bool]] | Callable[[], bool], *, within: float = 30.0) -> None:
    end = monotonic() + within
    while True:
        found = condition()
        if found is True or (not isinstance(found, bool) and await found):
            return
        assert monotonic() < end, f"not so within {within} s"
        await asyncio.sleep(0.01)


def until(condition: Callable[[], bool], *, within: float = 30.0) -> None:
    """The same for tests that drive other processes and have no loop of their own."""
    end = monotonic() + within
    while not condition():
        assert monotonic() < end, f"not so within {within} s"
        time.sleep(0.02)
