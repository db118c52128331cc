"""A job that has cost workers their lives is tried in a process of its own, so that it takes nobody along.

A crash charges every job that its process was at, so a second charge may be another job's fault. The third, which
fails a job, is its own: by then it runs alone.
"""

import asyncio
import logging
import sys
from uuid import UUID

from config.interpreter import PYTHON
from config.settings import Settings
from services import attempts
from services.platform import Platform
from workers.pipeline import run_attempt
from workers.process import at_work, stop_on_signals

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
            log.warning("job %s has cost workers their lives: it is tried alone", job_id)
            process = await asyncio.create_subprocess_exec(
                *(*PYTHON, "-m", "workers", "--only", str(job_id)), stdin=asyncio.subprocess.PIPE
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
    stop = stop_on_signals()
    await asyncio.get_running_loop().connect_read_pipe(lambda: _Input(stop), sys.stdin)
    async with at_work(settings) as here:
        attempt = asyncio.create_task(run_attempt(here.platform, here.registry, job_id, worker=here.worker))
        await _end(attempt, stop)


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
