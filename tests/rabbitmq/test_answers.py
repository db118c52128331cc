"""What becomes of a request behind its first try: another, an answer, or nothing that could be told."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from config.settings import Settings
from domain.errors import EngineCrashed, MediaTooLong
from services import ending, upkeep
from services.platform import Platform
from services.upkeep import Pulse
from tests.rabbitmq.conftest import opened, under
from tests.support.amqp_client import RESULTS, RETRIES, AmqpClient
from tests.support.audio import tone
from tests.support.by_message import all_is_told, claim, expect_no_more, fail, hear, is_acked, job_of, jobs_of, request
from tests.support.endpoints import run_sql
from tests.support.jobs import ME, force, row
from tests.support.waiting import eventually

# A try that fails


@pytest.mark.usefixtures("door")
async def test_a_failed_try_goes_around_twice_and_the_last_one_answers(
    platform: Platform, client: AmqpClient, served: Path, number: int
) -> None:
    await client.publish(request(number, served, import_batch_id=7, of_ours="kept"))
    job_ids = []
    for n in (1, 2, 3):
        job_id = await job_of(platform, number, number=n)
        parent = (await row(platform, job_id))["parent_job_id"]
        assert parent == (job_ids[-1] if job_ids else None)
        job_ids.append(job_id)
        assert await client.count(RESULTS) == 0
        await fail(platform, job_id, EngineCrashed("the engine died", retryable=True), retryable=True)
    said = (await client.receive()).said
    assert (said["attachment_id"], said["import_batch_id"], said["success"]) == (number, 7, False)
    assert said["error_message"] == "the engine died"
    await expect_no_more(platform, client)
    sent_again = await run_sql(
        platform, f"SELECT body FROM amqp_requests WHERE attachment_id = {number} ORDER BY created_at"
    )
    assert [json.loads(bytes(body)).get("retry_count") for (body,) in sent_again] == [None, 1, 2]
    assert json.loads(bytes(sent_again[2][0]))["of_ours"] == "kept"


async def test_what_goes_around_says_how_often_it_was_tried(
    platform: Platform, settings: Settings, client: AmqpClient, served: Path, number: int
) -> None:
    async with opened(settings):
        await client.publish(request(number, served))
        job_id = await job_of(platform, number)
        await client.do(lambda channel: channel.queue_unbind(RETRIES, "whisper_retry_exchange", "transcription.retry"))
        await client.do(lambda channel: channel.queue_declare("caught", auto_delete=True))
        await client.do(lambda channel: channel.queue_bind("caught", "whisper_retry_exchange", "transcription.retry"))
        await fail(platform, job_id, EngineCrashed("the engine died", retryable=True), retryable=True)
        caught = await client.receive("caught")
    assert caught.properties.headers["x-retry-count"] == 1
    assert caught.said == {**request(number, served), "retry_count": 1}


@pytest.mark.usefixtures("door")
async def test_a_failure_that_no_try_helps_is_answered_at_once(
    platform: Platform, client: AmqpClient, served: Path, number: int
) -> None:
    await client.publish(request(number, served))
    too_long = MediaTooLong("the recording is longer than 10 s; cut it")
    await fail(platform, await job_of(platform, number), too_long, retryable=False)
    assert (await client.receive()).said["error_message"] == str(too_long)
    await expect_no_more(platform, client)


@pytest.mark.usefixtures("door")
async def test_a_job_that_has_cost_three_workers_is_answered_at_once(
    platform: Platform, client: AmqpClient, served: Path, number: int
) -> None:
    await client.publish(request(number, served))
    job_id = await job_of(platform, number)
    await claim(platform, job_id)
    lost = "lease_until = now() - interval '1 s', crash_count = 2"
    await force(platform, f"UPDATE transcript_jobs SET {lost} WHERE id = '{job_id}'")
    await upkeep.rescue(platform, Pulse())
    assert "workers that took this job died" in (await client.receive()).said["error_message"]
    await expect_no_more(platform, client)


@pytest.mark.usefixtures("door")
async def test_the_third_try_of_a_producer_that_counts_itself_is_the_last(
    platform: Platform, client: AmqpClient, served: Path, number: int
) -> None:
    await client.publish(request(number, served), headers={"x-retry-count": 2})
    job_id = await job_of(platform, number)
    await fail(platform, job_id, EngineCrashed("the engine died", retryable=True), retryable=True)
    assert not (await client.receive()).said["success"]
    await expect_no_more(platform, client)


# Cancelling, erasing, removing


async def taken(platform: Platform, settings: Settings, client: AmqpClient, said: dict[str, Any]) -> UUID:
    """The job of a request that was taken by a door that is closed again."""
    async with opened(settings):
        await client.publish(said)
        job_id = await job_of(platform, said["attachment_id"])
        await eventually(lambda: is_acked(platform, said["attachment_id"]))
    return job_id


@pytest.mark.usefixtures("door")
async def test_a_cancelled_job_is_answered(platform: Platform, client: AmqpClient, served: Path, number: int) -> None:
    await client.publish(request(number, served))
    await ending.cancel(platform, ME, await job_of(platform, number))
    assert (await client.receive()).said["error_message"] == "the job was cancelled"
    await expect_no_more(platform, client)


async def test_what_was_said_is_not_told_behind_an_erasure(
    platform: Platform, settings: Settings, client: AmqpClient, served: Path, number: int
) -> None:
    job_id = await taken(platform, settings, client, request(number, served))
    await hear(platform, job_id, "nobody may hear this")
    await ending.erase(platform, ME, job_id)
    async with opened(settings):
        result = await client.receive()
        assert not result.said["success"]
        assert "erased" in result.said["error_message"]
        assert b"nobody" not in result.body
        await expect_no_more(platform, client)


async def test_an_erased_try_is_not_tried_again(
    platform: Platform, settings: Settings, client: AmqpClient, served: Path, number: int
) -> None:
    job_id = await taken(platform, settings, client, request(number, served))
    await fail(platform, job_id, EngineCrashed("the engine died", retryable=True), retryable=True)
    await ending.erase(platform, ME, job_id)
    async with opened(settings):
        assert "erased" in (await client.receive()).said["error_message"]
        await expect_no_more(platform, client)
    assert len(await jobs_of(platform, number)) == 1


async def test_nothing_that_a_request_or_its_answer_said_is_kept_behind_an_erasure(
    platform: Platform, settings: Settings, client: AmqpClient, served: Path, number: int
) -> None:
    (served / "canary-name.wav").write_bytes(tone(0.1))
    async with opened(settings):
        await client.publish(request(number, served, "canary-name.wav"))
        job_id = await job_of(platform, number)
        await hear(platform, job_id, "canary-word")
        await client.receive()
        await eventually(lambda: all_is_told(platform))
    await ending.erase(platform, ME, job_id)
    for table in ("amqp_requests", "outbox_events", "deliveries"):
        for (kept,) in await run_sql(platform, f"SELECT t::text FROM {table} t"):
            assert "canary" not in kept
            assert b"canary".hex() not in kept


async def test_what_was_to_go_around_is_forgotten_with_its_job_also_where_its_request_is_forgotten(
    platform: Platform, settings: Settings, client: AmqpClient, served: Path, number: int
) -> None:
    (served / "canary-name.wav").write_bytes(tone(0.1))
    job_id = await taken(platform, settings, client, request(number, served, "canary-name.wav"))
    await fail(platform, job_id, EngineCrashed("the engine died", retryable=True), retryable=True)
    await run_sql(platform, f"DELETE FROM amqp_requests WHERE job_id = '{job_id}'")
    await ending.erase(platform, ME, job_id)
    told = await run_sql(platform, f"SELECT body FROM outbox_events WHERE job_id = '{job_id}'")
    assert [body for (body,) in told] == [None]


async def test_a_file_stays_unless_the_operator_wants_it_removed(
    environ: dict[str, str], platform: Platform, client: AmqpClient, served: Path, number: int
) -> None:
    for delete, stays in (("0", True), ("1", False)):
        file = served / f"kept-{delete}.wav"
        file.write_bytes(tone(0.1))
        async with opened(under(environ, AUDIO_FILE_DELETE=delete)):
            await client.publish(request(number, served, file.name))
            await hear(platform, await job_of(platform, number, number=int(delete) + 1), "texto")
            assert (await client.receive()).said["success"]
            assert file.exists() == stays


async def test_a_file_that_failed_or_has_been_replaced_is_not_removed(
    environ: dict[str, str], platform: Platform, client: AmqpClient, served: Path, number: int
) -> None:
    async with opened(under(environ, AUDIO_FILE_DELETE="1")):
        failed, replaced = served / "failed.wav", served / "replaced.wav"
        for file, n in ((failed, 1), (replaced, 2)):
            file.write_bytes(tone(0.1))
            await client.publish(request(number, served, file.name))
            job_id = await job_of(platform, number, number=n)
            if file == failed:
                await fail(platform, job_id, MediaTooLong("too long"), retryable=False)
            else:
                replaced.unlink()
                replaced.write_bytes(tone(0.2))
                await hear(platform, job_id, "texto")
            await client.receive()
            assert file.exists()


async def test_a_result_that_is_damaged_keeps_none_beside_it_from_being_told_once(
    platform: Platform, settings: Settings, client: AmqpClient, served: Path, number: int
) -> None:
    async def junk() -> AsyncIterator[bytes]:
        yield b"no result"

    async with opened(settings):
        for batch in (1, 2):
            await client.publish(request(number, served, import_batch_id=batch))
        jobs = [await job_of(platform, number, number=n) for n in (1, 2)]
    for job_id in jobs:
        await hear(platform, job_id, "texto")
    await platform.store.put((await row(platform, jobs[0]))["result_key"], junk())

    async def is_told() -> bool:
        return len(await run_sql(platform, "SELECT 1 FROM deliveries WHERE state = 'delivered'")) == 1

    async with opened(settings):
        assert (await client.receive()).said["success"]
        await eventually(is_told)
        assert await client.count(RESULTS) == 0
