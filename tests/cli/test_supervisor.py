"""The supervisor, with real children: what starts, crashes, stops and dies, and in which order."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cli.supervisor import FIRST_TRIES, LOG_BYTES, Child, Supervisor
from domain.errors import BadSettings
from tests.support.servers import Watch

PATIENCE = 30.0  # seconds until a test that waits in vain gives up


class Reports:
    """What children write to the descriptor `to`, line by line."""

    def __init__(self, lines: asyncio.StreamReader, to: int) -> None:
        self._lines = lines
        self.to = to

    async def next(self) -> str:
        async with asyncio.timeout(PATIENCE):
            return (await self._lines.readline()).decode().strip()


@asynccontextmanager
async def piped() -> AsyncIterator[Reports]:
    ours, theirs = os.pipe()
    lines = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), os.fdopen(ours, "rb", 0)
    )
    try:
        yield Reports(lines, theirs)
    finally:
        os.close(theirs)
        transport.close()


@pytest.fixture
async def reports() -> AsyncIterator[Reports]:
    async with piped() as pipe:
        yield pipe


def python(name: str, script: str, *, fds: tuple[int, ...] = (), **more: object) -> Child:
    """A child that runs `script`, which finds `fds` in sys.argv from 1 on."""
    argv = [sys.executable, "-c", f"import os, signal, sys\n{script}", *map(str, fds)]
    return Child(name, argv, dict(os.environ), pass_fds=fds, **more)  # type: ignore[arg-type]


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


SAY_PID = "os.write(int(sys.argv[1]), f'{os.getpid()}\\n'.encode())\n"
READY = "os.write(int(sys.argv[sys.argv.index('--ready-fd') + 1]), b'ready\\n')\n"
WAIT = "signal.pause()\n"


async def test_a_child_counts_as_ready_only_once_it_says_so(tmp_path: Path, reports: Reports) -> None:
    theirs, ours = os.pipe()
    child = python(
        "slow", f"{SAY_PID}os.read(int(sys.argv[2]), 1)\n{READY}{WAIT}", fds=(reports.to, theirs), announces=True
    )
    async with Supervisor(tmp_path) as supervisor:
        starting = asyncio.create_task(supervisor.start(child))
        await reports.next()
        assert not starting.done()
        os.write(ours, b"x")
        async with asyncio.timeout(PATIENCE):
            await starting
    os.close(theirs)
    os.close(ours)


async def test_children_of_one_start_come_up_together(tmp_path: Path, reports: Reports) -> None:
    theirs, ours = os.pipe()
    waits = python("waits", f"os.read(int(sys.argv[1]), 1)\n{READY}{WAIT}", fds=(theirs,), announces=True)
    frees = python("frees", f"os.write(int(sys.argv[1]), b'x')\n{READY}{WAIT}", fds=(ours,), announces=True)
    async with Supervisor(tmp_path) as supervisor, asyncio.timeout(PATIENCE):
        await supervisor.start(waits, frees)
    os.close(theirs)
    os.close(ours)


async def test_a_crashed_child_is_started_again_and_the_crash_told_once(
    tmp_path: Path, reports: Reports, caplog: pytest.LogCaptureFixture
) -> None:
    async with Supervisor(tmp_path) as supervisor:
        await supervisor.start(python("fragile", SAY_PID + WAIT, fds=(reports.to,)))
        first = int(await reports.next())
        os.kill(first, signal.SIGKILL)
        assert int(await reports.next()) != first
    told = [record.getMessage() for record in caplog.records]
    assert told == [f"fragile was killed by SIGKILL; starting it again in 0.1 s; see {tmp_path / 'fragile.log'}"]


async def test_the_pause_before_a_start_doubles_with_every_crash(
    tmp_path: Path, reports: Reports, caplog: pytest.LogCaptureFixture
) -> None:
    async with Supervisor(tmp_path) as supervisor:
        await supervisor.start(python("fragile", SAY_PID + WAIT, fds=(reports.to,)))
        for _ in range(3):
            os.kill(int(await reports.next()), signal.SIGKILL)
        await reports.next()
    pauses = re.findall(r"starting it again in (\S+) s", caplog.text)
    assert pauses == ["0.1", "0.2", "0.4"]


async def test_what_a_crashed_child_leaves_behind_goes_with_it(tmp_path: Path, reports: Reports) -> None:
    forks = f"if os.fork() == 0:\n    {SAY_PID}    {WAIT}{WAIT}"
    async with Supervisor(tmp_path) as supervisor:
        await supervisor.start(python("parent", forks, fds=(reports.to,)))
        grandchild = int(await reports.next())
        parent = os.getpgid(grandchild)
        with Watch([grandchild]) as watch:
            os.kill(parent, signal.SIGKILL)
            await asyncio.to_thread(watch.wait)


async def test_children_stop_in_the_reverse_order_of_their_start(tmp_path: Path, reports: Reports) -> None:
    def polite(name: str) -> Child:
        farewell = f"signal.sigwait([signal.SIGTERM])\nos.write(int(sys.argv[1]), b'{name}\\n')\n"
        block = "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
        return python(name, block + READY + farewell, fds=(reports.to,), announces=True)

    async with Supervisor(tmp_path) as supervisor:
        for name in ("database", "worker", "api"):
            await supervisor.start(polite(name))
    assert [await reports.next() for _ in range(3)] == ["api", "worker", "database"]


async def test_a_child_is_asked_to_stop_by_the_signal_it_wants(tmp_path: Path, reports: Reports) -> None:
    told = "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 16))\n" + READY
    told += "os.write(int(sys.argv[1]), signal.sigwait(range(1, 16)).name.encode() + b'\\n')\n"
    child = python("server", told, fds=(reports.to,), announces=True, stop_signal=signal.SIGINT)
    async with Supervisor(tmp_path) as supervisor:
        await supervisor.start(child)
    assert await reports.next() == "SIGINT"


STUBBORN = "signal.signal(signal.SIGTERM, lambda *_: os.write(int(sys.argv[1]), b'asked\\n'))\n"
STUBBORN += SAY_PID + READY + "while True:\n    signal.pause()\n"


async def test_a_child_that_does_not_stop_in_time_is_killed(tmp_path: Path, reports: Reports) -> None:
    async with Supervisor(tmp_path) as supervisor:
        await supervisor.start(python("stubborn", STUBBORN, fds=(reports.to,), announces=True, stop_seconds=0.1))
        child = int(await reports.next())
    assert not is_alive(child)
    assert await reports.next() == "asked"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_ends_the_body_and_the_children(
    tmp_path: Path, reports: Reports, number: signal.Signals
) -> None:
    before = signal.signal(number, signal.SIG_DFL)
    async with Supervisor(tmp_path) as supervisor:
        await supervisor.start(python("child", SAY_PID + WAIT, fds=(reports.to,)))
        child = int(await reports.next())
        os.kill(os.getpid(), number)
        async with asyncio.timeout(PATIENCE):
            await supervisor.until_asked()
        raise AssertionError("the body went on")
    signal.signal(number, before)
    assert supervisor.asked == number
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling(), "nobody further up takes it for a cancellation of theirs"
    assert not is_alive(child)


async def test_under_nohup_a_closed_terminal_ends_nothing(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    async with Supervisor(tmp_path) as supervisor:
        os.kill(os.getpid(), signal.SIGHUP)
        await supervisor.start(python("child", READY + WAIT, announces=True))
    signal.signal(signal.SIGHUP, before)
    assert supervisor.asked is None


async def test_a_signal_during_the_start_leaves_nothing_running(tmp_path: Path, reports: Reports) -> None:
    async with Supervisor(tmp_path) as supervisor:
        starting = asyncio.create_task(
            supervisor.start(python("never", SAY_PID + WAIT, fds=(reports.to,), announces=True))
        )
        child = int(await reports.next())
        os.kill(os.getpid(), signal.SIGTERM)
        await starting
    assert not is_alive(child)


async def test_a_second_signal_kills_what_would_not_stop(tmp_path: Path, reports: Reports) -> None:
    async def ask_again() -> None:
        assert await reports.next() == "asked"
        os.kill(os.getpid(), signal.SIGTERM)

    async with asyncio.timeout(PATIENCE), Supervisor(tmp_path) as supervisor:
        await supervisor.start(python("stubborn", STUBBORN, fds=(reports.to,), announces=True, stop_seconds=3600))
        await reports.next()
        asking = asyncio.create_task(ask_again())
        os.kill(os.getpid(), signal.SIGTERM)
        await supervisor.until_asked()
    await asking


async def test_ctrl_c_in_the_terminal_reaches_no_child(tmp_path: Path, reports: Reports) -> None:
    async with Supervisor(tmp_path) as supervisor:
        await supervisor.start(python("child", SAY_PID + WAIT, fds=(reports.to,)))
        child = int(await reports.next())
        assert os.getsid(child) == os.getpgid(child) == child


async def test_the_kernel_ends_a_child_with_the_signal_it_wants(tmp_path: Path, reports: Reports) -> None:
    told = "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 16))\n" + READY
    told += "os.write(int(sys.argv[1]), signal.sigwait(range(1, 16)).name.encode() + b'\\n')\n"
    script = f"""
