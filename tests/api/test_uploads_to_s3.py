"""Uploads past the API, to a real S3 server; and the script of the guide, which goes on after a break."""

import asyncio
import io
import sys
import wave
from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
import urllib3

from services import sending
from services.platform import Platform
from storage import layout
from tests.api.conftest import JOBS
from tests.conftest import ROOT
from tests.storage.conftest import swift as swift
from tests.support.audio import tone
from tests.support.swift import Swift

UPLOADS = "/api/transcribe/uploads"
PART = 5 << 20
"""The least that S3 takes."""

Work = Callable[..., Awaitable[None]]


@pytest.fixture(scope="module")
def environ(environ: dict[str, str], swift: Swift) -> dict[str, str]:
    store = {
        "MINIO_ENDPOINT": swift.endpoint,
        "MINIO_PUBLIC_ENDPOINT": swift.public_endpoint,
        "MINIO_ACCESS_KEY": swift.access_key,
        "MINIO_SECRET_KEY": swift.secret_key,
        "S3_REGION": swift.region,
        "MINIO_BUCKET_NAME": "uploads",
    }
    return {**environ, **store}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "part_bytes_of", lambda size: PART)


@pytest.fixture(scope="module")
def recording() -> bytes:
    """A tone that takes three parts."""
    with wave.open(io.BytesIO(tone(1.0))) as second:
        frames = second.readframes(second.getnframes())
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(frames * 400)
    return target.getvalue()


async def begin(client: httpx.AsyncClient, recording: bytes, **said: Any) -> dict[str, Any]:
    about = {"size": len(recording), "sha256": sha256(recording).hexdigest(), "engine": "scripted", **said}
    answer = await client.post(UPLOADS, json=about)
    assert answer.status_code == 201, answer.text
    upload: dict[str, Any] = answer.json()
    return upload


async def put(part: dict[str, Any], recording: bytes) -> int:
    piece = recording[part["offset"] : part["offset"] + part["size"]]
    return (await asyncio.to_thread(urllib3.request, "PUT", part["url"], body=piece)).status


async def test_a_recording_goes_to_the_store_and_is_heard(
    client: httpx.AsyncClient, swift: Swift, recording: bytes, work: Work
) -> None:
    upload = await begin(client, recording)
    assert len(upload["parts"]) == 3
    assert {part["url"].split("/")[2] for part in upload["parts"]} == {swift.public_endpoint}
    assert await put(upload["parts"][2], recording) == 200
    broken = await client.post(f"{UPLOADS}/{upload['upload_id']}/complete")
    assert (broken.status_code, broken.json()["error"]["code"]) == (409, "parts_missing")
    upload = (await client.get(f"{UPLOADS}/{upload['upload_id']}")).json()
    assert [part["number"] for part in upload["parts"] if part["url"]] == [1, 2]
    assert [await put(part, recording) for part in upload["parts"][:2]] == [200, 200]
    for _ in range(2):
        assert (await client.post(f"{UPLOADS}/{upload['upload_id']}/complete")).status_code == 202
    await work(upload["job_id"])
    assert (await client.get(f"{JOBS}/result/{upload['job_id']}")).json()["duration"] == pytest.approx(400)
    receipt = (await client.delete(f"{JOBS}/{upload['job_id']}")).json()
    assert (receipt["status"], receipt["objects_deleted"]) == ("erased", 2), receipt


async def test_a_part_of_another_size_is_refused_by_the_store(client: httpx.AsyncClient, recording: bytes) -> None:
    upload = await begin(client, recording)
    last = upload["parts"][2]
    assert await put({**last, "size": last["size"] + 1}, recording + b"x") == 403
    assert [await put(part, recording) for part in upload["parts"][:2]] == [200, 200]
    refused = await client.post(f"{UPLOADS}/{upload['upload_id']}/complete")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "parts_missing")
    assert ": 3;" in refused.json()["error"]["message"]
    assert await put(last, recording) == 200
    assert (await client.post(f"{UPLOADS}/{upload['upload_id']}/complete")).status_code == 202


async def test_an_upload_that_is_given_up_leaves_nothing_in_the_bucket(
    client: httpx.AsyncClient, platform: Platform, recording: bytes
) -> None:
    await platform.store.delete_unfinished(0)
    upload = await begin(client, recording)
    await put(upload["parts"][0], recording)
    assert (await client.delete(f"{UPLOADS}/{upload['upload_id']}")).status_code == 200
    assert await platform.store.delete_unfinished(0) == 0
    assert await put(upload["parts"][1], recording) == 404
    assert [found async for found in platform.store.list(layout.job_prefix("local", upload["job_id"]))] == []


def script() -> str:
    guide = (ROOT / "docs/howto/sending-recordings.md").read_text()
    return guide.partition("```python\n")[2].partition("```")[0]


async def test_the_guide_s_script_goes_on_after_a_break(
    client: httpx.AsyncClient, url: str, recording: bytes, tmp_path: Path, work: Work
) -> None:
    assert "http://127.0.0.1:8000" in script()
    program, file = tmp_path / "send.py", tmp_path / "visit.wav"
    program.write_text(script().replace("http://127.0.0.1:8000", url))
    file.write_bytes(recording)
    upload = await begin(client, recording)
    await put(upload["parts"][1], recording)
    file.with_suffix(".upload").write_text(upload["upload_id"])  # what a run that broke off has left
    run = await asyncio.create_subprocess_exec(sys.executable, program, file, stdout=asyncio.subprocess.PIPE)
    said, _ = await run.communicate()
    assert (run.returncode, said.decode().strip()) == (0, upload["job_id"])
    assert not file.with_suffix(".upload").exists()
    await work(upload["job_id"])
    assert (await client.get(f"{JOBS}/status/{upload['job_id']}")).json()["status"] == "completed"
