"""Seed 001, the native contract, as its document has it: its commands, answers, settings, tables and keys."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
import yaml  # type: ignore[import-untyped]
from redis.asyncio import Redis

from config.load import load_settings
from config.settings import Settings
from domain.capabilities import EngineReport, ModelReport
from domain.transcript import Heard, Progress, Segment
from engines.contract import Hearing
from services import engine_reports
from services.platform import Platform
from tests.api.conftest import JOBS, serving, vouching
from tests.conftest import ROOT
from tests.support.audio import tone
from tests.support.scripted import ScriptedEngine
from tests.support.servers import PostgresServer, RedisServer
from tests.support.waiting import eventually

FILE = {"file": ("audio.mp3", tone(1.0), "audio/mpeg")}
SESSION = "550e8400-e29b-41d4-a716-446655440000"
ADDRESS = "http://localhost:8000"
CONTEXT = "medical-context-uuid"

COMMANDS = (
    f"""curl -X POST "{ADDRESS}/api/transcribe/jobs/transcribe" \\
  -F "file=@audio.mp3" \\
  -F "engine=asr" \\
  -F "language=en-US"
""",
    f"""curl -X POST "{ADDRESS}/api/transcribe/jobs/transcribe" \\
  -F "file=@audio.mp3" \\
  -F "session_id={SESSION}" \\
  -F "engine=asr" \\
  -F "language=en-US"
""",
    f"""curl -X POST "{ADDRESS}/api/transcribe/jobs/transcribe/asr" \\
  -F "file=@medical-consultation.mp3" \\
  -F "session_id={SESSION}" \\
  -F "context_id={CONTEXT}" \\
  -F "language=en-US"
""",
    f"""curl -X POST "{ADDRESS}/api/transcribe/jobs/transcribe/whisperx" \\
  -F "file=@podcast.mp3" \\
  -F "session_id={SESSION}" \\
  -F "model=medium" \\
  -F "language=en" \\
  -F "enable_diarization=true" \\
  -F "min_speakers=2" \\
  -F "max_speakers=4"
""",
)
"""Sign by sign; only the address, and the context's placeholder, are put in."""

SIZES = ("tiny", "base", "small", "medium", "large-v2", "large-v3")

ASR = EngineReport(
    engine="asr",
    available=True,
    quality=50,
    languages=("en-US", "pt-BR"),
    default_language="en-US",
    diarizes=True,
    boosts_words=True,
)
WHISPERX = EngineReport(
    engine="whisperx",
    available=True,
    quality=60,
    detects_language=True,
    diarizes=True,
    speakers_unasked=True,
    models=tuple(ModelReport(name=name, state="ready") for name in SIZES),
    default_model="base",
)

Answer = dict[str, Any]
Work = Callable[..., Awaitable[None]]


@pytest.fixture(scope="module")
def settings(environ: dict[str, str]) -> Settings:
    """Nothing is said of the engine, as in the seed's own default."""
    return load_settings({name: value for name, value in environ.items() if name != "DEFAULT_TRANSCRIPTION_ENGINE"})


@pytest.fixture(scope="module")
async def url(settings: Settings, platform: Platform) -> AsyncIterator[str]:
    await engine_reports.record(platform, worker="worker-1", reports=[ASR, WHISPERX])
    async with vouching(platform), serving(settings) as url:
        yield url


async def submit(client: httpx.AsyncClient, route: str = "", **fields: str) -> Answer:
    response = await client.post(f"{JOBS}/transcribe{route}", data=fields, files=FILE)
    assert response.status_code == 202, response.text
    answer: Answer = response.json()
    return answer


async def status(client: httpx.AsyncClient, job_id: str) -> Answer:
    answer: Answer = (await client.get(f"{JOBS}/status/{job_id}")).json()
    return answer


# Submitting


@pytest.mark.parametrize("command", COMMANDS, ids=["generic", "with a session", "asr", "whisperx"])
async def test_the_seeds_commands_run_as_written(
    client: httpx.AsyncClient, url: str, tmp_path: Path, command: str
) -> None:
    context = (await client.post("/api/contexts", json={"name": "medical", "terms": []})).json()["context_id"]
    for name in ("audio.mp3", "medical-consultation.mp3", "podcast.mp3"):
        (tmp_path / name).write_bytes(tone(1.0))
    said = command.replace(ADDRESS, url).replace(CONTEXT, context)
    shell = ["sh", "-c", said.replace("curl ", "curl --silent --show-error ")]
    done = await asyncio.to_thread(subprocess.run, shell, cwd=tmp_path, capture_output=True, check=True)
    answer = json.loads(done.stdout)
    assert answer["status"] == "queued", answer
    known = await status(client, answer["job_id"])
    assert known.get("session_id") == (SESSION if SESSION in command else None)


async def test_a_job_is_answered_word_for_word_as_documented(client: httpx.AsyncClient) -> None:
    answer = await submit(client, engine="asr", language="en-US")
    assert UUID(answer.pop("job_id")) != UUID(answer.pop("transcript_id"))
    assert answer == {"engine": "asr", "status": "queued", "message": "ASR transcription job enqueued successfully"}


