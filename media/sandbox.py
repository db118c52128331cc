"""Runs a decoder where it can do no harm: no files, no network, and bounded in memory, processor time and output.

The decoder reads its standard input and writes its standard output, both plain files that we opened for it. So that
it needs no right to open anything, but what `Grants` names. `confine` takes all other rights away, as far as the
machine lets it.
"""

import asyncio
import logging
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from media import confine

log = logging.getLogger(__name__)

READ_BYTES = 65_536
LONGEST_LINE = 4096
"""Bytes; what a decoder says beyond that in one line is somebody's metadata."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one decoder: address space in bytes, processor time in seconds, size of its output file in bytes."""

    memory_bytes: int
    cpu_seconds: int
    file_bytes: int


@dataclass(frozen=True, slots=True)
class Grants:
    """What a tool may have besides its input and output."""

    descriptors: tuple[int, ...] = ()
    """Open files that it finds under the same numbers."""
    folders: tuple[Path, ...] = ()
    """Folders to read in, with all that lies below them; one that is not there is passed over."""
    environment: Mapping[str, str] = field(default_factory=dict)
    reopen_output: bool = False
    """Open the file that is its output once more, to read what it wrote."""

    @property
    def arguments(self) -> list[str]:
        """As `confine` reads them."""
        return [
            *(f"--read={folder}" for folder in self.folders),
            *(f"--env={name}={value}" for name, value in self.environment.items()),
            *(["--reopen-output"] if self.reopen_output else []),
        ]


NOTHING_MORE = Grants()


@asynccontextmanager
async def confined(
    command: Sequence[str], *, stdin: int, stdout: int, limits: Limits, grants: Grants = NOTHING_MORE
) -> AsyncIterator[Process]:
    """Start `command` in the sandbox; its standard error is a pipe to be read with `lines`.

    `stdin` and `stdout` are descriptors of files. However the block is left, cancelling included, whatever still runs
    is killed. The child dies with the thread that started it, so start it from the main one.
    """
    numbers = (os.getpid(), limits.memory_bytes, limits.cpu_seconds, limits.file_bytes)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-I", "-S", "-B", confine.__file__),
        *map(str, numbers),
        *grants.arguments,
        *command,
        stdin=stdin,
        stdout=stdout,
        stderr=PIPE,
        cwd=Path("/"),
        pass_fds=grants.descriptors,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        await process.communicate()


async def lines(process: Process) -> AsyncIterator[str]:
    """What the decoder says, line by line, in bounded memory, without what the sandbox said before it began."""
    assert process.stderr is not None
    pending, begun = b"", False
    while chunk := await process.stderr.read(READ_BYTES):
        *whole, pending = (pending + chunk).split(b"\n")
        pending = pending[:LONGEST_LINE]
        for line in whole:
            text = line[:LONGEST_LINE].decode(errors="replace")
            begun = begun or not text.startswith("sandbox: ")
            if begun:
                yield text
            else:
                _warn_once(text)
    if pending:
        yield pending.decode(errors="replace")


@cache
def _warn_once(text: str) -> None:
    log.warning("%s", text)
