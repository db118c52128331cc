"""A job that has cost workers their lives is tried in a process of its own, so that it takes nobody along.

A crash charges every job that its process was at, so a second charge may be another job's fault. The third, which
fails a job, is its own: by then it runs alone.
"""

import asyncio
import logging
import os
import secrets
import signal
import socket
import sys
from uuid import UUID

from config.settings import Settings
from engines.registry import Registry
from services import attempts
from services.platform import Platform, open_platform
from workers import workspace
from workers.pipeline import run_attempt

log = logging.getLogger(__name__)


class Quarantine:
    """The cell of one worker: one job at a time."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._cell = asyncio.Lock()

    async def attempt(self, job_id: UUID) -> None:
        """Have one attempt made, and wait for its end. Cancelling gives the job back.

        Where the cell is taken, the job stays in the queue: one that waited here would keep a place from others.
        """
        if self._cell.locked():
            await attempts.postpone(self._platform, job_id, reason="waiting to be tried alone")
            return
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
    """In the process of its own: one attempt, given back on SIGTERM and SIGINT, which may be meant for a whole group of
    processes, and where standard input ends, as it does when the worker goes.
    """
    worker = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await asyncio.get_running_loop().connect_read_pipe(lambda: _Input(stop), sys.stdin)
    registry = Registry.load(settings)
    with workspace.hold(settings.media.work_dir) as work_dir:
        async with open_platform(settings, application="worker") as platform:
            try:
                at_work = workspace.working_in(platform, work_dir)
                attempt = asyncio.create_task(run_attempt(at_work, registry, job_id, worker=worker))
                await _end(attempt, stop)
            finally:
                await registry.close()


async def _end(attempt: asyncio.Task[None], stop: asyncio.Event) -> None:
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({attempt, stopping}, return_when=asyncio.FIRST_COMPLETED)
    attempt.cancel()
    stopping.cancel()
    error, _ = await asyncio.gather(attempt, stopping, return_exceptions=True)
    if isinstance(error, Exception):
        log.error("an attempt could not be begun or ended", exc_info=error)


class _Input(asyncio.Protocol):
    """Standard input: nothing is said there, and it ends."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop

    def connection_lost(self, _error: Exception | None) -> None:
        self._stop.set()
