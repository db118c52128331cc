"""A worker process: arq brings hints, attempts run beside it, and SIGTERM drains it without charging anybody."""

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Coroutine
from typing import Any

from arq.worker import Worker, func
from redis.exceptions import RedisError

from config.settings import Settings
from messaging.arq_queue import QUEUE_NAME, TASK, connect_arq, serialize
from messaging.webhook_sender import WebhookSender
from services import upkeep
from services.platform import Platform
from workers import schedule
from workers.attendance import Attendance
from workers.cells import Cells
from workers.process import AtWork, at_work, stop_on_signals
from workers.relay import Relay, Timed
from workers.studio import Studio
from workers.tasks import transcribe

log = logging.getLogger(__name__)

LONGEST_ATTEMPT_SECONDS = 7 * 24 * 3600
"""arq's own limit, out of the way: the deadline in the row is the one that counts."""

RECONNECT_SECONDS = 0.5
HAND_BACK_SECONDS = 1.0
POLL_SECONDS = 0.05
"""How often Redis is asked: 31 ms to pick a job up, 0.9 % of a core when idle (measured)."""


async def run(settings: Settings, cells: Cells, *, ready_fd: int | None) -> None:
    """Work until SIGTERM or SIGINT."""
    stop = stop_on_signals()
    async with at_work(with_connections(settings)) as here:
        try:
            await _serve(here, cells, stop, ready_fd)
        finally:
            await cells.close()


def with_connections(settings: Settings) -> Settings:
    """The same settings, with connections for as many jobs as are attended to at once, where there would be too few."""
    database = settings.database.model_copy(update={"pool_size": settings.worker_connections})
    return settings.model_copy(update={"database": database})


async def _serve(here: AtWork, cells: Cells, stop: asyncio.Event, ready_fd: int | None) -> None:
    platform, registry, worker = here.platform, here.registry, here.worker
    attendance = Attendance(platform, registry, cells, worker=worker)
    reporter = schedule.Reporter(platform, registry, worker=worker)
    relay = Relay(platform, Timed(WebhookSender(platform.settings.webhooks), "webhook"))
    studio = Studio(platform, worker=worker)
    duties: list[Coroutine[Any, Any, None]] = [
        _listen(platform, attendance, stop),
        schedule.Sweeper(platform, worker=worker).run(),
        reporter.run(),
        relay.run(),
        studio.run(),
        cells.watch(),
        _say_ready(reporter, ready_fd),
    ]
    tasks = [asyncio.create_task(duty) for duty in duties]
    broken = _stop_where_one_breaks(tasks, stop)
    await stop.wait()
    log.info("worker %s drains", worker)
    await reporter.withdraw()
    grace = platform.settings.workers.grace_seconds
    await asyncio.gather(attendance.drain(grace), relay.drain(grace), studio.drain(grace))
    await _end(tasks)
    with contextlib.suppress(Exception):
        async with asyncio.timeout(HAND_BACK_SECONDS):
            await upkeep.hand_back_duties(platform, holder=worker)
    if broken:
        raise broken[0]


def _stop_where_one_breaks(tasks: list[asyncio.Task[None]], stop: asyncio.Event) -> list[BaseException]:
    """Have the process end in good order, and another be started, where a duty ends: nobody else would do it.

    Returns the reasons, which are there once all is over.
    """
    broken: list[BaseException] = []

    def look(task: asyncio.Task[None]) -> None:
        if stop.is_set():
            return
        error = asyncio.CancelledError("a duty was cancelled") if task.cancelled() else task.exception()
        if error is not None:
            log.error("a duty of the worker broke off (%s): it drains and ends", type(error).__name__)
            broken.append(error)
            stop.set()

    for task in tasks:
        task.add_done_callback(look)
    return broken


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel until all are gone: redis-py loses a cancellation that comes as a reply does, and arq then polls on."""
    left: set[asyncio.Task[None]] = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=0.2)


async def _say_ready(reporter: schedule.Reporter, ready_fd: int | None) -> None:
    await reporter.told.wait()
    log.info("the worker is ready")
    if ready_fd is not None:
        os.write(ready_fd, b"ready\n")
        os.close(ready_fd)


async def _listen(platform: Platform, attendance: Attendance, stop: asyncio.Event) -> None:
    """Take hints from arq for as long as the process lives, over every absence of Redis.

    Each connection gets a new arq worker: one that lost Redis in the middle of a pick-up has lost count of its slots.
    """
    left: set[asyncio.Task[None]] = set()
    try:
        while not stop.is_set():
            arq = _arq_worker(platform.settings, attendance)
            try:
                await _pick(arq, stop)
            except (RedisError, OSError) as error:
                log.warning("redis is away (%s); running jobs go on", type(error).__name__)
            except Exception:
                log.exception("listening to redis broke off; running jobs go on")
            finally:
                left.add(leaving := asyncio.create_task(_leave(arq)))
                leaving.add_done_callback(left.discard)
            await asyncio.sleep(RECONNECT_SECONDS)
    finally:
        await asyncio.gather(*left)


async def _pick(arq: Worker, stop: asyncio.Event) -> None:
    picking = asyncio.create_task(_stop_picking(arq, stop))
    try:
        await arq.main()
    finally:
        picking.cancel()


async def _leave(arq: Worker) -> None:
    """Close an arq worker's connections once the jobs that it brought have ended: until then it still speaks of them.

    What it could not say to Redis is told by nobody: the row has it.
    """
    try:
        await asyncio.gather(*arq.tasks.values(), return_exceptions=True)
    finally:
        with contextlib.suppress(Exception):
            await arq.pool.aclose(close_connection_pool=True)


async def _stop_picking(arq: Worker, stop: asyncio.Event) -> None:
    await stop.wait()
    arq.allow_pick_jobs = False


def _arq_worker(settings: Settings, attendance: Attendance) -> Worker:
    return Worker(
        functions=[func(transcribe, name=TASK)],  # type: ignore[arg-type]  # arq types its context as a plain dict
        redis_pool=connect_arq(settings.redis),
        queue_name=QUEUE_NAME,
        ctx={"attendance": attendance},
        handle_signals=False,
        max_jobs=settings.workers.max_concurrent_jobs,
        job_timeout=LONGEST_ATTEMPT_SECONDS,
        max_tries=1_000_000,  # tries are counted in the row
        keep_result=0,
        log_results=False,
        poll_delay=POLL_SECONDS,
        job_serializer=serialize,
        job_deserializer=json.loads,
    )
