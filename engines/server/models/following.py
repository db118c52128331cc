"""Long calls into libraries that tell their progress by a callback, as something that can be iterated over."""

import queue
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

TellShare = Callable[[float], None]
"""Told how much is done, 0 to 1. Raises where nobody wants to know any more, which ends the call."""


class _NotWanted(BaseException):
    """Ends a library's work from within its callback; no Exception, so that no library takes it for a failure."""


def follow(work: Callable[[TellShare], T]) -> Generator[float, None, T]:
    """Run `work` on a thread; yield the shares that it tells, and return what it returns.

    Closing the generator ends the work at its next word, and waits for that.
    """
    told: queue.SimpleQueue[float | None] = queue.SimpleQueue()
    wanted = threading.Event()
    wanted.set()

    def tell(share: float) -> None:
        if not wanted.is_set():
            raise _NotWanted
        told.put(share)

    with ThreadPoolExecutor(1) as thread:
        result = thread.submit(work, tell)
        result.add_done_callback(lambda _: told.put(None))
        try:
            while (share := told.get()) is not None:
                yield share
        finally:
            wanted.clear()
    return result.result()
