"""A job that has cost a worker its life is tried in a process of its own, so that it takes nobody along.

A crash charges every job that its process was at, so the first charge may be another job's fault. The others are its
own: by then it runs alone.
"""

import asyncio
import logging
import socket
from uuid import UUID

from config.settings import Settings
from services import attempts
from services.platform import Platform
from workers.cells import Cells
from workers.pipeline import Tried, run_attempt
from workers.process import at_work, stop_on_signals

log = logging.getLogger(__name__)

AT_ONCE = 4
"""Suspects that a worker has tried at once. Each is a process, and what killed the worker may have been its size."""


class Quarantine:
    """The suspects of one worker."""

    def __init__(self, platform: Platform, cells: Cells) -> None:
        self._platform, self._cells = platform, cells
        self._free = asyncio.Semaphore(AT_ONCE)

    @property
    def is_full(self) -> bool:
        return self._free.locked()

    async def attempt(self, job_id: UUID) -> Tried:
        """Have one attempt made, and wait for its end. Cancelling gives the job back.

        Where no cell is free, the job stays in the queue: one that waited here would keep a place from others.
        """
        if self._free.locked():
            await attempts.postpone(self._platform, job_id, reason="waiting to be tried alone")
            return Tried.NOT_HAD
        async with self._free:
            log.warning("job %s was in a worker's hands when it died: it is tried alone", job_id)
            said = await self._cells.attempt(job_id)
            if said:
                return Tried(said[0])
            log.error("the process in which job %s was tried alone died, or could not be had", job_id)
            return Tried.BEGUN


async def run_alone(settings: Settings, job_id: UUID, line: socket.socket) -> bytes:
    """In the process of its own: one attempt, given back on SIGTERM, SIGINT and where the line to the worker ends.

    Returns what `Quarantine.attempt` is told.
    """
    stop = stop_on_signals()
    reader, _writer = await asyncio.open_unix_connection(sock=line)
    listening = asyncio.create_task(reader.read())
    listening.add_done_callback(lambda _: stop.set())
    async with at_work(settings) as here:
        attempt = asyncio.create_task(run_attempt(here.platform, here.registry, job_id, worker=here.worker))
        return bytes([(await _end(attempt, stop)).value])


async def _end(attempt: asyncio.Task[Tried], stop: asyncio.Event) -> Tried:
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({attempt, stopping}, return_when=asyncio.FIRST_COMPLETED)
    attempt.cancel()
    stopping.cancel()
    found, _ = await asyncio.gather(attempt, stopping, return_exceptions=True)
    if isinstance(found, Exception):
        log.error("an attempt could not be begun or ended", exc_info=found)
    return found if isinstance(found, Tried) else Tried.NOT_HAD
