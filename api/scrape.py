"""The answer of GET /metrics: what processes have measured, and how the platform stands at this moment."""

import asyncio
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from api.answers import Shared
from config import metrics
from domain.errors import DatabaseUnavailable, RowsUnguarded
from services import vitals
from services.platform import Platform
from services.vitals import LATELY, Vitals

FRESH_SECONDS = 2.0
"""How long an answer serves: scraping more often costs nothing, and tells nothing more."""

Row = tuple[tuple[str, ...], float]


class Scrape:
    """One of a process."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._shared = Shared(self._make, fresh_seconds=FRESH_SECONDS)

    async def answer(self) -> bytes:
        """In Prometheus's text format. While PostgreSQL is away, it says so and has what was measured."""
        return await self._shared.get()

    async def _make(self) -> bytes:
        try:
            standing = list(_of(await vitals.look(self._platform)))
        except (DatabaseUnavailable, RowsUnguarded):
            standing = []
        standing.append(_gauge("database_up", "Whether PostgreSQL serves this process", (), [((), bool(standing))]))
        # In a thread, as to add up what many processes have measured takes some milliseconds.
        return await asyncio.to_thread(_render, standing, self._platform.settings.storage.root)


def _render(standing: list[Metric], root: Path | None) -> bytes:
    return metrics.exposition(*standing, *_disk(root))


def _disk(root: Path | None) -> Iterator[Metric]:
    """Of the folder with the objects, where they lie in one."""
    if root is not None and root.is_dir():
        usage = shutil.disk_usage(root)
        yield _gauge("storage_free_bytes", "Free on the disk with the recordings", (), [((), usage.free)])
        yield _gauge("storage_size_bytes", "Size of the disk with the recordings", (), [((), usage.total)])


def _of(found: Vitals) -> Iterator[Metric]:
    yield from _of_jobs(found)
    yield from _of_engines(found)
    backlog = found.backlog
    yield _gauge("deliveries_pending", "Deliveries that are owed", (), [((), backlog.pending)])
    yield _gauge(
        "deliveries_overdue_seconds",
        "How long ago the first should have been tried",
        (),
        [((), backlog.overdue_seconds)],
    )
    yield _gauge("deliveries_oldest_seconds", "Since the oldest came to be owed", (), [((), backlog.oldest_seconds)])
    yield _gauge("webhooks", "Webhooks", ("state",), (((state,), count) for state, count in found.webhooks.items()))


def _of_jobs(found: Vitals) -> Iterator[Metric]:
    by_engine = {
        "queue_jobs": ("Jobs that wait", "waiting"),
        "queue_later_jobs": ("Those of them that may not begin yet", "later"),
        "queue_oldest_seconds": ("How long the first job that could begin has waited", "oldest_due_seconds"),
        "processing_jobs": ("Jobs that a worker holds", "processing"),
        "lost_jobs": ("Jobs whose worker has gone silent, until others get them", "lost"),
        "crashed_jobs": ("Jobs under way that have cost workers their lives", "crashed"),
    }
    for name, (what, field) in by_engine.items():
        yield _gauge(name, what, ("engine",), (((line.engine,), getattr(line, field)) for line in found.lines))
    lanes = [((queue.lane,), queue) for queue in found.queues]
    oldest = "How long the first job of the lane that could begin has waited"
    yield _gauge("lane_jobs", "Jobs that wait in the lane", ("lane",), ((lane, line.waiting) for lane, line in lanes))
    yield _gauge("lane_oldest_seconds", oldest, ("lane",), ((lane, line.oldest_due_seconds) for lane, line in lanes))
    yield _gauge("pending_jobs", "Recordings that nobody has asked to be run", (), [((), found.pending)])
    lately = f"Jobs that ended within the last {LATELY.total_seconds() / 60:.0f} minutes"
    yield _gauge("jobs_ended_lately", lately, ("state",), (((state,), count) for state, count in found.ended.items()))


def _of_engines(found: Vitals) -> Iterator[Metric]:
    engines = found.engines
    reports = [*engines.engines.values(), *([engines.diarizer] if engines.diarizer else [])]
    yield _gauge("workers", "Workers that are there", (), [((), engines.workers)])
    yield _gauge(
        "engine_available",
        "Whether any worker can reach the engine",
        ("engine",),
        (((report.engine,), report.available) for report in reports),
    )
    yield _gauge(
        "engine_load", "Jobs that it has in hand or in line", ("engine",), (((r.engine,), r.load) for r in reports)
    )
    yield _gauge(
        "engine_memory_bytes",
        "Main memory of its loaded models, where that is ours to know",
        ("engine",),
        (
            ((report.engine,), sum(model.resident_bytes or 0 for model in report.memory))
            for report in reports
            if report.memory is not None
        ),
    )
    yield _gauge(
        "engine_real_time_factor",
        "Seconds of work for each second of audio, over its last jobs",
        ("engine",),
        (((engine,), factor) for engine, factor in engines.real_time_factors.items()),
    )


def _gauge(name: str, what: str, labels: tuple[str, ...], rows: Iterable[Row]) -> Metric:
    family = GaugeMetricFamily(f"escriba_{name}", what, labels=labels)
    for values, value in rows:
        family.add_metric(values, float(value))
    return family
