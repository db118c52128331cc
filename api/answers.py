"""An answer that is made once for everybody who asks at the same time, and serves for a little while."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

Answer = TypeVar("Answer")


class Shared(Generic[Answer]):
    """One of a process: those who poll cost one look each time it has grown old, however many they are."""

    def __init__(self, make: Callable[[], Coroutine[Any, Any, Answer]], *, fresh_seconds: float) -> None:
        self._make, self._fresh_seconds = make, fresh_seconds
        self._making: asyncio.Task[Answer] | None = None
        self._made_at = float("-inf")

    async def get(self) -> Answer:
        """Raises what `make` raises; whoever asks next has it tried anew."""
        if self._making is None or self._is_old(self._making):
            self._made_at = asyncio.get_running_loop().time()  # before the look, as the answer is as old as that
            self._making = asyncio.create_task(self._make())
        return await asyncio.shield(self._making)  # a client that leaves takes the answer from nobody

    def _is_old(self, making: asyncio.Task[Answer]) -> bool:
        if not making.done():
            return False
        failed = making.cancelled() or making.exception() is not None
        return failed or asyncio.get_running_loop().time() - self._made_at > self._fresh_seconds
