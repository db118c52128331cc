"""Videos in the state that a test needs.

Whoever imports the fixtures has short leases, and no video of the tests before.
"""

from uuid import UUID

import pytest

from db.video_tables import Video
from domain.access import Caller
from domain.transcript import Segment
from domain.videos import Rendered, VideoMode
from services import attempts, videos
from services.platform import Platform
from services.upkeep import Pulse
from services.videos import Rendering
from storage import layout
from tests.support.endpoints import run_sql
from tests.support.films import film
from tests.support.jobs import ME, NOBODY_HEARD, make_job
from workers.studio import Studio

SECONDS = 2.0

FILM = film(seconds=SECONDS)

HEARD = NOBODY_HEARD.model_copy(
    update={"duration": SECONDS, "segments": (Segment(start=0.2, end=1.8, text="Déjà vu"),), "language": "fr"}
)


@pytest.fixture(scope="module")
def environ(environ: dict[str, str]) -> dict[str, str]:
    return {**environ, "JOB_LEASE_SEC": "1"}


@pytest.fixture(autouse=True)
async def none_left(platform: Platform) -> None:
    """No video waits of the tests before."""
    await run_sql(platform, "DELETE FROM videos")


@pytest.fixture
def studio(platform: Platform) -> Studio:
    return Studio(platform, worker="worker")


async def heard(platform: Platform, content: bytes = FILM, *, owner: Caller = ME) -> UUID:
    """A completed job."""
    job_id = await make_job(platform, content=content, owner=owner)
    await complete(platform, job_id)
    return job_id


async def complete(platform: Platform, job_id: UUID) -> None:
    attempt = await attempts.claim(platform, job_id, worker="w")
    assert attempt is not None
    assert await attempts.complete(platform, attempt, HEARD)


async def asked(platform: Platform, job_id: UUID, mode: VideoMode = "track", *, profile: str = "default") -> UUID:
    return (await videos.ask(platform, ME, job_id, profile=profile, mode=mode)).id


async def now(platform: Platform, job_id: UUID, video_id: UUID) -> Video:
    return await videos.find(platform, ME, job_id, video_id)


async def fetched(platform: Platform, job_id: UUID, video_id: UUID) -> bytes:
    found = await videos.file(platform, ME, job_id, video_id)
    async with platform.store.open(found.key) as chunks:
        return b"".join([chunk async for chunk in chunks])


async def taken_up(platform: Platform, worker: str = "w") -> Rendering:
    rendering = await videos.take_up(platform, worker=worker)
    assert rendering is not None
    return rendering


async def lose(platform: Platform) -> None:
    """Whoever holds a video has been silent for too long, as the sweeper sees it."""
    await run_sql(platform, "UPDATE videos SET lease_until = now() - interval '1 s' WHERE state = 'processing'")
    await videos.rescue(platform, Pulse())


async def objects(platform: Platform, job_id: UUID) -> list[str]:
    return [found.key async for found in platform.store.list(layout.videos_prefix(ME.owner, job_id))]


MADE = Rendered(SECONDS, 320, 180)
