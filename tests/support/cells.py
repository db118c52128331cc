"""Processes for attempts that are made alone, forked off an interpreter of their own and not off pytest's."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from uuid import UUID

import psutil

from workers.cells import Cells

PRELUDE = """
import asyncio, socket, sys
from uuid import UUID
import uvloop
from config import telemetry
from config.load import load_settings
from workers import cells
from workers.quarantine import run_alone
settings = load_settings()
telemetry.configure(settings.log, process="worker")
make = lambda job_id, line: uvloop.run(run_alone(settings, job_id, line))
"""

NURSERY = f"{PRELUDE}cells.serve(socket.socket(fileno=int(sys.argv[1])), make)"

WORKER = f"{PRELUDE}uvloop.run(cells.Cells.fork(make).attempt(UUID(sys.argv[1])))"
"""What a worker does with a suspect."""


class Unused(Cells):
    """Of a worker that meets no suspect."""

    def __init__(self) -> None: ...

    async def attempt(self, job_id: UUID) -> bytes:
        raise AssertionError("this worker was to meet no suspect")

    async def watch(self) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None: ...


@contextmanager
def nursery(environ: Mapping[str, str]) -> Iterator[tuple[Cells, psutil.Process]]:
    """Cells, and the process that they are forked off, which has ended when this does."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    argv = [sys.executable, "-c", NURSERY, str(theirs.fileno())]
    with ours, subprocess.Popen(argv, env=dict(environ), pass_fds=[theirs.fileno()]) as process:
        theirs.close()
        yield Cells(ours), psutil.Process(process.pid)
        ours.close()


@contextmanager
def worker_with(environ: Mapping[str, str], job_id: UUID) -> Iterator[psutil.Process]:
    """A process that has an attempt made alone, in a session of its own."""
    argv = [sys.executable, "-c", WORKER, str(job_id)]
    with subprocess.Popen(argv, env=dict(environ), start_new_session=True) as process:
        yield psutil.Process(process.pid)
        process.kill()
