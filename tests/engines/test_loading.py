"""A model that is being loaded for a job that nobody waits for any more."""

import asyncio
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from domain.transcript import Progress
from engines.contract import DOWNLOAD_STAGE
from engines.server.process import ModelProcess
from engines.wire import Said, encode
from tests.engines.contract_suite import Recording
from tests.engines.harness import engine_server, hear, text_of
from tests.engines.test_server import deed


async def test_one_that_hangs_is_ended_and_the_next_job_gets_its_place(
    stranger_path: str, recording: Recording, pipe: Path
) -> None:
    environ = {"PYTHONPATH": stranger_path, "MODELS_DIR": str(pipe.parent), "WHISPERX_TIMEOUT": "0.3"}
    async with engine_server(**environ) as server, server.engine("stranger") as engine:
        job = asyncio.create_task(hear(engine, recording.path, deed("none")))
        with await asyncio.to_thread(pipe.open, "w"):  # returns once the child waits at it
            pipe.unlink()
            job.cancel()
            async with asyncio.timeout(30):
                assert text_of(await hear(engine, recording.path, deed("none"))).endswith("and after")
        assert await server.loads("stranger") == 2


async def test_one_that_is_downloaded_lives_for_as_long_as_the_download_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, patience, passed = asyncio.get_running_loop(), 300.0, 0.0
    clock = loop.time
    monkeypatch.setattr(loop, "time", lambda: clock() + passed)
    repeats = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE, start_new_session=True)
    assert repeats.stdin is not None
    assert repeats.stdout is not None
    child = ModelProcess(repeats, repeats.stdout, repeats.stdin)
    settling = asyncio.create_task(child.settle(patience=patience))
    for megabytes in range(1, 4):
        await asyncio.sleep(0)
        passed += patience - 30
        download = Progress(stage=DOWNLOAD_STAGE, done=megabytes, total=9)
        repeats.stdin.write(encode(Said.of(download)))
        while child.download != download:
            assert not settling.done()
            await asyncio.sleep(0)
    passed += patience
    assert not await settling
    assert repeats.returncode is not None
