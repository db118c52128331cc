"""A worker in the test's own loop: whatever is queued is heard at once, by the engines that the test has."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from domain.lifecycle import JobState
from services.platform import Platform
from tests.support.scripted import ScriptedEngine, registry_of
from workers.pipeline import run_attempt


@asynccontextmanager
async def at_work(platform: Platform, *engines: ScriptedEngine) -> AsyncIterator[None]:
    """Within this, jobs are taken as they are announced."""
    there, attempts = asyncio.Event(), set[asyncio.Task[None]]()

    async def hear(job_id: UUID) -> None:
        await run_attempt(platform, registry_of(*engines), job_id, worker="worker-1")

    async def listen() -> None:
        async for event in platform.events.listen():
            there.set()
            if event is not None and event.status == JobState.QUEUED:
                attempts.add(asyncio.create_task(hear(event.job_id)))

    listening = asyncio.create_task(listen())
    await there.wait()
    try:
        yield
    finally:
        for task in (listening, *attempts):
            task.cancel()
        await asyncio.gather(listening, *attempts, return_exceptions=True)