import asyncio, os, signal, sys
from pathlib import Path
from cli.supervisor import Child, Supervisor
async def main():
    argv = [sys.executable, "-c", {"import os, signal, sys" + chr(10) + told!r}, sys.argv[1]]
    fds = (int(sys.argv[1]),)
    child = Child("child", argv, dict(os.environ), pass_fds=fds, announces=True, death_signal=signal.SIGINT)
    async with Supervisor(Path({str(tmp_path)!r})) as supervisor:
        await supervisor.start(child)
        os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", script, str(reports.to), pass_fds=(reports.to,))
    assert await reports.next() == "SIGINT"
    assert await parent.wait() == -signal.SIGKILL


async def test_a_child_that_does_not_come_up_is_shown_with_the_end_of_its_log(tmp_path: Path) -> None:
    (tmp_path / "broken.log").write_text("of an earlier run\n")
    child = python("broken", "print('the reason', flush=True)\nsys.exit(3)", announces=True)
    with pytest.raises(BadSettings, match=r"^broken ended with status 3 before it was ready") as refused:
        async with Supervisor(tmp_path) as supervisor:
            await supervisor.start(child)
    assert "the reason" in str(refused.value)
    assert "earlier run" not in str(refused.value)
    assert (tmp_path / "broken.log").read_text().count("the reason") == FIRST_TRIES


