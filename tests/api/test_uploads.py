"""Uploads past the API, in parts: begun, broken off, gone on with by somebody else, completed, given up."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from domain.access import Caller
from services import ending, retention, sending, uploads
from services.platform import Platform
from storage import files, layout, local_parts
from storage.local import MEDIA_PATH, LocalStore
from tests.api.conftest import JOBS
from tests.storage.bodies import in_chunks
from tests.support.audio import tone
from tests.support.endpoints import run_sql
from tests.support.jobs import force

UPLOADS = "/api/transcribe/uploads"

Work = Callable[..., Awaitable[None]]

RECORDING = tone(3.0)
PART = 20_000


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "part_bytes_of", lambda size: PART)


async def begin(client: httpx.AsyncClient, *, key: str | None = None, **said: Any) -> httpx.Response:
    about = {"size": len(RECORDING), "sha256": sha256(RECORDING).hexdigest(), "engine": "scripted", **said}
    return await client.post(UPLOADS, json=about, headers={} if key is None else {"Idempotency-Key": key})


async def send(client: httpx.AsyncClient, upload: dict[str, Any], *numbers: int, body: bytes = RECORDING) -> list[int]:
    """The statuses of PUTs of these parts, all that are missing where none is named."""
    wanted = [part for part in upload["parts"] if part["url"] and (not numbers or part["number"] in numbers)]
    cut = [body[part["offset"] : part["offset"] + part["size"]] for part in wanted]
    puts = [client.put(part["url"], content=piece) for part, piece in zip(wanted, cut, strict=True)]
    return [answer.status_code for answer in await asyncio.gather(*puts)]


async def complete(client: httpx.AsyncClient, upload: dict[str, Any]) -> httpx.Response:
    return await client.post(f"{UPLOADS}/{upload['upload_id']}/complete")


async def objects(platform: Platform, upload: dict[str, Any]) -> set[str]:
    return {found.key async for found in platform.store.list(layout.job_prefix("local", upload["job_id"]))}


async def test_a_recording_is_sent_in_parts_and_heard(client: httpx.AsyncClient, work: Work) -> None:
    answer = await begin(client, filename="visit.wav", session_id=str(uuid4()))
    upload = answer.json()
    assert (answer.status_code, upload["status"], upload["part_size"]) == (201, "pending", PART)
    assert [part["offset"] for part in upload["parts"]] == list(range(0, len(RECORDING), PART))
    assert sum(part["size"] for part in upload["parts"]) == len(RECORDING)
    assert set(await send(client, upload)) == {200}
    queued = await complete(client, upload)
    assert (queued.status_code, queued.json()["status"], queued.json()["job_id"]) == (202, "queued", upload["job_id"])
    await work(upload["job_id"])
    result = (await client.get(f"{JOBS}/result/{upload['job_id']}")).json()
    assert (result["text"], result["filename"]) == ("one two three", "visit.wav")
    assert (await client.get(f"{JOBS}/{upload['job_id']}/audio")).content == RECORDING


async def test_after_a_break_only_what_is_missing_is_sent(client: httpx.AsyncClient, url: str, work: Work) -> None:
    """By somebody who knows nothing but the upload's id."""
    begun = (await begin(client)).json()
    await send(client, begun, 1, 3)
    async with httpx.AsyncClient(base_url=url) as other:
        upload = (await other.get(f"{UPLOADS}/{begun['upload_id']}")).json()
        missing = [part["number"] for part in upload["parts"] if part["url"]]
        assert missing == [number for number in range(1, len(upload["parts"]) + 1) if number not in (1, 3)]
        assert len(await send(other, upload)) == len(missing)
        assert (await complete(other, upload)).status_code == 202
    await work(begun["job_id"])
    assert (await client.get(f"{JOBS}/status/{begun['job_id']}")).json()["status"] == "completed"


async def test_an_upload_with_a_part_missing_is_not_completed(client: httpx.AsyncClient) -> None:
    upload = (await begin(client)).json()
    await send(client, upload, 1, 2, 4, 5)
    refused = await complete(client, upload)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "parts_missing")
    assert ": 3;" in refused.json()["error"]["message"]
    await send(client, (await client.get(f"{UPLOADS}/{upload['upload_id']}")).json())
    assert (await complete(client, upload)).status_code == 202


@pytest.mark.parametrize("size", [0, PART - 1, PART + 1])
async def test_a_part_of_another_size_is_refused(client: httpx.AsyncClient, size: int) -> None:
    upload = (await begin(client)).json()
    refused = await client.put(upload["parts"][0]["url"], content=bytes(size))
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "wrong_part_size")
    assert (await client.get(f"{UPLOADS}/{upload['upload_id']}")).json()["parts"][0]["url"] is not None


