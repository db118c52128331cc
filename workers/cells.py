"""Processes in which attempts are made alone.

    worker ── requests ──▶ nursery ── fork ──▶ cell, cell …
       └──────────────── a line to each cell ─────┘

The nursery is forked off a worker that has loaded every module and done nothing else: cells forked from it begin in
0.1 s, where a new interpreter takes 1.3 s of a processor, and after a crash several are needed at once. It is in a
session of its own, so what kills a worker with all its group leaves the cells time to give their jobs back, which they
do as soon as their line ends. None outlives it.
"""

import asyncio
import gc
import logging
import os
import selectors
import signal
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Self
from uuid import UUID

from config.parenthood import die_with

log = logging.getLogger(__name__)

GIVE_BACK_SECONDS = 3.5
"""What a cell gets to give its job back once its line has ended; a supervisor leaves its worker five."""

_KILL = b"!"

OOM_SCORE = Path("/proc/self/oom_score_adj")

Make = Callable[[UUID, socket.socket], bytes]
"""Makes an attempt in this process, and breaks it off where the socket ends; returns what is told of it."""


class NoCells(Exception):
    """The process that forks them is gone."""


class Cells:
    """A worker's side. `requests` leads to a process in which `serve` runs."""

    def __init__(self, requests: socket.socket) -> None:
        requests.setblocking(False)
        self._requests = requests

    @classmethod
    def fork(cls, make: Make) -> Self:
        """Fork the nursery. Called before this process has a thread, an event loop or a connection."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        gc.freeze()  # what is never looked at again stays shared
        if os.fork() == 0:
            ours.close()
            _close_all_but(theirs.fileno())
            _end_with(lambda: serve(theirs, make))
        theirs.close()
        return cls(ours)

    async def attempt(self, job_id: UUID) -> bytes:
        """Have an attempt made, and wait for its end: what is told of it, nothing where its process died.

        Cancelling breaks it off; a process that does not end by itself then is killed.

        Raises OSError where there is no nursery.
        """
        reader, writer = await asyncio.open_unix_connection(sock=self._ask(job_id))
        ending = asyncio.create_task(reader.read())
        try:
            return await asyncio.shield(ending)
        except asyncio.CancelledError:
            writer.write_eof()
            await asyncio.wait({ending}, timeout=GIVE_BACK_SECONDS)
            if not ending.done():
                with suppress(OSError):
                    self._requests.send(_KILL + job_id.bytes)
            await ending
            raise
        finally:
            writer.close()

    def _ask(self, job_id: UUID) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(self._requests, [job_id.bytes], [theirs.fileno()])
            except OSError:
                ours.close()
                raise
        return ours

    async def watch(self) -> None:
        """Raises NoCells where the nursery goes: the worker cannot do without, and another has to be started."""
        await self._gone()
        raise NoCells

    async def close(self) -> None:
        """End the nursery, and wait until it is gone."""
        with suppress(OSError):
            self._requests.shutdown(socket.SHUT_WR)
        await self._gone()
        self._requests.close()

    async def _gone(self) -> None:
        with suppress(OSError):
            await asyncio.get_running_loop().sock_recv(self._requests, 1)  # nothing is ever said


def serve(requests: socket.socket, make: Make) -> None:
    """Fork a cell for each request until the worker is gone, and then until the cells are."""
    _Nursery(requests, make).run()


class _Nursery:
    def __init__(self, requests: socket.socket, make: Make) -> None:
        self._requests, self._make = requests, make
        self._watched = selectors.DefaultSelector()
        self._cells: dict[int, tuple[int, UUID]] = {}
        """Process ids and jobs, by the descriptors that tell of their ends."""
        self._patience = float("inf")

    def run(self) -> None:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)  # it goes when the worker does
        self._watched.register(self._requests, selectors.EVENT_READ)
        while self._watched.get_map():
            left = None if self._patience == float("inf") else max(0.0, self._patience - monotonic())
            ready = self._watched.select(left)
            for key, _ in ready:
                if key.fileobj is self._requests:
                    self._listen()
                else:
                    self._bury(key.fd)
            if not ready:
                self._kill(job_id for _, job_id in self._cells.values())
                self._patience = float("inf")

    def _listen(self) -> None:
        request, lines, _, _ = socket.recv_fds(self._requests, 17, 1, socket.MSG_CMSG_CLOEXEC)
        if not request:
            self._watched.unregister(self._requests)
            self._patience = monotonic() + GIVE_BACK_SECONDS
        elif request.startswith(_KILL) and not lines:
            self._kill([UUID(bytes=request[1:])])
        elif not lines:  # no more descriptors to be had: the line has ended, and the job stays in the queue
            log.error("no process could be had for an attempt")
        else:
            try:
                self._begin(UUID(bytes=request), lines[0])
            except OSError as error:  # no more processes
                log.error("no process could be had for an attempt (%s)", error.strerror)
            finally:
                os.close(lines[0])

    def _begin(self, job_id: UUID, line: int) -> None:
        nursery = os.getpid()
        cell = os.fork()
        if cell == 0:
            die_with(nursery)
            _end_with(lambda: self._work(job_id, line))
        try:
            told = os.pidfd_open(cell)
        except OSError:
            os.kill(cell, signal.SIGKILL)
            os.waitpid(cell, 0)
            raise
        self._cells[told] = cell, job_id
        self._watched.register(told, selectors.EVENT_READ)

    def _work(self, job_id: UUID, line: int) -> None:
        self._watched.close()
        self._requests.close()
        for told in self._cells:
            os.close(told)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_DFL)
        with suppress(OSError), OOM_SCORE.open("w") as score:
            score.write("1000")  # where memory runs out, this process goes, and not its worker
        said = self._make(job_id, socket.socket(fileno=os.dup(line)))
        with suppress(OSError):  # the worker is gone
            os.write(line, said)

    def _bury(self, told: int) -> None:
        self._watched.unregister(told)
        os.close(told)
        os.waitpid(self._cells.pop(told)[0], 0)

    def _kill(self, job_ids: Iterable[UUID]) -> None:
        unwanted = set(job_ids)
        for cell, job_id in self._cells.values():
            if job_id in unwanted:
                os.kill(cell, signal.SIGKILL)


def _close_all_but(kept: int) -> None:
    """Of what was inherited: the pipe by which a worker says that it is ready, for one."""
    os.closerange(3, kept)
    os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))


def _end_with(last: Callable[[], None]) -> None:
    """Do one thing more, and end: nothing of what the process was forked from may go on here."""
    status = 1
    try:
        last()
        status = 0
    except Exception:
        log.exception("a process for attempts broke off")
    finally:
        os._exit(status)
