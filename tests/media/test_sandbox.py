import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from media import confine, sandbox
from media.sandbox import Grants, Limits

LIMITS = Limits(memory_bytes=268_435_456, cpu_seconds=2, file_bytes=1_000_000)
BASH = "/bin/bash"


@pytest.fixture
def null() -> Iterator[int]:
    """The descriptor of a file that is empty to read and swallows what is written."""
    opened = os.open(os.devnull, os.O_RDWR)
    yield opened
    os.close(opened)


async def confined_shell(folder: Path, script: str, limits: Limits = LIMITS) -> tuple[int, str]:
    """Exit status and output of shell builtins in the sandbox; what they say on standard error is dropped."""
    source, output = folder / "in", folder / "out"
    source.write_text("what it may read\n")
    with source.open("rb") as opened, output.open("wb") as written:
        command = [BASH, "--norc", "-c", script]
        async with sandbox.confined(command, stdin=opened.fileno(), stdout=written.fileno(), limits=limits) as process:
            async for _ in sandbox.lines(process):
                pass
            status = await process.wait()
    return status, output.read_text() if output.stat().st_size < 100_000 else ""


async def test_it_reads_its_input_and_writes_its_output(tmp_path: Path) -> None:
    assert await confined_shell(tmp_path, "read -r line; echo got $line") == (0, "got what it may read\n")


async def test_it_can_open_no_file(tmp_path: Path, whole_sandbox: None) -> None:
    (tmp_path / "secret").write_text("secret\n")
    script = f"read -r line < {tmp_path}/secret && echo $line; echo x > {tmp_path}/new; echo end"
    assert await confined_shell(tmp_path, script) == (0, "end\n")
    assert not (tmp_path / "new").exists()


async def test_it_can_start_no_other_program(tmp_path: Path, whole_sandbox: None) -> None:
    status, output = await confined_shell(tmp_path, f"{sys.executable} -c 'print(1)'; echo $?")
    assert (status, output) == (0, "126\n")


