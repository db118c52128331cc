"""The clock: what a worker does for the whole platform, and when. One worker at a time holds the duty."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import monotonic

from domain.capabilities import EngineReport
from domain.errors import EscribaError
from engines.registry import Registry
from services import doorkeeper, engine_reports, once, retention, tickets, upkeep, uploads, videos
from services.platform import Platform

log = logging.getLogger(__name__)

SWEEP_SECONDS = 1.0
"""How long a lost ring or a lost worker may go unnoticed, besides its lease."""

REPORT_SECONDS = 1.0
VOUCH_SECONDS = 1.0
"""A quarter of the time for which a worker's last word is believed (`db.engine_reports.FRESH`)."""

TIDY_SECONDS = 10.0
ORPHANS_SECONDS = 3600.0


class Sweeper:
    """Rescue, give up, ring again and tidy, for the whole platform, while this worker holds the duty."""

    def __init__(self, platform: Platform, *, worker: str) -> None:
        self._platform, self._worker = platform, worker
        self._pulse = upkeep.Pulse()
        self._tidied = self._looked_for_orphans = monotonic()

    async def run(self) -> None:
        await every(SWEEP_SECONDS, "sweep", self.sweep)

    async def sweep(self) -> None:
        if await upkeep.take_duty(self._platform, self._pulse, holder=self._worker):
            due = await upkeep.due(self._platform)
            if due.lost or self._pulse.paused():
                await upkeep.rescue(self._platform, self._pulse)
            # None of the rest may keep the pulse from beating: it would look like a pause, in which nobody is rescued.
            rest = {
                upkeep.give_up_spent: due.spent,
                upkeep.redispatch: due.unrung or due.lost,
                retention.finish_erasures: due.unerased,
            }
            await self._each(*(duty for duty, is_due in rest.items() if is_due), self._rescue_videos)
            await self._tidy()
        self._pulse.beat()

    async def _rescue_videos(self, platform: Platform) -> None:
        await videos.rescue(platform, self._pulse)

    async def _tidy(self) -> None:
        if monotonic() - self._tidied > TIDY_SECONDS:
            self._tidied = monotonic()
            await self._each(uploads.expire, retention.delete_expired_audio, retention.erase_expired)
        if monotonic() - self._looked_for_orphans > ORPHANS_SECONDS:
            self._looked_for_orphans = monotonic()
            await self._each(
                *(retention.delete_orphans, retention.forget_tombstones, once.forget_old),
                *(tickets.forget_old, doorkeeper.forget_old),
            )

    async def _each(self, *duties: Callable[[Platform], Awaitable[object]]) -> None:
        """One that fails keeps none of the others from being done."""
        for duty in duties:
            try:
                await duty(self._platform)
            except EscribaError as error:
                log.warning("%s has to wait: %s", duty.__name__, error.code)
            except Exception:
                log.exception("%s failed", duty.__name__)


class Reporter:
    """Tells what this worker can reach, so that doors need know no engine.

    Two clocks: a look at every engine, which is written down where something has changed, and a word every second that
    this worker is there, which no engine that takes its time can hold up.
    """

    def __init__(self, platform: Platform, registry: Registry, *, worker: str) -> None:
        self._platform, self._registry, self._worker = platform, registry, worker
        self._kept: list[EngineReport] | None = None
        self._withdrawn = False
        self.told = asyncio.Event()
        """Set once the first report is in PostgreSQL: from then on jobs for these engines are understood."""

    async def run(self) -> None:
        async with asyncio.TaskGroup() as clocks:
            clocks.create_task(every(REPORT_SECONDS, "report", self.report))
            clocks.create_task(every(VOUCH_SECONDS, "vouch", self.vouch))

    async def report(self) -> None:
        reports = await self._registry.reports()
        if reports != self._kept and not self._withdrawn:
            await engine_reports.record(self._platform, worker=self._worker, reports=reports)
            self._kept = reports
        self.told.set()

    async def vouch(self) -> None:
        if self._kept is None or self._withdrawn:
            return
        if await engine_reports.vouch(self._platform, worker=self._worker) < len(self._kept):
            self._kept = None  # cleared away while nobody heard of us: to be said anew

    async def withdraw(self) -> None:
        """This worker takes no more jobs, and nobody shall count on it. Where the database is away, time says it."""
        self._withdrawn = True
        with suppress(EscribaError, TimeoutError):
            async with asyncio.timeout(VOUCH_SECONDS):
                await engine_reports.withdraw(self._platform, worker=self._worker)


async def every(seconds: float, name: str, duty: Callable[[], Awaitable[None]]) -> None:
    """Do a duty now and then again; what is away is waited for, a bug is logged, and the clock goes on."""
    while True:
        try:
            await duty()
        except EscribaError as error:
            log.warning("%s put off: %s", name, error.code)
        except Exception:
            log.exception("%s failed", name)
        await asyncio.sleep(seconds)