async def test_without_an_engine_it_is_asr_and_without_a_language_english(
    client: httpx.AsyncClient, work: Work, settings: Settings
) -> None:
    answer = await submit(client)
    assert answer["engine"] == "asr"
    engine = ScriptedEngine(name="asr", report=ASR)
    await work(answer["job_id"], engine)
    assert engine.heard[0].language == settings.engines.riva_language == "en-US"


@pytest.mark.parametrize("model", SIZES)
async def test_whisperx_takes_each_of_its_models(client: httpx.AsyncClient, work: Work, model: str) -> None:
    answer = await submit(client, "/whisperx", model=model, language="pt")
    engine = ScriptedEngine(name="whisperx", report=WHISPERX)
    await work(answer["job_id"], engine)
    assert (engine.heard[0].model, engine.heard[0].language) == (model, "pt")


async def test_whisperx_is_asked_for_speakers_unless_told_not_to(client: httpx.AsyncClient, work: Work) -> None:
    asked = []
    for said in ({}, {"enable_diarization": "false"}, {"min_speakers": "2", "max_speakers": "4"}):
        engine = ScriptedEngine(name="whisperx", report=WHISPERX)
        await work((await submit(client, "/whisperx", **said))["job_id"], engine)
        hearing = engine.heard[0]
        asked.append((hearing.enable_diarization, hearing.min_speakers, hearing.max_speakers, hearing.language))
    assert asked == [(None, None, None, None), (False, None, None, None), (None, 2, 4, None)]


# Watching


async def test_a_job_under_way_reads_as_documented(client: httpx.AsyncClient, work: Work) -> None:
    """The seed's very answer, and what came later beside it."""
    go_on = asyncio.Event()

    async def nearly_half(_: Path, hearing: Hearing) -> AsyncIterator[Heard]:
        yield Progress(stage="transcribe", done=0.45 * hearing.audio_seconds, total=hearing.audio_seconds)
        await go_on.wait()

    answer = await submit(client, engine="asr")
    working = asyncio.create_task(work(answer["job_id"], ScriptedEngine(nearly_half, name="asr", report=ASR)))
    documented = {
        "job_id": answer["job_id"],
        "status": "processing",
        "progress": 45,
        "transcript_id": answer["transcript_id"],
        "worker_id": "worker-1",
        "message": "Transcribing with ASR",
    }

    async def reads_so() -> bool:
        return documented.items() <= (await status(client, answer["job_id"])).items()

    await eventually(reads_so)
    go_on.set()
    await working


async def test_a_completed_job_reads_as_documented_also_when_redis_has_forgotten_it(
    client: httpx.AsyncClient, work: Work, redis: RedisServer
) -> None:
    answer = await submit(client, engine="asr")
    await work(answer["job_id"], ScriptedEngine(name="asr", report=ASR))
    documented = {
        "job_id": answer["job_id"],
        "status": "completed",
        "progress": 100,
        "transcript_id": answer["transcript_id"],
        "result": {"segments_count": 3, "duration": 1.0},
    }
    assert documented.items() <= (await status(client, answer["job_id"])).items()
    async with Redis.from_url(redis.url) as cli:
        await cli.flushdb()
    assert documented.items() <= (await status(client, answer["job_id"])).items()


async def test_the_stream_is_messages_with_status_and_progress_up_to_completed(
    client: httpx.AsyncClient, work: Work
) -> None:
    """As an EventSource hears it whose `onmessage` looks at nothing else."""
    answer = await submit(client, engine="asr")
    told: list[tuple[str, int]] = []
    async with client.stream("GET", f"{JOBS}/stream/{answer['job_id']}") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        working = asyncio.create_task(work(answer["job_id"], ScriptedEngine(name="asr", report=ASR)))
        async for line in stream.aiter_lines():
            field, _, value = line.partition(": ")
            assert field in ("", "id", "data"), "a named event never reaches onmessage"
            if field == "data":
                event = json.loads(value)
                told.append((event["status"], event["progress"]))
    await working
    assert told[0] == ("queued", 0)
    assert told[-1] == ("completed", 100)
    assert [each for each, _ in told].count("completed") == 1, "a client closes at the first"


# Reading


async def test_a_result_has_every_documented_field(client: httpx.AsyncClient, work: Work, url: str) -> None:
    said = "Good morning, how are you feeling?"

    async def greets(_: Path, __: Hearing) -> AsyncIterator[Heard]:
        yield Segment(start=0.0, end=0.9, text=said, speaker_tag=0, confidence=0.95)

    answer = await submit(client, engine="asr", language="en-US")
    await work(answer["job_id"], ScriptedEngine(greets, name="asr", report=ASR))
    result = (await client.get(f"{JOBS}/result/{answer['job_id']}")).json()
    documented = {
        "job_id": answer["job_id"],
        "transcript_id": answer["transcript_id"],
        "status": "completed",
        "filename": "audio.mp3",
        "language": "en-US",
        "duration": 1.0,
    }
    assert documented.items() <= result.items()
    assert result["audio_url"].startswith(url)
    assert isinstance(result["speaker_roles"], dict)
    (segment,) = result["segments"]
    spoken = {"start": 0.0, "end": 0.9, "text": said, "speaker_tag": 0, "confidence": 0.95}
    assert spoken.items() <= segment.items()


