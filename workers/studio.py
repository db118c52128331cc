"""Making the videos that are owed. Every worker does; PostgreSQL keeps them out of one another's way.

No queue rings for a video: workers look for one every second, and one whose worker died waits for its lease alone.
"""

import asyncio
import logging
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

from config import telemetry, traces
from domain.errors import DatabaseUnavailable, EscribaError
from domain.videos import Rendered
from media.render import Captions, RenderLimits, burn, mux
from services import attempts, videos
from services.platform import Platform
from services.videos import Rendering
from workers.hearing import fetch
from workers.insistence import give_back, insist
from workers.measuring import stage
from workers.schedule import every

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How long a video that has come due may wait for somebody to notice."""

BEATS_PER_LEASE = 5
CHUNK_BYTES = 1 << 20


class Studio:
    """Makes one video at a time, for as long as the worker lives: ffmpeg takes two processors by itself."""

    def __init__(self, platform: Platform, *, worker: str) -> None:
        self._platform, self._worker = platform, worker
        self._making: asyncio.Task[None] | None = None
        self._looking = asyncio.Lock()
        self._draining = False

    async def run(self) -> None:
        await every(LOOK_SECONDS, "looking for videos", self.work)

    async def work(self) -> None:
        """Make videos until none is due."""
        while not self._draining:
            async with self._looking:
                rendering = await videos.take_up(self._platform, worker=self._worker)
                if rendering is None:
                    return
                self._making = asyncio.create_task(self._make(rendering))
            await asyncio.shield(self._making)

    async def drain(self, grace_seconds: float) -> None:
        """Begin nothing more; let what runs end within the grace time, or give it back."""
        self._draining = True
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_seconds), self._looking:
                pass  # what is being taken up just now is known from here on
        if self._making is None:
            return
        await asyncio.wait({self._making}, timeout=grace_seconds)
        self._making.cancel()
        await asyncio.gather(self._making, return_exceptions=True)

    async def _make(self, rendering: Rendering) -> None:
        ids = {"job_id": str(rendering.job_id), "video_id": str(rendering.video_id), "fence": rendering.fence}
        with telemetry.bind(**ids), traces.span("video", job_id=rendering.job_id):
            try:
                await self._attend(rendering)
            except asyncio.CancelledError:
                await asyncio.shield(self._give_back(rendering))
                raise
            except EscribaError as error:
                log.warning("a video could not be made: %s", error.code)
                await self._fail(rendering, error)
            except Exception:
                log.exception("a bug ended a rendering")
                unforeseen = "an unexpected error ended the rendering; the operator's log has it under this job's id"
                await self._fail(rendering, EscribaError(unforeseen))

    async def _fail(self, rendering: Rendering, error: EscribaError) -> None:
        await insist(lambda: videos.fail(self._platform, rendering, error))

    async def _attend(self, rendering: Rendering) -> None:
        """Render beside a heartbeat of its own; one that hears that the video is no longer ours ends the work."""
        done = _Progress()
        working = asyncio.create_task(self._render(rendering, done))
        beating = asyncio.create_task(self._beat(rendering, done))
        try:
            await asyncio.wait({working, beating}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
            else:
                beating.result()
                log.info("the rendering was stopped: the video is no longer this worker's")
        finally:
            working.cancel()
            beating.cancel()
            await asyncio.gather(working, beating, return_exceptions=True)

    async def _beat(self, rendering: Rendering, done: "_Progress") -> None:
        """Returns once the video is no longer ours; a database that does not answer says nothing."""
        while True:
            await asyncio.sleep(attempts.lease(self._platform).total_seconds() / BEATS_PER_LEASE)
            with suppress(DatabaseUnavailable):
                if not await videos.heartbeat(self._platform, rendering, progress=done.share):
                    return

    async def _render(self, rendering: Rendering, done: "_Progress") -> None:
        material = await videos.material(self._platform, rendering)
        captions = Captions(material.cues, material.seconds, material.language, rendering.profile)
        folder = Path(tempfile.mkdtemp(prefix="video-", dir=self._platform.settings.media.work_dir))
        try:
            await fetch(self._platform.store, material.source_key, folder)
            target = folder / "video.mp4"
            with stage("render"):
                rendered = await self._draw(rendering, folder / "source", target, captions, done)
            await insist(lambda: videos.complete(self._platform, rendering, rendered, _chunks(target)))
        finally:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))

    async def _draw(
        self, rendering: Rendering, source: Path, target: Path, captions: Captions, done: "_Progress"
    ) -> Rendered:
        settings = self._platform.settings
        limits = RenderLimits.of(settings.media, settings.rendering)
        if rendering.mode == "track":
            return await mux(source, target, captions, limits, on_progress=done.note)
        fonts = settings.rendering.fonts_dir
        return await burn(source, target, captions, limits, fonts_dir=fonts, on_progress=done.note)

    async def _give_back(self, rendering: Rendering) -> None:
        try:
            await give_back(lambda: videos.release(self._platform, rendering))
        except (EscribaError, TimeoutError):
            log.warning("the video could not be given back: it goes to others once its lease has run out")


class _Progress:
    def __init__(self) -> None:
        self.share = 0.0

    def note(self, _seconds: float, share: float) -> None:
        self.share = share


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk
