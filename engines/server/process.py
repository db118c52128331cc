"""One child of the engine server, as the server sees it: a process that holds one model."""

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Literal, Self

from config.interpreter import PYTHON
from domain.errors import EngineCrashed, EngineFailed
from domain.transcript import Progress, Value
from engines.contract import DOWNLOAD_STAGE, Hearing
from engines.server.memory import resident_bytes
from engines.server.orders import OUT_OF_MEMORY, Cancel, ChildEvent, Job, Ready, Setup, Stopped, parse_child_event
from engines.wire import LONGEST_LINE, PULSE_SECONDS, Done, Event, Failure, Said, Working, encode

Tell = Callable[[Event], Awaitable[None]]
"""Passes an event on to whoever waits for the job; slow readers slow the child down."""

GRACE_SECONDS = 0.3
"""What a cancelled child gets to come to a stop by itself, and so to keep its model."""

STANDARD_ERROR = 2
"""Where a child's standard output goes, so that a library that prints disturbs neither protocol nor pipes."""


class ModelProcess:
    """`start`, then `load` once, then `hear` one job at a time; `settle` after any of them broke off."""

    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._state: Literal["loading", "idle", "hearing"] = "loading"
        self._jobs = 0
        self.download: Progress | None = None
        """How far the fetching of weights has got, while that goes on."""

    @classmethod
    async def start(cls, setup: Setup) -> Self:
        ours, theirs = socket.socketpair()
        with theirs:
            reader, writer = await asyncio.open_unix_connection(sock=ours, limit=LONGEST_LINE)
            try:
                process = await asyncio.create_subprocess_exec(
                    *(*PYTHON, "-m", "engines.server.child", str(theirs.fileno()), str(os.getpid())),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=STANDARD_ERROR,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,  # so that what a library starts can be killed along with it
                )
            except BaseException:
                writer.close()
                raise
        writer.write(encode(setup))
        return cls(process, reader, writer)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None and not self._reader.at_eof()

    @property
    def ready(self) -> bool:
        return self.alive and self._state != "loading"

    def resident_bytes(self) -> int | None:
        """Main memory of the child and all that it started; None where the system does not tell."""
        return resident_bytes(self.pid)

    async def load(self, tell: Tell) -> None:
        """Wait until the model is in memory. Raises EngineFailed."""
        while not isinstance(event := await self._next(), Ready):
            if isinstance(event, Said) and isinstance(event.value, Progress) and event.value.stage == DOWNLOAD_STAGE:
                self.download = event.value
            if isinstance(event, Said | Working):
                await tell(event)
        self.download = None
        self._state = "idle"

    async def hear(self, audio: str, hearing: Hearing, tell: Tell) -> None:
        """Hear one file, up to and without Done. Raises EngineFailed."""
        self._jobs += 1
        self._state = "hearing"
        await self._send(Job(number=self._jobs, audio=audio, hearing=hearing))
        while not isinstance(event := await self._next(), Done):
            if isinstance(event, Said | Working):
                await tell(event)
        self._state = "idle"

    async def settle(self, *, patience: float) -> bool:
        """After a job was dropped at any point: is the model still usable? Ends the work within a second.

        A model that is being loaded goes on, so that the download a job began is not lost with the job; one that says
        nothing for `patience` seconds hangs, and is ended.
        """
        if self._state == "loading":
            with suppress(EngineFailed, TimeoutError):
                await self._load_unheeded(patience)
        elif self._state == "hearing":
            await self._cancel()
        if self.alive and self._state == "idle":
            return True
        await self.end()
        return False

    async def end(self) -> None:
        """Kill it, with all that it started, and wait until its memory is free."""
        self.kill()
        await self._process.wait()
        self._writer.close()

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    async def _load_unheeded(self, patience: float) -> None:
        """`load` with nobody there to lose patience. Raises EngineFailed, TimeoutError."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(patience) as limit:

            async def tell(event: Event) -> None:
                if isinstance(event, Said):
                    limit.reschedule(loop.time() + patience)

            await self.load(tell)

    async def _cancel(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE_SECONDS):
                await self._send(Cancel(number=self._jobs))
                while (event := await self._read()) is not None:
                    if isinstance(event, Stopped | Done):
                        self._state = "idle"
                        return

    async def _next(self) -> ChildEvent | Working:
        """The child's next word, or Working when it says nothing for a while. A Failure is raised as what it says."""
        try:
            async with asyncio.timeout(PULSE_SECONDS):
                event = await self._read()
        except TimeoutError:
            return Working()
        if event is None:
            raise await self._crash()
        if isinstance(event, Failure):
            raise event.to_error()
        return event

    async def _read(self) -> ChildEvent | None:
        """None at the end of the child, and where it says what is no event."""
        try:
            line = await self._reader.readline()
            return parse_child_event(line) if line.endswith(b"\n") else None
        except (ConnectionError, ValueError):  # a line over the limit is a ValueError, and so is a ValidationError
            return None

    async def _send(self, message: Value) -> None:
        with suppress(ConnectionError):  # a child that is gone is noticed by the reader
            self._writer.write(encode(message))
            await self._writer.drain()

    async def _crash(self) -> EngineCrashed:
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                status = await self._process.wait()
        except TimeoutError:
            return EngineCrashed("the engine's process went astray and was ended; try again", retryable=True)
        return EngineCrashed(f"the engine's process {describe_exit(status)}", retryable=True)


def describe_exit(status: int) -> str:
    """How a process ended, with advice; negative is the number of a signal, 137 a shell's spelling of SIGKILL."""
    if status in (-signal.SIGKILL, 137):
        return f"was killed, probably because the machine ran {OUT_OF_MEMORY}"
    if status < 0:
        return f"crashed in native code ({signal.Signals(-status).name}); its log may have more"
    return f"ended by itself (exit status {status}); its log may have more"
