"""The engine server with a stranger's models: memory, turns, crashes, cancels, and who may come in."""

import asyncio
import json
import os
import signal
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from domain.errors import EngineCrashed, EngineFailed, ModelMissing
from domain.transcript import Heard
from engines.contract import Engine, Hearing
from engines.wire import LONGEST_LINE, encode
from tests.engines.contract_suite import Recording
from tests.engines.harness import TOKEN, EngineServer, engine_server, gone, hear, text_of
from tests.support.waiting import eventually


def deed(name: str, **options: Any) -> Hearing:
    return Hearing(audio_seconds=1, options={"deed": name, **{key: str(value) for key, value in options.items()}})


async def until_heard(engine: Engine, recording: Recording, hearing: Hearing, started: asyncio.Event) -> list[Heard]:
    """Hear it all; `started` is set when the engine says its first word, so that its child is at work."""
    heard = []
    async for item in engine.transcribe(recording.path, hearing):
        heard.append(item)
        started.set()
    return heard


def release(pipe: Path) -> None:
    """Let the stranger that waits at `pipe` go on. Returns once it was there."""
    with pipe.open("w"):
        pass


async def test_a_model_found_by_entry_point_is_hosted_and_one_that_cannot_be_imported_harms_nobody(
    server: EngineServer, recording: Recording
) -> None:
    async with server.client() as source:
        reports = await source.reports()
    assert {"sphinx", "stranger", "twin", "whisper"} <= {name for name, report in reports.items() if report.available}
    assert not reports["broken"].available
    assert "AttributeError" in (reports["broken"].reason or "")
    async with server.engine("stranger") as engine:
        assert engine.name == "stranger", "the entry point names it, not its report"
        assert text_of(await hear(engine, recording.path, deed("none"))).endswith("and after")


async def test_a_model_is_loaded_once_for_many_jobs_of_many_workers(server: EngineServer, recording: Recording) -> None:
    async with server.engine("stranger") as one, server.engine("stranger") as other:
        for _ in range(3):
            await asyncio.gather(*(hear(engine, recording.path, deed("none")) for engine in (one, other)))
    assert await server.loads("stranger") == 1


async def test_what_a_library_prints_disturbs_nobody(server: EngineServer, recording: Recording) -> None:
    async with server.engine("stranger") as engine:
        heard = await hear(engine, recording.path, deed("none"))
    assert len(heard) == 3, "the printed `done` did not end the job"


async def test_nothing_in_the_working_directory_takes_the_place_of_a_module(
    stranger_path: str, recording: Recording, tmp_path: Path
) -> None:
    (tmp_path / "ctypes.py").write_text("raise SystemExit('a file of the user was run')")
    async with (
        engine_server(flags=("-P",), cwd=tmp_path, PYTHONPATH=stranger_path) as server,
        server.engine("stranger") as engine,
    ):
        assert await hear(engine, recording.path, deed("none"))


async def test_an_unused_model_leaves_memory(stranger_path: str, recording: Recording) -> None:
    async with engine_server(PYTHONPATH=stranger_path, PROCESS_IDLE_TIMEOUT_MIN="0.02") as server:
        async with server.engine("stranger") as engine:
            await hear(engine, recording.path, deed("none"))
            await gone(await server.pid("stranger"))
            assert await server.loaded("stranger") == []
            await hear(engine, recording.path, deed("none"))
        assert await server.loads("stranger") == 2


async def test_what_is_in_memory_is_told_with_its_size_and_its_end(
    stranger_path: str, recording: Recording, pipe: Path
) -> None:
    async with (
        engine_server(PYTHONPATH=stranger_path, PROCESS_IDLE_TIMEOUT_MIN="10") as server,
        server.engine("stranger") as engine,
    ):
        assert (await server.report("stranger")).memory == (), "nothing is loaded before the first job"
        before = datetime.now(UTC)
        await hear(engine, recording.path, deed("none"))
        (idle,) = await server.loaded("stranger")
        assert not idle.busy
        assert idle.unloads_at is not None
        assert before + timedelta(minutes=10) <= idle.unloads_at <= datetime.now(UTC) + timedelta(minutes=10)
        started = asyncio.Event()
        job = asyncio.create_task(until_heard(engine, recording, deed("grow", pipe=pipe), started))
        await started.wait()
        (busy,) = await server.loaded("stranger")
        assert (busy.busy, busy.unloads_at) == (True, None)
        with pipe.open("w"):
            (grown,) = await server.loaded("stranger")
        await job
    assert idle.resident_bytes is not None
    assert 10 << 20 < idle.resident_bytes < 1 << 30, "a bare interpreter with our modules"
    assert grown.resident_bytes is not None
    assert grown.resident_bytes > idle.resident_bytes + (100 << 20), "what it has started counts too"


