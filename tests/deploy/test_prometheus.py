"""A real Prometheus scrapes a platform that is at work: every panel has something to show, no alert fails."""

import asyncio
import math
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from config.parenthood import die_with_parent
from tests.conftest import require_services
from tests.deploy.boards import DEPLOY, Query, queries
from tests.support.amqp_client import AmqpClient
from tests.support.audio import tone
from tests.support.broker import RabbitMQServer, is_installed
from tests.support.endpoints import OPEN
from tests.support.receiver import receiving
from tests.support.servers import free_port
from tests.support.waiting import eventually
from tests.support.whole import Whole, whole_platform

JOBS = "/api/transcribe/jobs"
CONFIG = (DEPLOY / "prometheus.yml").read_text()
TOKEN = "development-METRICS-TOKEN-0123456789"  # what deploy/prometheus.yml shows
WINDOW = "60s"


@contextmanager
def prometheus(folder: Path, address: str) -> Iterator[str]:
    """Debian's, with the configuration of deploy/, but for where it calls and how often: its URL."""
    program = shutil.which("prometheus")
    if program is None:
        assert not require_services(), "prometheus is missing: run `make ci-services`"
        pytest.skip("needs prometheus: run `make ci-services`")
    here = CONFIG.replace("api:8000", address).replace(": 15s", ": 1s")
    config, _, _ = here.partition("  - job_name: escriba-worker")
    (folder / "prometheus.yml").write_text(config)
    shutil.copy(DEPLOY / "alerts.yml", folder)
    port = free_port()
    process = subprocess.Popen(
        [program, "--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=warn",
         f"--web.listen-address=127.0.0.1:{port}"],
        cwd=folder, preexec_fn=die_with_parent(15),
    )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@asynccontextmanager
async def at_work(platform: Whole, broker: RabbitMQServer) -> AsyncIterator[None]:
    """With a webhook, a client that follows a job which no engine is there for, and a job every so often."""
    async with (
        receiving() as receiver,
        AmqpClient.connected(broker.url) as sender,
        httpx.AsyncClient(base_url=platform.url, timeout=60) as client,
    ):
        await client.post("/api/webhooks", json={"url": receiver.url})
        waiting = (await send(client, tone(1.0), engine="asr"))["job_id"]
        async with client.stream("GET", f"{JOBS}/stream/{waiting}") as stream:
            await anext(stream.aiter_lines())
            working = asyncio.create_task(keep_sending(client, sender))
            yield
            working.cancel()
            await asyncio.wait({working})


async def keep_sending(client: httpx.AsyncClient, sender: AmqpClient) -> None:
    """One that is heard, one that is none, one that is not there: each to its end, again and again."""
    while True:
        await sender.publish(b"no request")
        for recording in (tone(1.0), b"there is nothing to be heard in this"):
            job_id = (await send(client, recording, engine="sphinx"))["job_id"]
            async with client.stream("GET", f"{JOBS}/stream/{job_id}") as stream:
                async for _ in stream.aiter_lines():
                    pass
        await client.get(f"{JOBS}/status/{JOBS}")


async def send(client: httpx.AsyncClient, recording: bytes, **fields: str) -> dict[str, str]:
    answer = await client.post(f"{JOBS}/transcribe", data=fields, files={"file": ("a.wav", recording)})
    sent: dict[str, str] = answer.json()
    return sent


async def ask(server: str, path: str, **query: str) -> Any:
    async with httpx.AsyncClient(timeout=60) as client:
        answer = (await client.get(f"{server}/api/v1/{path}", params=query)).json()
    assert answer["status"] == "success", answer
    return answer["data"]


async def series(server: str, query: Query) -> int:
    """How many it has that are numbers."""
    found = (await ask(server, "query", query=query.within(WINDOW)))["result"]
    return sum(math.isfinite(float(each["value"][1])) for each in found)


@pytest.fixture
def broker() -> Iterator[RabbitMQServer]:
    if not is_installed() and not require_services():
        pytest.skip("needs rabbitmq-server: make ci-services")
    with RabbitMQServer() as server:
        yield server


@pytest.fixture
def platform(tmp_path: Path, broker: RabbitMQServer) -> Iterator[Whole]:
    # Whoever may read the jobs of this one may not read its metrics without the token.
    environ = {"METRICS_TOKEN": TOKEN, "INSECURE_NO_AUTH": "1", "RABBITMQ_URL": broker.url, **OPEN}
    with whole_platform(tmp_path / "home", **environ) as platform:
        yield platform


async def test_every_panel_shows_something_of_a_platform_at_work(
    platform: Whole, broker: RabbitMQServer, tmp_path: Path
) -> None:
    with prometheus(tmp_path, platform.url.removeprefix("http://")) as server:
        async with at_work(platform, broker):
            counts: dict[Query, int] = {}

            async def all_have_some() -> bool:
                missing = [query for query in queries() if not counts.get(query)]
                try:
                    counts.update({query: await series(server, query) for query in missing})
                except httpx.TransportError:  # not up yet
                    return False
                await asyncio.sleep(0.5)
                return all(counts.values())

            try:
                await eventually(all_have_some, within=240)
            finally:
                for query, count in counts.items():
                    print(f"{count:4} {query.board} / {query.panel}: {query.expression}")
            rules = [rule for group in (await ask(server, "rules"))["groups"] for rule in group["rules"]]
            assert {rule["name"]: rule["lastError"] for rule in rules if rule.get("lastError")} == {}
