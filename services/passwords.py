"""Passwords, slowly: argon2id in threads of its own, so that log-ins cannot take the processor from everything else."""

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

AT_ONCE = 2

STEPS_BACK, LEAST_URGENT = 5, 19
"""As nice(2) counts: each is a fifth less of the processor, where others want it. Few, so that no log-in starves."""

HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
"""OWASP's least: 19 MiB, two passes (Password Storage Cheat Sheet)."""

NOBODY = HASHER.hash("nobody has this password")
"""Verified where there is no such user, so that the time of an answer does not tell."""


class Passwords:
    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="passwords", initializer=_step_back)

    async def hashed(self, password: str) -> str:
        return await asyncio.get_running_loop().run_in_executor(self._threads, HASHER.hash, password)

    async def fits(self, password: str, password_hash: str | None) -> bool:
        """Without a hash it fits nobody, and takes as long."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, _fits, password, password_hash)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _step_back() -> None:
    """Linux has a priority for every thread: beside one that answers requests, these get a third of the processor."""
    thread = threading.get_native_id()
    os.setpriority(os.PRIO_PROCESS, thread, min(LEAST_URGENT, os.getpriority(os.PRIO_PROCESS, thread) + STEPS_BACK))


def _fits(password: str, password_hash: str | None) -> bool:
    try:
        return HASHER.verify(password_hash or NOBODY, password) and password_hash is not None
    except VerificationError:
        return False