async def test_one_that_does_not_come_up_takes_the_others_of_its_start_along(tmp_path: Path, reports: Reports) -> None:
    with pytest.raises(BadSettings, match=r"^broken"):
        async with Supervisor(tmp_path) as supervisor:
            waits = python("waits", SAY_PID + WAIT, fds=(reports.to,), announces=True)
            starting = asyncio.create_task(supervisor.start(waits, python("broken", "sys.exit(1)", announces=True)))
            child = int(await reports.next())
            await starting
    assert not is_alive(child)


async def test_a_child_that_is_never_ready_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=r"^mute was not ready within 0\.1 s"):
        async with Supervisor(tmp_path) as supervisor:
            await supervisor.start(python("mute", WAIT, announces=True, ready_seconds=0.1))


async def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=r"(?s)^absent could not be started.*No such file"):
        async with Supervisor(tmp_path) as supervisor:
            await supervisor.start(Child("absent", ["/nowhere/program"], {}))


async def test_a_bug_in_a_hook_ends_the_supervisor_with_it(tmp_path: Path, reports: Reports) -> None:
    starts = 0

    async def fails_the_second_time() -> None:
        nonlocal starts
        starts += 1
        if starts == 2:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async with Supervisor(tmp_path) as supervisor:
            await supervisor.start(python("child", SAY_PID + WAIT, fds=(reports.to,), before=fails_the_second_time))
            os.kill(int(await reports.next()), signal.SIGKILL)
            async with asyncio.timeout(PATIENCE):
                await supervisor.until_asked()


async def test_a_bug_in_a_readiness_check_is_not_taken_for_ready(tmp_path: Path) -> None:
    async def broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async with Supervisor(tmp_path) as supervisor:
            await supervisor.start(python("child", WAIT, ready=broken))


async def test_an_error_of_the_body_stops_the_children_and_goes_on(tmp_path: Path, reports: Reports) -> None:
    with pytest.raises(ZeroDivisionError):
        async with Supervisor(tmp_path) as supervisor:
            await supervisor.start(python("child", SAY_PID + WAIT, fds=(reports.to,)))
            child = int(await reports.next())
            raise ZeroDivisionError
    assert not is_alive(child)


async def test_a_long_log_is_put_aside_when_its_child_starts(tmp_path: Path) -> None:
    with (tmp_path / "child.log").open("wb") as log:
        log.truncate(LOG_BYTES + 1)
    async with Supervisor(tmp_path) as supervisor:
        await supervisor.start(python("child", f"print('new', flush=True)\n{READY}{WAIT}", announces=True))
    assert (tmp_path / "child.log").read_text() == "new\n"
    assert (tmp_path / "child.log.1").stat().st_size == LOG_BYTES + 1
