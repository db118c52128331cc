"""The clock: what a worker does for the whole platform, and when. One worker at a time holds the duty."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import monotonic

from domain.errors import EscribaError
from engines.registry import Registry
from services import engine_reports, retention, upkeep
from services.platform import Platform

log = logging.getLogger(__name__)

SWEEP_SECONDS = 1.0
"""How long a lost ring or a lost worker may go unnoticed, besides its lease."""

REPORT_SECONDS = 2.0
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
        if await upkeep.take_duty(self._platform, holder=self._worker):
            await upkeep.rescue(self._platform, self._pulse)
            await upkeep.give_up_spent(self._platform)
            await upkeep.redispatch(self._platform)
            await retention.finish_erasures(self._platform)
            await self._tidy()
        self._pulse.beat()

    async def _tidy(self) -> None:
        if monotonic() - self._tidied > TIDY_SECONDS:
            self._tidied = monotonic()
            await retention.delete_expired_audio(self._platform)
        if monotonic() - self._looked_for_orphans > ORPHANS_SECONDS:
            self._looked_for_orphans = monotonic()
            await retention.delete_orphans(self._platform)


class Reporter:
    """Tells what this worker can reach, so that doors need know no engine."""

    def __init__(self, platform: Platform, registry: Registry, *, worker: str) -> None:
        self._platform, self._registry, self._worker = platform, registry, worker
        self.told = asyncio.Event()
        """Set once the first report is in PostgreSQL: from then on jobs for these engines are understood."""

    async def run(self) -> None:
        await every(REPORT_SECONDS, "report", self.report)

    async def report(self) -> None:
        reports = await self._registry.reports()
        await engine_reports.record(self._platform, worker=self._worker, reports=reports)
        self.told.set()


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
