"""What benches measure with: engines that cost nothing, streams that are only listened to, clocks of processes."""

import asyncio
import os
import re
import subprocess
import sys
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from time import process_time
from types import ModuleType

import psutil
import pytest

from bench import stubs
from bench.listening import EVENT, listening
from bench.plugin import installed, replace
from bench.processes import cpu_seconds
from engines.contract import Hearing

FIND = """
from importlib.metadata import entry_points
print(*sorted(e.value for g in ("escriba.engines", "escriba.models") for e in entry_points(group=g)
              if e.name.startswith("bench")))
"""


def test_engines_of_a_bench_are_found_by_the_processes_that_it_starts_and_by_no_others() -> None:
    with installed(stubs.SOURCE) as environ:
        found = subprocess.run([sys.executable, "-c", FIND], env=environ, capture_output=True, check=True).stdout
    left = subprocess.run([sys.executable, "-c", FIND], env=environ, capture_output=True, check=True).stdout
    assert (found.decode().split(), left.split()) == (["bench.stubs:StubModel", "bench.stubs:Stubs"], [])


def test_a_function_is_replaced_wherever_it_was_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    def original() -> None: ...
    def other() -> None: ...

    modules = [ModuleType(name) for name in ("first", "second")]
    for module in modules:
        vars(module)["original"] = original
        monkeypatch.setitem(sys.modules, module.__name__, module)
    replace(original, other)
    assert all(vars(module)["original"] is other for module in modules)


async def test_a_stub_hears_as_many_at_once_as_it_is_told(tmp_path: Path) -> None:
    engine, busy, most = stubs.Stub(seconds=0.001, at_once=2), 0, 0

    async def hear() -> None:
        nonlocal busy, most
        async for item in engine.transcribe(tmp_path, Hearing(audio_seconds=1)):
            if hasattr(item, "stage"):
                busy += 1
                most = max(most, busy)
            else:
                busy -= 1

    await asyncio.gather(*(hear() for _ in range(6)))
    assert (most, busy) == (2, 0)


async def test_the_stub_s_decoder_writes_the_second_of_silence_that_it_tells_of(
    tmp_path: Path,
) -> None:
    made = stubs._decoder(0)
    decoded = await made(tmp_path / "source", tmp_path / "audio.wav", None)
    with wave.open(str(tmp_path / "audio.wav")) as sound:
        shape = (sound.getnchannels(), sound.getframerate(), sound.getnframes())
    assert (decoded.seconds, shape) == (1.0, (1, 16_000, 16_000))


@pytest.fixture
async def server() -> AsyncIterator[tuple[str, int]]:
    """Says two events together, and a third behind a look at the request."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\ndata: tick 1.\r\n\r\ndata: tick 2.\r\n\r\n")
        await writer.drain()
        if b"GET /breaks" not in asked:
            await reader.read(1)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening_server:
        host, port = listening_server.sockets[0].getsockname()[:2]
        yield host, port


async def test_every_sign_that_came_has_the_moment_of_its_bytes(server: tuple[str, int]) -> None:
    async with listening(server, "/stays", 3) as listeners:
        for listener in listeners:
            (first, first_at), (second, second_at) = listener.moments(re.compile(rb"tick (\d)\."))
            assert (first, second, first_at) == (b"1", b"2", second_at)
            assert await listener.first(EVENT) == first_at


async def test_a_stream_that_ends_before_the_sign_is_told_of(server: tuple[str, int]) -> None:
    async with listening(server, "/breaks") as [listener]:
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(listener.first(re.compile(b"tick 3")), 5)


def test_processor_time_is_that_of_the_work_done() -> None:
    own = [psutil.Process(os.getpid())]
    before, began = cpu_seconds(own), process_time()
    while process_time() - began < 0.05:
        sum(range(1000))
    assert cpu_seconds(own) - before >= 0.045