async def test_completing_again_makes_no_second_job(client: httpx.AsyncClient, platform: Platform) -> None:
    upload = (await begin(client)).json()
    await send(client, upload)
    answers = await asyncio.gather(*(complete(client, upload) for _ in range(6)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["job_id"] for answer in answers}) == 1
    later = await complete(client, upload)
    assert (later.status_code, later.headers["idempotent-replayed"]) == (202, "true")
    told = await run_sql(platform, f"SELECT event ->> 'status' FROM job_events WHERE job_id = '{upload['job_id']}'")
    assert [status for (status,) in told] == ["pending", "queued"]


async def test_a_url_that_is_used_again_changes_nothing(client: httpx.AsyncClient, work: Work) -> None:
    upload = (await begin(client)).json()
    await send(client, upload)
    await complete(client, upload)
    assert set(await send(client, upload, body=bytes(len(RECORDING)))) == {404}
    await work(upload["job_id"])
    assert (await client.get(f"{JOBS}/{upload['job_id']}/audio")).content == RECORDING


async def test_without_a_hash_the_platform_computes_it(client: httpx.AsyncClient, platform: Platform) -> None:
    upload = (await begin(client, sha256=None)).json()
    await send(client, upload)
    await complete(client, upload)
    ((kept,),) = await run_sql(platform, f"SELECT source_sha256 FROM transcript_jobs WHERE id = '{upload['job_id']}'")
    assert kept == sha256(RECORDING).hexdigest()


async def test_other_bytes_than_were_promised_are_not_heard(client: httpx.AsyncClient, work: Work) -> None:
    upload = (await begin(client, sha256="0" * 64)).json()
    await send(client, upload)
    assert (await complete(client, upload)).status_code == 202
    await work(upload["job_id"])
    status = (await client.get(f"{JOBS}/status/{upload['job_id']}")).json()
    assert (status["status"], status["error"]["code"], status["attempts"]) == ("failed", "recording_changed", 0)


@pytest.mark.parametrize("way", ["upload", "cancel", "erase"])
async def test_an_upload_that_is_given_up_leaves_nothing(
    client: httpx.AsyncClient, platform: Platform, way: str
) -> None:
    await platform.store.delete_unfinished(0)
    upload = (await begin(client)).json()
    await send(client, upload, 1, 2)
    job = f"{JOBS}/{upload['job_id']}"
    ended = {
        "upload": lambda: client.delete(f"{UPLOADS}/{upload['upload_id']}"),
        "cancel": lambda: client.post(f"{job}/cancel"),
        "erase": lambda: client.delete(job),
    }
    assert (await ended[way]()).status_code == 200
    assert set(await send(client, upload)) == {404}
    assert await objects(platform, upload) == set()
    assert await platform.store.delete_unfinished(0) == 0
    again = await complete(client, upload)
    assert (again.status_code, again.json()["error"]["code"]) == (
        (404, "job_not_found") if way == "erase" else (409, "not_pending")
    )


async def test_an_upload_that_never_ends_expires_with_its_parts(client: httpx.AsyncClient, platform: Platform) -> None:
    await platform.store.delete_unfinished(0)
    upload = (await begin(client)).json()
    await send(client, upload, 1)
    await force(
        platform,
        f"UPDATE transcript_jobs SET created_at = now() - interval '25 hours' WHERE id = '{upload['job_id']}'",
    )
    assert await uploads.expire(platform) == 1
    assert (await client.get(f"{UPLOADS}/{upload['upload_id']}")).json()["status"] == "expired"
    assert await platform.store.delete_unfinished(0) == 0
    assert (await complete(client, upload)).json()["error"]["code"] == "not_pending"


@pytest.mark.parametrize(
    ("said", "status", "code"),
    [
        ({"size": 0}, 422, "media_empty"),
        ({"size": 100_000_001}, 413, "file_too_large"),
        ({"size": -1}, 422, "invalid_request"),
        ({"size": None}, 422, "invalid_request"),
        ({"sha256": "abc"}, 422, "invalid_request"),
        ({"engine": "nobody"}, 422, "unknown_engine"),
        ({"engine": "english", "language": "fr"}, 422, "unsupported_language"),
        ({"audio_url": "https://example.com/"}, 422, "invalid_request"),
        ({"no_such": 1}, 422, "invalid_request"),
    ],
)
async def test_what_cannot_be_is_refused_before_the_first_byte(
    client: httpx.AsyncClient, platform: Platform, said: dict[str, Any], status: int, code: str
) -> None:
    before = await run_sql(platform, "SELECT count(*) FROM transcript_jobs")
    refused = await begin(client, **said)
    assert (refused.status_code, refused.json()["error"]["code"]) == (status, code), refused.text
    assert await run_sql(platform, "SELECT count(*) FROM transcript_jobs") == before


async def test_begun_again_with_its_key_it_is_the_same_upload(client: httpx.AsyncClient) -> None:
    key = str(uuid4())
    first, second = await asyncio.gather(*(begin(client, key=key) for _ in range(2)))
    assert first.json()["upload_id"] == second.json()["upload_id"]
    other = await begin(client, key=key, filename="other.wav")
    assert other.json()["error"]["code"] == "idempotency_key_reused"