async def test_jobs_in_hand_and_in_line_are_counted_by_engine(
    server: EngineServer, recording: Recording, pipe: Path
) -> None:
    assert (await server.report("stranger")).load == 0
    async with server.engine("stranger") as engine, server.http() as client:
        started = asyncio.Event()
        job = asyncio.create_task(until_heard(engine, recording, deed("wait", pipe=pipe), started))
        await started.wait()
        async with aclosing(events_of(client, "stranger", recording, deed("none"))) as events:
            assert (await anext(events))["event"] == "queued"
            assert (await server.report("stranger")).load == 2
        assert (await server.report("twin")).load == 0
        await asyncio.to_thread(release, pipe)
        await job
        assert (await server.report("stranger")).load == 0


async def test_the_model_unused_for_longest_makes_room(stranger_path: str, recording: Recording) -> None:
    async with (
        engine_server(PYTHONPATH=stranger_path, ENGINE_MAX_LOADED_MODELS="1") as server,
        server.engine("stranger") as engine,
        server.engine("twin") as twin,
    ):
        await hear(engine, recording.path, deed("none"))
        first = await server.pid("stranger")
        await hear(twin, recording.path, deed("none"))
        with pytest.raises(ProcessLookupError):
            os.kill(first, 0)
        assert await server.loaded("stranger") == []


async def test_a_job_waits_for_room_while_all_models_work(stranger_path: str, recording: Recording, pipe: Path) -> None:
    async with (
        engine_server(PYTHONPATH=stranger_path, ENGINE_MAX_LOADED_MODELS="1") as server,
        server.engine("stranger") as engine,
        server.engine("twin") as twin,
    ):
        started = asyncio.Event()
        first = asyncio.create_task(until_heard(engine, recording, deed("wait", pipe=pipe), started))
        await started.wait()
        second = asyncio.create_task(hear(twin, recording.path, deed("none")))
        await asyncio.to_thread(release, pipe)
        assert text_of(await first).endswith("and after")
        assert text_of(await second).endswith("and after")


async def test_jobs_for_one_model_take_turns_in_the_order_they_came(
    server: EngineServer, recording: Recording, pipe: Path
) -> None:
    later = pipe.with_name("later")
    os.mkfifo(later)

    async def stand_in_line(hearing: Hearing, ahead: int, queued: asyncio.Event, started: asyncio.Event) -> None:
        async with server.http() as client:
            async for event in events_of(client, "stranger", recording, hearing):
                if event["event"] == "queued" and not queued.is_set():
                    assert event["ahead"] == ahead
                    queued.set()
                if event["event"] == "started":
                    started.set()

    async with server.engine("stranger") as engine, asyncio.TaskGroup() as jobs:
        started = [asyncio.Event() for _ in range(3)]
        queued = [asyncio.Event() for _ in range(3)]
        jobs.create_task(until_heard(engine, recording, deed("wait", pipe=pipe), started[0]))
        await started[0].wait()
        jobs.create_task(stand_in_line(deed("wait", pipe=later), 1, queued[1], started[1]))
        await queued[1].wait()
        jobs.create_task(stand_in_line(deed("none"), 2, queued[2], started[2]))
        await queued[2].wait()
        await asyncio.to_thread(release, pipe)
        await started[1].wait()
        assert not started[2].is_set()
        await asyncio.to_thread(release, later)