async def test_it_reaches_no_socket_of_this_machine(tmp_path: Path, whole_sandbox: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        script = f"exec 3<>/dev/tcp/127.0.0.1/{server.getsockname()[1]} && echo connected"
        _, output = await confined_shell(tmp_path, script)
        assert output == ""
        with pytest.raises(BlockingIOError):
            server.accept()


async def test_it_knows_nothing_of_our_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://secret")
    _, output = await confined_shell(tmp_path, "declare -p -x")
    assert "secret" not in output


async def test_its_limits_are_set(tmp_path: Path) -> None:
    _, output = await confined_shell(tmp_path, "ulimit -c; ulimit -n; ulimit -t; ulimit -Hv; ulimit -Hf")
    assert output.split() == ["0", "32", "2", "262144", str(1_000_000 // 1024)]


async def test_it_can_write_no_more_than_its_share(tmp_path: Path) -> None:
    status, _ = await confined_shell(tmp_path, "while :; do printf '%01000d' 0; done")
    assert status == -signal.SIGXFSZ
    assert (tmp_path / "out").stat().st_size == LIMITS.file_bytes


async def test_it_is_killed_when_its_processor_time_is_spent(tmp_path: Path) -> None:
    limits = Limits(LIMITS.memory_bytes, cpu_seconds=1, file_bytes=LIMITS.file_bytes)
    assert (await confined_shell(tmp_path, "while :; do :; done", limits))[0] == -signal.SIGKILL


async def test_it_can_take_no_more_memory_than_its_share(tmp_path: Path) -> None:
    script = "a=xxxxxxxxxxxxxxxx; while :; do a=$a$a; done"
    assert (await confined_shell(tmp_path, script))[0] not in (0, -signal.SIGKILL)


async def test_leaving_the_block_kills_it(null: int) -> None:
    command = [BASH, "--norc", "-c", "trap '' TERM INT HUP; while :; do :; done"]
    async with sandbox.confined(command, stdin=null, stdout=null, limits=LIMITS) as process:
        assert process.returncode is None
    assert process.returncode == -signal.SIGKILL


async def test_it_can_gain_no_rights_and_lives_in_a_network_of_its_own(null: int, whole_sandbox: None) -> None:
    command = [BASH, "--norc", "-c", "echo up >&2; while :; do :; done"]
    async with sandbox.confined(command, stdin=null, stdout=null, limits=LIMITS) as process:
        assert await anext(sandbox.lines(process)) == "up"
        child = Path(f"/proc/{process.pid}")
        status = dict(line.split(":\t", 1) for line in (child / "status").read_text().splitlines())
        assert status["NoNewPrivs"] == "1"
        assert int(status["CapEff"], 16) == 0
        assert os.getpgid(process.pid) == process.pid
        for namespace in ("net", "user", "ipc"):
            assert (child / "ns" / namespace).readlink() != Path(f"/proc/self/ns/{namespace}").readlink()


async def test_what_a_decoder_says_is_never_taken_for_the_sandbox(null: int, caplog: pytest.LogCaptureFixture) -> None:
    command = [BASH, "--norc", "-c", "echo up >&2; echo sandbox: a title >&2"]
    async with sandbox.confined(command, stdin=null, stdout=null, limits=LIMITS) as process:
        assert [line async for line in sandbox.lines(process)] == ["up", "sandbox: a title"]
    assert "title" not in caplog.text


async def test_endless_talk_without_a_line_end_takes_no_memory(null: int) -> None:
    script = "for ((i = 0; i < 300; i++)); do printf '%010000d' 0 >&2; done; echo >&2; echo last >&2"
    command = [BASH, "--norc", "-c", script]
    tracemalloc.start()
    async with sandbox.confined(command, stdin=null, stdout=null, limits=LIMITS) as process:
        said = [line async for line in sandbox.lines(process)]
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [len(line) for line in said] == [sandbox.LONGEST_LINE, 4]
    assert peak_bytes < 1_000_000  # of 3,000,000 said


async def test_what_cannot_be_started_says_so(tmp_path: Path, null: int) -> None:
    command = [str(tmp_path / "absent")]
    async with sandbox.confined(command, stdin=null, stdout=null, limits=LIMITS) as process:
        assert [line async for line in sandbox.lines(process)] == []
        assert await process.wait() == confine.NOT_STARTED


ORPHAN = f"""
import asyncio, os, sys
from media import sandbox
async def main():
    null = os.open(os.devnull, os.O_RDWR)
    command = ["{BASH}", "--norc", "-c", "echo up >&2; while :; do :; done"]
    limits = sandbox.Limits({LIMITS.memory_bytes}, 60, 1000)
    async with sandbox.confined(command, stdin=null, stdout=null, limits=limits) as process:
        async for _ in sandbox.lines(process):
            print(process.pid, flush=True)
asyncio.run(main())
"""


async def test_it_dies_with_its_parent() -> None:
    parent = subprocess.Popen(  # noqa: ASYNC220  # it is read with a plain pipe, and only once
        [sys.executable, "-c", ORPHAN], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    with parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(await asyncio.to_thread(parent.stdout.readline)))
        parent.kill()
    ended, _, _ = await asyncio.to_thread(select.select, [child], [], [], 30)
    os.close(child)
    assert ended


class TestGrants:
    async def test_it_reads_below_the_folders_that_it_is_granted_only(
        self, tmp_path: Path, whole_sandbox: None
    ) -> None:
        for name in ("given", "secret"):
            (tmp_path / name / "below").mkdir(parents=True)
            (tmp_path / name / "below" / "file").write_text(f"{name}\n")
        script = f"for name in given secret; do read -r line < {tmp_path}/$name/below/file && echo $line; done; "
        script += f"echo x > {tmp_path}/given/new; for file in {tmp_path}/given/*; do echo ${{file##*/}}; done"
        assert await self._said(tmp_path, script, Grants(folders=(tmp_path / "given",))) == "given\nbelow\n"
        assert not (tmp_path / "given" / "new").exists()

    async def test_a_folder_that_is_not_there_is_passed_over(self, tmp_path: Path) -> None:
        assert await self._said(tmp_path, "echo up", Grants(folders=(tmp_path / "none",))) == "up\n"

    async def test_it_gets_the_variables_that_it_is_granted(self, tmp_path: Path) -> None:
        said = await self._said(tmp_path, "echo $NAME", Grants(environment={"NAME": "a=b --read=/"}))
        assert said == "a=b --read=/\n"

    async def test_it_opens_its_output_again_only_where_it_may(self, tmp_path: Path, whole_sandbox: None) -> None:
        script = "echo one; echo two >> /proc/self/fd/1"
        assert await self._said(tmp_path, script, Grants()) == "one\n"
        assert await self._said(tmp_path, script, Grants(reopen_output=True)) == "one\ntwo\n"

    async def test_it_finds_open_files_under_the_same_numbers(self, tmp_path: Path) -> None:
        opened = os.memfd_create("given")
        os.write(opened, b"told\n")
        try:
            script = f"read -r line < /proc/self/fd/{opened}; echo $line"
            assert await self._said(tmp_path, script, Grants(descriptors=(opened,))) == "told\n"
        finally:
            os.close(opened)

    async def _said(self, folder: Path, script: str, grants: Grants) -> str:
        null, output = os.open(os.devnull, os.O_RDONLY), folder / "out"
        with output.open("wb") as written:
            command = [BASH, "--norc", "-c", script]
            async with sandbox.confined(
                command, stdin=null, stdout=written.fileno(), limits=LIMITS, grants=grants
            ) as process:
                async for _ in sandbox.lines(process):
                    pass
                await process.wait()
        os.close(null)
        return output.read_text()
