"""Keeps child processes running, and takes them along when it goes.

A crashed child is started again, later each time; a signal stops all in good order, a second one at once; and where
this process is killed, the kernel ends the children. Nothing polls: ends come by pidfd, readiness by a pipe.
"""

import asyncio
import logging
import os
import shlex
import signal
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from config.parenthood import die_with_parent
from domain.errors import BadSettings

logger = logging.getLogger(__name__)

FIRST_PAUSE = 0.1  # seconds before a crashed child is started again; doubles with every crash
LONGEST_PAUSE = 5.0
SETTLED = 10.0  # seconds after which a child that ran counts as healthy, so that pauses are short again
FIRST_TRIES = 3  # starts that a child gets before it has ever been ready
LOG_BYTES = 8_000_000  # a longer log is put aside when its child starts; one such is kept
TAIL_LINES = 12
RETRY = 0.01  # seconds between two questions whether a server is there yet; it has no way to tell us

Hook = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Child:
    """A program to keep running.

    Where it `announces`, it is started with `--ready-fd N` and writes a line to that descriptor once it can be used.
    Else `ready` returns once it can be; without either, a child that runs is ready.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(repr=False)  # has secrets
    cwd: Path | None = None
    uid: int | None = None
    """Runs as this user, in no further group, where set; so does `gid`."""
    gid: int | None = None
    pass_fds: tuple[int, ...] = ()
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 10.0
    """After this long without an end, SIGKILL."""
    death_signal: signal.Signals = signal.SIGKILL
    """What the kernel sends it when the supervisor is gone."""
    before: Hook | None = None
    """Awaited before every start."""
    announces: bool = False
    ready: Hook | None = None
    ready_seconds: float = 30.0


async def until_answers(port: int, question: bytes, answer: bytes) -> None:
    """Returns once the server on this port of loopback answers `question` with something that starts with `answer`."""
    while True:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(question)
                said = b""
                while len(said) < len(answer) and (more := await reader.read(1024)):
                    said += more
            finally:
                writer.close()
            if said.startswith(answer):
                return
        await asyncio.sleep(RETRY)


class Supervisor:
    """`async with Supervisor(logs) as supervisor:` in the main thread's task; leaving it stops all children.

    SIGINT, SIGTERM and SIGHUP end the body (it is cancelled; the cancellation goes no further, and `asked` is set);
    another of them, once the children are being stopped, kills them.
    """

    def __init__(self, logs: Path) -> None:
        self.asked: signal.Signals | None = None
        """The signal that ended the body."""
        self._logs = logs
        self._groups: list[list[_Kept]] = []
        self._body: asyncio.Task[object] | None = None
        self._stopping = False
        self._bug: BaseException | None = None
        self._signals: list[signal.Signals] = []

    async def __aenter__(self) -> Self:
        self._logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._body = asyncio.current_task()
        self._signals = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup sets it
            self._signals.append(signal.SIGHUP)
        for number in self._signals:
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal, number)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._stopping = True
        for group in reversed(self._groups):
            await asyncio.gather(*(kept.stop() for kept in group))
        for number in self._signals:
            asyncio.get_running_loop().remove_signal_handler(number)
        if (self._bug or self.asked) and self._body is not None:
            self._body.uncancel()
        if self._bug is not None:
            raise self._bug
        return self.asked is not None and kind is asyncio.CancelledError

    async def start(self, *children: Child) -> None:
        """Start these together; returns once all of them are ready. What is started last is stopped first.

        Raises:
            BadSettings: a child does not come up, with the end of what it wrote.
        """
        group = [_Kept(child, self._logs / f"{child.name}.log", self._on_bug) for child in children]
        self._groups.append(group)
        try:
            async with asyncio.TaskGroup() as starting:
                for kept in group:
                    starting.create_task(kept.start())
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def until_asked(self) -> None:
        """Waits for the signal that ends the body."""
        await asyncio.Event().wait()

    def _on_signal(self, number: signal.Signals) -> None:
        if self._stopping:
            logger.warning("asked again to stop: killing what still runs")
            for kept in (kept for group in self._groups for kept in group):
                kept.kill()
        elif self._body is not None:
            self.asked = number
            self._stopping = True
            self._body.cancel()

    def _on_bug(self, error: BaseException) -> None:
        self._bug = error
        if not self._stopping and self._body is not None:
            self._stopping = True
            self._body.cancel()


class _Run:
    """One process of a child, from its start to its end."""

    def __init__(self, child: Child, log: Path) -> None:
        self._loop = asyncio.get_running_loop()
        self.started = self._loop.time()
        self.ended: asyncio.Future[int] = self._loop.create_future()
        self.announced = asyncio.Event()
        self._announcement: int | None = None
        self._process = self._spawn(child, log)
        self._pidfd = os.pidfd_open(self._process.pid)
        self._loop.add_reader(self._pidfd, self._on_end)

    def send(self, number: signal.Signals) -> None:
        if not self.ended.done():
            self._process.send_signal(number)

    def kill(self) -> None:
        """Kill it and all of its process group, as long as it is there."""
        if not self.ended.done():
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _spawn(self, child: Child, log: Path) -> subprocess.Popen[bytes]:
        argv, pass_fds = list(child.argv), child.pass_fds
        theirs: int | None = None
        if child.announces:
            self._announcement, theirs = os.pipe()
            self._loop.add_reader(self._announcement, self._on_announcement, self._announcement)
            argv += ["--ready-fd", str(theirs)]
            pass_fds += (theirs,)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            # A session of its own: Ctrl-C in the terminal reaches only the supervisor.
            return subprocess.Popen(  # noqa: S603
                argv,
                env=child.env,
                cwd=child.cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=pass_fds,
                user=child.uid,
                group=child.gid,
                extra_groups=None if child.uid is None else [],
                start_new_session=True,
                preexec_fn=die_with_parent(child.death_signal),
            )
        except OSError:
            self._close_announcement()
            raise
        finally:
            os.close(output)
            if theirs is not None:
                os.close(theirs)

    def _on_announcement(self, descriptor: int) -> None:
        if b"\n" in os.read(descriptor, 64):
            self.announced.set()
        self._close_announcement()

    def _close_announcement(self) -> None:
        if self._announcement is not None:
            self._loop.remove_reader(self._announcement)
            os.close(self._announcement)
            self._announcement = None

    def _on_end(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._close_announcement()
        self.kill()  # what it left behind, while its number cannot be another's yet
        self.ended.set_result(self._process.wait())


class _Kept:
    """A child that is kept running."""

    def __init__(self, child: Child, log: Path, on_bug: Callable[[BaseException], None]) -> None:
        self._child = child
        self._log = log
        self._log_start = 0
        self._on_bug = on_bug
        self._run: _Run | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        pause = FIRST_PAUSE
        for left in reversed(range(FIRST_TRIES)):
            run = await self._begin()
            if run is not None and await self._becomes_ready(run):
                self._keeper = asyncio.create_task(self._keep(run))
                self._keeper.add_done_callback(self._on_keeper_end)
                return
            if left == 0 or (run is not None and not run.ended.done()):
                raise BadSettings(self._account_of_failure(run))
            await asyncio.sleep(pause)
            pause *= 2

    async def stop(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        if self._run is None:
            return
        self._run.send(self._child.stop_signal)
        done, _ = await asyncio.wait([self._run.ended], timeout=self._child.stop_seconds)
        if not done:
            logger.warning("%s does not stop by itself; killing it", self._child.name)
            self._run.kill()
            await asyncio.wait([self._run.ended])

    def kill(self) -> None:
        if self._run is not None:
            self._run.kill()

    async def _keep(self, run: _Run | None) -> None:
        pause = FIRST_PAUSE
        while True:
            how = "could not be started"
            if run is not None:
                how = _describe_end(await asyncio.shield(run.ended))
                if asyncio.get_running_loop().time() - run.started > SETTLED:
                    pause = FIRST_PAUSE
            logger.error("%s %s; starting it again in %.1f s; see %s", self._child.name, how, pause, self._log)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
            run = await self._begin()

    async def _begin(self) -> _Run | None:
        """Start the process; None, with the reason in its log, where the system cannot."""
        if self._child.before is not None:
            await self._child.before()
        self._turn_log()
        try:
            self._run = _Run(self._child, self._log)
        except OSError as error:
            with self._log.open("a") as log:
                log.write(f"{shlex.quote(self._child.argv[0])} cannot be started: {error.strerror}\n")
            return None
        return self._run

    async def _becomes_ready(self, run: _Run) -> bool:
        """Wait until it is ready; False where it ends before, or is not within its time."""
        waiting = asyncio.create_task(self._ready(run))
        either: list[asyncio.Future[Any]] = [waiting, run.ended]
        try:
            await asyncio.wait(either, timeout=self._child.ready_seconds, return_when=asyncio.FIRST_COMPLETED)
            if run.ended.done() or not waiting.done():
                return False
            waiting.result()
            return True
        finally:
            waiting.cancel()

    async def _ready(self, run: _Run) -> None:
        if self._child.announces:
            await run.announced.wait()
        elif self._child.ready is not None:
            await self._child.ready()

    def _turn_log(self) -> None:
        with suppress(FileNotFoundError):
            if self._log.stat().st_size > LOG_BYTES:
                self._log.replace(self._log.with_name(f"{self._log.name}.1"))
        self._log_start = self._log.stat().st_size if self._log.exists() else 0

    def _account_of_failure(self, run: _Run | None) -> str:
        if run is None:
            how = "could not be started"
        elif run.ended.done():
            how = f"{_describe_end(run.ended.result())} before it was ready"
        else:
            how = f"was not ready within {self._child.ready_seconds:g} s"
        with self._log.open("rb") as log:
            log.seek(max(self._log_start, log.seek(0, os.SEEK_END) - 8_000))
            tail = log.read().decode(errors="replace").splitlines()[-TAIL_LINES:]
        return "\n  ".join([f"{self._child.name} {how}; its log is {self._log}, and ends in:", *tail])

    def _on_keeper_end(self, keeper: asyncio.Task[None]) -> None:
        if not keeper.cancelled() and (error := keeper.exception()) is not None:
            self._on_bug(error)


def _describe_end(status: int) -> str:
    return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