async def test_a_child_killed_in_the_middle_costs_its_own_job_and_no_other(
    server: EngineServer, recording: Recording, pipe: Path
) -> None:
    async with server.engine("stranger") as engine:
        started = asyncio.Event()
        job = asyncio.create_task(until_heard(engine, recording, deed("wait", pipe=pipe), started))
        await started.wait()
        waiting = asyncio.create_task(hear(engine, recording.path, deed("none")))
        os.kill(await server.pid("stranger"), signal.SIGKILL)
        with pytest.raises(EngineCrashed, match="out of memory") as caught:
            await job
        assert caught.value.retryable
        assert text_of(await waiting).endswith("and after")
    assert await server.loads("stranger") == 2


async def test_a_child_that_died_while_idle_costs_no_job(server: EngineServer, recording: Recording) -> None:
    async with server.engine("stranger") as engine:
        await hear(engine, recording.path, deed("none"))
        pid = await server.pid("stranger")
        os.kill(pid, signal.SIGKILL)
        await gone(pid)
        assert text_of(await hear(engine, recording.path, deed("none"))).endswith("and after")


@pytest.mark.parametrize(
    ("what", "error", "words"),
    [
        ("crash", EngineCrashed, "SIGSEGV"),
        ("exhaust", EngineCrashed, "out of memory"),
        ("blunder", EngineFailed, "ValueError"),
    ],
)
async def test_a_failure_nobody_foresaw_is_retryable_and_gets_a_fresh_child(
    server: EngineServer, recording: Recording, what: str, error: type[EngineFailed], words: str
) -> None:
    async with server.engine("stranger") as engine:
        with pytest.raises(error, match=words) as caught:
            await hear(engine, recording.path, deed(what))
        assert caught.value.retryable
        assert type(caught.value) is error
        assert "secret" not in str(caught.value)
        await hear(engine, recording.path, deed("none"))
    assert await server.loads("stranger") == 2


async def test_a_refusal_keeps_the_model_and_its_own_words(server: EngineServer, recording: Recording) -> None:
    async with server.engine("stranger") as engine:
        with pytest.raises(EngineFailed, match="not this one") as caught:
            await hear(engine, recording.path, deed("refuse"))
        assert not caught.value.retryable
        await hear(engine, recording.path, deed("none"))
    assert await server.loads("stranger") == 1


async def test_a_client_that_leaves_ends_work_in_native_code(
    server: EngineServer, recording: Recording, pipe: Path
) -> None:
    async with server.engine("stranger") as engine:
        started = asyncio.Event()
        job = asyncio.create_task(until_heard(engine, recording, deed("wait", pipe=pipe), started))
        await started.wait()
        child = await server.pid("stranger")
        job.cancel()
        await gone(child)
        assert text_of(await hear(engine, recording.path, deed("none"))).endswith("and after")


async def test_a_client_that_leaves_between_two_words_leaves_the_model_loaded(
    server: EngineServer, recording: Recording
) -> None:
    async with server.engine("stranger") as engine:
        async with aclosing(engine.transcribe(recording.path, deed("chatter"))) as heard:
            await anext(heard)
        await hear(engine, recording.path, deed("none"))
    assert await server.loads("stranger") == 1


async def test_a_client_that_leaves_the_line_holds_up_nobody(
    server: EngineServer, recording: Recording, pipe: Path
) -> None:
    async with server.engine("stranger") as engine, server.http() as client:
        started = asyncio.Event()
        job = asyncio.create_task(until_heard(engine, recording, deed("wait", pipe=pipe), started))
        await started.wait()
        async with aclosing(events_of(client, "stranger", recording, deed("none"))) as events:
            assert (await anext(events))["event"] == "queued"
        last = asyncio.create_task(hear(engine, recording.path, deed("none")))
        await asyncio.to_thread(release, pipe)
        await job
        assert text_of(await last).endswith("and after")


async def test_a_server_that_is_killed_takes_its_children_along_and_the_next_one_sweeps_up(
    stranger_path: str, recording: Recording, tmp_path: Path
) -> None:
    environ = {"PYTHONPATH": stranger_path, "TMP_DIR": str(tmp_path / "work")}
    async with engine_server(**environ) as server, server.engine("stranger") as engine:
        started = asyncio.Event()
        job = asyncio.create_task(until_heard(engine, recording, deed("hog"), started))
        await started.wait()
        child = await server.pid("stranger")
        server.process.kill()
        await gone(child)
        with pytest.raises(EngineFailed) as caught:
            await job
        assert caught.value.retryable
    assert recordings_in(tmp_path / "work"), "a killed server can remove nothing"
    async with engine_server(**environ):
        assert not recordings_in(tmp_path / "work")


