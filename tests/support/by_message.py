"""Requests by message as a test follows them: the jobs that they became, ended as the test wants."""

from pathlib import Path
from typing import Any
from uuid import UUID

from domain.errors import EscribaError
from domain.transcript import Segment, Transcript
from services import attempts
from services.attempts import Attempt
from services.platform import Platform
from tests.support.amqp_client import REQUESTS, RESULTS, AmqpClient
from tests.support.endpoints import run_sql
from tests.support.waiting import eventually


async def jobs_of(platform: Platform, attachment_id: int) -> list[UUID]:
    """In the order in which they were made."""
    asked = f"SELECT job_id FROM amqp_requests WHERE attachment_id = {attachment_id} AND job_id IS NOT NULL"
    return [row[0] for row in await run_sql(platform, f"{asked} ORDER BY created_at")]


async def job_of(platform: Platform, attachment_id: int, *, number: int = 1) -> UUID:
    """The `number`-th job of a request, once it is there."""

    async def there() -> bool:
        return len(await jobs_of(platform, attachment_id)) >= number

    await eventually(there)
    return (await jobs_of(platform, attachment_id))[number - 1]


async def claim(platform: Platform, job_id: UUID) -> Attempt:
    attempt = await attempts.claim(platform, job_id, worker="worker")
    assert attempt is not None
    return attempt


async def hear(platform: Platform, job_id: UUID, text: str, **heard: Any) -> None:
    said = {
        "language": "es",
        "duration": 12.45,
        "engine": "whisper",
        "engine_reason": "a test",
        "model": "base",
        **heard,
    }
    segments = (Segment(start=0, end=12.45, text=text),)
    assert await attempts.complete(platform, await claim(platform, job_id), Transcript(**said, segments=segments))


async def fail(platform: Platform, job_id: UUID, error: EscribaError, *, retryable: bool) -> None:
    assert await attempts.fail(platform, await claim(platform, job_id), error, retryable=retryable)


async def all_is_told(platform: Platform) -> bool:
    """Is nothing owed to anybody?"""
    return await run_sql(platform, "SELECT 1 FROM deliveries WHERE state <> 'delivered' LIMIT 1") == []


def request(number: int, served: Path, name: str = "a.wav", **further: Any) -> dict[str, Any]:
    """For a file of the folder."""
    return {"attachment_id": number, "audio_file_path": f"{served}/{name}", **further}


async def expect_no_more(platform: Platform, client: AmqpClient) -> None:
    """Nothing else was answered, or will be."""
    await eventually(lambda: is_settled(platform, client))
    assert await client.count(RESULTS) == 0


async def is_settled(platform: Platform, client: AmqpClient) -> bool:
    return await client.count(REQUESTS) == 0 and await all_is_told(platform)


async def is_acked(platform: Platform, number: int) -> bool:
    """Does the broker know that it need not send the request again?"""
    asked = f"SELECT 1 FROM amqp_requests WHERE attachment_id = {number} AND acked_at IS NULL"
    return await run_sql(platform, asked) == []
