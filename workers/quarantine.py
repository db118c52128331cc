"""A job that has cost workers their lives is tried in a process of its own, so that it takes nobody along.

A crash charges every job that its process was at, so a second charge may be another job's fault. The third, which
fails a job, is its own: by then it runs alone.
"""

import asyncio
import logging
import os
import secrets
import socket
import sys
from uuid import UUID

from config.settings import Settings
from engines.registry import Registry
from services.platform import open_platform
from workers import workspace
from workers.pipeline import run_attempt

log = logging.getLogger(__name__)


class Quarantine:
    """The cell of one worker: one job at a time."""

    def __init__(self) -> None:
        self._cell = asyncio.Lock()

    async def attempt(self, job_id: UUID) -> None:
        """Have one attempt made, and wait for its end. Cancelling gives the job back."""
        async with self._cell:
            # A worker that was told to keep its working directory off the path (-P) has children that do the same.
            python = (sys.executable, "-P") if sys.flags.safe_path else (sys.executable,)
            log.warning("job %s has cost workers their lives: it is tried alone", job_id)
            process = await asyncio.create_subprocess_exec(
                *(*python, "-m", "workers", "--only", str(job_id)), stdin=asyncio.subprocess.PIPE
            )
            assert process.stdin is not None
            try:
                await process.wait()
            finally:
                process.stdin.close()  # whereupon it stops
                await process.wait()
            if process.returncode:
                log.error("the process of job %s ended with %s", job_id, process.returncode)


async def run_alone(settings: Settings, job_id: UUID) -> None:
    """In the process of its own: one attempt, given back where standard input ends, as it does when the worker goes."""
    worker = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
    registry = Registry.load(settings)
    with workspace.hold(settings.media.work_dir) as work_dir:
        async with open_platform(settings, application="worker") as platform:
            try:
                at_work = workspace.working_in(platform, work_dir)
                attempt = asyncio.create_task(run_attempt(at_work, registry, job_id, worker=worker))
                stop = asyncio.create_task(_end_of_input())
                await asyncio.wait({attempt, stop}, return_when=asyncio.FIRST_COMPLETED)
                attempt.cancel()
                stop.cancel()
                await asyncio.gather(attempt, stop, return_exceptions=True)
            finally:
                await registry.close()


async def _end_of_input() -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()