async def test_a_job_whose_recording_came_another_way_is_no_upload(client: httpx.AsyncClient) -> None:
    form = {"file": ("visit.wav", RECORDING, "audio/wav")}
    job_id = (await client.post(f"{JOBS}/transcribe", data={"engine": "scripted"}, files=form)).json()["job_id"]
    for answer in (
        await client.get(f"{UPLOADS}/{job_id}"),
        await client.post(f"{UPLOADS}/{job_id}/complete"),
        await client.delete(f"{UPLOADS}/{job_id}"),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "upload_not_found")


async def test_there_is_a_limit_to_what_is_begun_and_not_ended(
    client: httpx.AsyncClient, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run_sql(platform, "DELETE FROM sendings")
    limit = platform.settings.uploads.max_open
    upload = (await begin(client)).json()
    await run_sql(
        platform,
        "WITH made AS (INSERT INTO transcripts (id) SELECT gen_random_uuid() FROM generate_series(2, "
        f"{limit}) RETURNING id), jobs AS (INSERT INTO transcript_jobs (id, transcript_id, engine, state)"
        " SELECT gen_random_uuid(), id, 'auto', 'pending' FROM made RETURNING id)"
        " INSERT INTO sendings (job_id, name, size_bytes, part_bytes) SELECT id, 'x', 1, 1 FROM jobs",
    )
    refused = await begin(client)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "too_many_uploads")
    await client.delete(f"{UPLOADS}/{upload['upload_id']}")
    assert (await begin(client)).status_code == 201
    await run_sql(platform, "DELETE FROM sendings")


async def test_a_crash_behind_the_joining_is_gone_on_from(client: httpx.AsyncClient, platform: Platform) -> None:
    upload = (await begin(client)).json()
    await send(client, upload)
    me = Caller("local")
    job, _, sent = await sending._find(platform, me, upload["job_id"])
    await sending._join(platform, me, job, sent)
    assert [
        part["url"] for part in (await client.get(f"{UPLOADS}/{upload['upload_id']}")).json()["parts"] if part["url"]
    ] == []
    assert (await complete(client, upload)).status_code == 202


class Died(Exception):
    """The process is gone."""


@pytest.mark.parametrize("way", [sending.complete, ending.cancel, ending.erase], ids=["join", "cancel", "erase"])
async def test_of_parts_that_a_crash_leaves_behind_nothing_outlives_the_erasure(
    client: httpx.AsyncClient,
    platform: Platform,
    monkeypatch: pytest.MonkeyPatch,
    way: Callable[..., Awaitable[object]],
) -> None:
    """The sending is over, and none of its parts is deleted yet."""
    upload = (await begin(client)).json()
    await send(client, upload)
    assert platform.settings.storage.root is not None
    folder = platform.settings.storage.root / layout.job_prefix("local", upload["job_id"])
    deleted = []

    def delete_one_and_die(root: Path, path: Path) -> None:
        if deleted:
            raise Died
        deleted.append(path)
        files.delete(root, path)

    with monkeypatch.context() as crash, pytest.raises(Died):
        crash.setattr(local_parts, "delete", delete_one_and_die)
        await way(platform, Caller("local"), upload["job_id"])
    assert len(list(folder.glob(f"{files.UNFINISHED}*"))) == len(upload["parts"])
    if way is sending.complete:
        assert (await complete(client, upload)).status_code == 202
    await client.delete(f"{JOBS}/{upload['job_id']}")
    await retention.finish_erasures(platform)
    assert not folder.exists()
    assert (await client.get(f"{JOBS}/{upload['job_id']}/receipt")).json()["erased_at"] is not None


async def test_of_an_upload_that_is_erased_while_its_parts_are_joined_nothing_stays(
    client: httpx.AsyncClient, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receipt is written, and only then does the recording come to lie under its key."""
    upload = (await begin(client)).json()
    await send(client, upload)

    async def joined_late(store: LocalStore, key: str, *_: object) -> None:
        assert (await client.delete(f"{JOBS}/{upload['job_id']}")).json()["erased_at"] is not None
        await store.put(key, in_chunks(RECORDING))

    monkeypatch.setattr(LocalStore, "join_parts", joined_late)
    assert (await complete(client, upload)).status_code == 404
    assert await objects(platform, upload) == set()


async def test_a_part_s_url_tells_nobody_s_name_and_ends_in_time(client: httpx.AsyncClient, platform: Platform) -> None:
    upload = (await begin(client, filename="maria.wav")).json()
    assert "maria" not in json.dumps(upload["parts"])
    assert sending.LINK_LASTS.total_seconds() <= 900
    late = await platform.store.part_link(layout.source("local", upload["job_id"]), "x", 1, size_bytes=1, seconds=0)
    assert late.startswith(MEDIA_PATH)
    refused = await client.put(late, content=b"x")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "bad_link")