async def test_a_server_leaves_the_recordings_of_another_that_lives(
    stranger_path: str, recording: Recording, pipe: Path, tmp_path: Path
) -> None:
    environ = {"PYTHONPATH": stranger_path, "TMP_DIR": str(tmp_path / "work")}
    async with engine_server(**environ) as server, server.engine("stranger") as engine:
        started = asyncio.Event()
        job = asyncio.create_task(until_heard(engine, recording, deed("wait", pipe=pipe), started))
        await started.wait()
        async with engine_server(**environ):
            assert len(recordings_in(tmp_path / "work")) == 1
        await asyncio.to_thread(release, pipe)
        await job
        await eventually(lambda: not recordings_in(tmp_path / "work"))


async def test_a_server_that_is_asked_to_stop_ends_running_jobs_soon(
    server: EngineServer, recording: Recording, pipe: Path
) -> None:
    async with server.engine("stranger") as engine:
        started = asyncio.Event()
        job = asyncio.create_task(until_heard(engine, recording, deed("wait", pipe=pipe), started))
        await started.wait()
        child = await server.pid("stranger")
        server.process.terminate()
        with pytest.raises(EngineFailed) as caught:
            await job
        assert caught.value.retryable
        await gone(child)


async def test_only_who_has_the_token_comes_in(server: EngineServer, recording: Recording) -> None:
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as stranger:
        assert (await stranger.get("/health")).status_code == 200
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN[:-1]}):
            assert (await stranger.get("/models", headers=headers)).status_code == 401
            answer = await stranger.post("/transcribe/stranger", headers=headers, content=recording.path.read_bytes())
            assert answer.status_code == 401
    async with server.client(ENGINE_SERVER_TOKEN="wrong") as source:
        assert await source.engines() == []
    async with server.engine("stranger") as engine:
        await hear(engine, recording.path, deed("none"))


async def test_without_a_token_it_keeps_to_itself(stranger_path: str) -> None:
    async with (
        engine_server(ENGINE_SERVER_TOKEN="", PYTHONPATH=stranger_path) as server,
        httpx.AsyncClient(base_url=server.url, trust_env=False) as client,
    ):
        assert (await client.get("/models")).status_code == 200
        rebound = await client.get("/models", headers={"Host": "a-web-page.example"})
        assert rebound.status_code == 400
    with pytest.raises(AssertionError, match="did not start"):
        async with engine_server("--host", "0.0.0.0", ENGINE_SERVER_TOKEN=""):
            pass


@pytest.mark.parametrize(("engine", "model"), [("nobody", None), ("stranger", "large"), ("whisper", "/etc")])
async def test_what_is_not_announced_cannot_be_asked_for(
    server: EngineServer, recording: Recording, engine: str, model: str | None
) -> None:
    async with server.http() as client:
        hearing = Hearing(audio_seconds=1, model=model)
        answer = await client.post(f"/transcribe/{engine}", content=encode(hearing) + recording.path.read_bytes())
    assert answer.status_code == 404
    assert answer.json()["code"] == ModelMissing.code
    assert not answer.json()["retryable"]


async def test_a_malformed_order_is_refused(server: EngineServer) -> None:
    async with server.http() as client:
        for body in (b"", b"[]\n", b'{"audio_seconds": -1}\nRIFF', bytes(LONGEST_LINE + 1)):
            assert (await client.post("/transcribe/stranger", content=body)).status_code == 422


def recordings_in(folder: Path) -> list[Path]:
    return list(folder.rglob("*.wav"))


async def events_of(client: httpx.AsyncClient, engine: str, recording: Recording, hearing: Hearing) -> Any:
    """The server's own words, as `curl -N` would see them."""
    body = encode(hearing) + recording.path.read_bytes()
    async with client.stream("POST", f"/transcribe/{engine}", content=body) as response:
        assert response.status_code == 200
        async for line in response.aiter_lines():
            yield json.loads(line)
