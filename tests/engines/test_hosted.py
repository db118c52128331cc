"""The client of the engine server when the server, or an engine in it, does not do its part."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from config.load import load_settings
from domain.errors import EngineFailed, EngineSilent
from engines.hosted import FRESH_SECONDS, HostedEngines
from tests.engines.contract_suite import Recording
from tests.engines.harness import INFRASTRUCTURE, EngineServer, gone, hear, text_of
from tests.engines.test_server import deed, release, until_heard
from tests.support.hub import Hub


async def test_an_engine_that_says_nothing_for_too_long_is_given_up_and_ended(
    server: EngineServer, recording: Recording, pipe: Path
) -> None:
    async with server.engine("stranger", WHISPERX_TIMEOUT="0.3") as hasty, server.engine("stranger") as engine:
        await hear(engine, recording.path, deed("none"))
        child = await server.pid("stranger")
        with pytest.raises(EngineSilent) as caught:
            await hear(hasty, recording.path, deed("wait", pipe=pipe))
        assert caught.value.retryable
        await gone(child)
        assert text_of(await hear(engine, recording.path, deed("none"))).endswith("and after")


async def test_what_unicode_takes_for_the_end_of_a_line_is_text_like_any_other(
    server: EngineServer, recording: Recording
) -> None:
    said = "one\u2028two\u2029three\x85four\x0bfive\x0csix\x1cseven\r\neight\nnine"
    async with server.engine("stranger") as engine:
        assert text_of(await hear(engine, recording.path, deed("none", say=said))).endswith(said)


async def test_a_line_without_an_end_is_not_waited_for_in_memory(
    server: EngineServer, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engines.hosted.LONGEST_LINE", 1000)
    async with server.engine("stranger") as engine:
        with pytest.raises(EngineFailed, match="does not understand"):
            await hear(engine, recording.path, deed("none", say="x" * 5_000_000))


async def test_waiting_for_others_is_no_silence(server: EngineServer, recording: Recording, pipe: Path) -> None:
    async with (
        server.engine("stranger") as engine,
        server.engine("twin") as twin,
        server.client(WHISPERX_TIMEOUT="0.3") as hasty,
    ):
        first, second = asyncio.Event(), asyncio.Event()
        never = pipe.with_name("never")
        os.mkfifo(never)
        job = asyncio.create_task(until_heard(engine, recording, deed("wait", pipe=pipe), first))
        await first.wait()
        patient = asyncio.create_task(hear_from(hasty, "stranger", recording))
        await hear(twin, recording.path, deed("none"))
        with pytest.raises(EngineSilent):  # so the client's time has passed, and `patient` came before
            async for _ in hasty.transcribe("twin", recording.path, deed("wait", pipe=never)):
                second.set()
        assert second.is_set()
        assert not patient.done()
        await asyncio.to_thread(release, pipe)
        await job
        await patient


async def test_a_server_that_has_gone_is_remembered_and_said_to_be_away(
    server: EngineServer, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engines.hosted.FRESH_SECONDS", 0.0)
    async with server.client() as source:
        engines = {engine.name: engine for engine in await source.engines()}
        server.process.send_signal(signal.SIGKILL)
        await server.process.wait()
        report = await engines["stranger"].report()
        assert not report.available
        assert "ConnectError" in (report.reason or "")
        assert report.description == "a stranger's", "what is known of it stays"
        assert (report.load, report.memory) == (0, None), "what it had in hand does not"
        assert {engine.name for engine in await source.engines()} == set(engines)
        with pytest.raises(EngineFailed) as caught:
            await hear(engines["stranger"], recording.path, deed("none"))
        assert caught.value.retryable


async def test_a_server_that_stands_still_is_waited_for_no_longer_than_a_report_may_take(
    server: EngineServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engines.hosted.FRESH_SECONDS", 0.0)
    monkeypatch.setattr("engines.hosted.ANSWER_SECONDS", 0.2)
    async with server.client() as source:
        (engine,) = [engine for engine in await source.engines() if engine.name == "stranger"]
        server.process.send_signal(signal.SIGSTOP)
        report = await engine.report()
        server.process.send_signal(signal.SIGCONT)
    assert not report.available
    assert "TimeoutError" in (report.reason or "")


async def test_one_answer_serves_all_who_ask_at_once(server: EngineServer) -> None:
    assert FRESH_SECONDS > 0
    async with server.client() as source:
        engines = await source.engines()
        server.process.send_signal(signal.SIGKILL)
        await server.process.wait()
        assert all(
            report.available or report.engine in ("broken", "whisperx")
            for report in [await e.report() for e in engines]
        )


async def test_something_else_at_the_address_is_said_to_be_no_engine_server(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Hub("nobody/nothing", tmp_path) as hub:
        source = HostedEngines(load_settings({**INFRASTRUCTURE, "ENGINE_SERVER_URL": hub.url}))
        assert await source.engines() == []
        assert "no engine server" in caplog.text
        await source.close()


async def test_without_an_address_there_are_no_engines() -> None:
    source = HostedEngines(load_settings(INFRASTRUCTURE))
    assert await source.engines() == []
    await source.close()


async def hear_from(source: HostedEngines, engine: str, recording: Recording) -> None:
    async for _ in source.transcribe(engine, recording.path, deed("none")):
        pass