# Settings


def test_the_settings_have_the_seeds_names_and_defaults() -> None:
    settings = load_settings({"DATABASE_URL": "postgresql://h/d", "REDIS_URL": "redis://redis:6379/0"})
    engines = settings.engines
    assert engines.default_engine == "asr"
    assert settings.redis.job_ttl_seconds == 3600
    assert (settings.storage.bucket, settings.storage.use_ssl) == ("transcriptions", False)
    assert (engines.riva_model, engines.riva_language) == ("parakeet-0-6b-ctc-en-us", "en-US")
    assert (engines.whisperx_models, engines.whisperx_model) == (SIZES, "base")
    assert engines.silence_timeout_seconds == 300
    assert settings.api.max_file_size_bytes == 100_000_000
    assert settings.storage.link_ttl_seconds == 3600
    assert settings.retention.audio_hours == 24


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("MAX_FILE_SIZE", "200000000", lambda settings: settings.api.max_file_size_bytes == 200_000_000),
        ("REDIS_JOB_TTL", "7200", lambda settings: settings.redis.job_ttl_seconds == 7200),
    ],
)
def test_what_troubleshooting_says_to_raise_is_raised(name: str, value: str, found: Callable[[Settings], bool]) -> None:
    needed = {"DATABASE_URL": "postgresql://h/d", "REDIS_URL": "redis://redis:6379/0"}
    assert found(load_settings(needed | {name: value}))


# What lies behind it

COLUMNS = {
    "id": ("uuid", "NO", None),
    "transcript_id": ("uuid", "NO", None),
    "job_id": ("text", "NO", None),
    "engine": ("text", "NO", None),
    "engine_params": ("jsonb", "NO", "'{}'::jsonb"),
    "worker_id": ("text", "YES", None),
    "attempts": ("integer", "NO", "0"),
    "max_retries": ("integer", "NO", "3"),
    "started_at": ("timestamp with time zone", "YES", None),
    "completed_at": ("timestamp with time zone", "YES", None),
    "error_details": ("jsonb", "YES", None),
    "created_at": ("timestamp with time zone", "NO", "now()"),
    "updated_at": ("timestamp with time zone", "NO", "now()"),
}


async def test_the_table_of_jobs_has_the_seeds_columns(database: str) -> None:
    connection = await asyncpg.connect(database)
    try:
        rows = await connection.fetch(
            "SELECT column_name, data_type, is_nullable, column_default FROM information_schema.columns"
            " WHERE table_name = 'transcript_jobs'"
        )
    finally:
        await connection.close()
    found = {name: (kind, nullable, default) for name, kind, nullable, default in map(tuple, rows)}
    assert {name: found.get(name) for name in COLUMNS} == COLUMNS


async def test_alembic_is_used_as_documented(postgres: PostgresServer) -> None:
    name = await postgres.create_database("template0")
    environ = {"PATH": os.environ["PATH"], "DATABASE_URL": postgres.url_of("escriba_owner", name)}
    connection = await asyncpg.connect(postgres.url_of("postgres", name))
    await connection.execute("ALTER SCHEMA public OWNER TO escriba_owner")
    await connection.close()

    async def alembic(command: str) -> str:
        argv = [sys.executable, "-m", "alembic", *command.split()]
        done = await asyncio.to_thread(
            subprocess.run, argv, cwd=ROOT, env=environ, capture_output=True, text=True, check=True
        )
        return done.stdout

    try:
        await alembic("upgrade head")
        assert "(head)" in await alembic("current")
    finally:
        await postgres.drop_database(name)


def test_workers_are_scaled_by_compose_as_documented() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.dev.yml").read_text())["services"]
    assert {"api", "worker", "postgres", "redis", "objects"} <= services.keys()
    assert not {"container_name", "ports"} & services["worker"].keys(), "there may be only one of these"


def test_compose_logs_in_as_nobody_who_sees_everything() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.dev.yml").read_text())["services"]
    superuser = services["postgres"]["environment"]["POSTGRES_USER"]
    for name in ("api", "worker"):
        found = services[name]["environment"]
        assert not re.match(rf"postgresql://{superuser}:", found["DATABASE_URL"])
        assert "DATABASE_MIGRATION_URL" not in found


async def test_an_unknown_job_is_not_found(client: httpx.AsyncClient) -> None:
    for path in (f"status/{uuid4()}", f"stream/{uuid4()}", f"result/{uuid4()}"):
        answer = await client.get(f"{JOBS}/{path}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "job_not_found")
