"""What keeps the queue honest: rings that were lost, workers that were lost, jobs that cannot be saved."""

from datetime import timedelta
from time import CLOCK_BOOTTIME, clock_gettime

from db import duties, job_events, jobs, sweeps
from domain.lifecycle import WORKER_CRASHED
from services import attempts
from services.platform import Platform

SWEEPER = "sweeper"
DUTY_LEASE = timedelta(seconds=6)
RING_AGAIN_AFTER = timedelta(seconds=3)
PAUSE_SECONDS = 5.0
"""A sweeper that was away for longer has slept with its machine, or PostgreSQL has: nobody could be heard."""

BATCH = 500


class Pulse:
    """When a sweeper last ran to its end, by a clock that goes on while the machine sleeps; and whether anybody did."""

    def __init__(self) -> None:
        self._last: float | None = None
        self._nobody_swept = False

    def beat(self) -> None:
        self._last = clock_gettime(CLOCK_BOOTTIME)
        self._nobody_swept = False

    def missed(self, idle: timedelta) -> None:
        """The duty had lain idle for so long."""
        self._nobody_swept = self._nobody_swept or idle.total_seconds() > PAUSE_SECONDS

    def paused(self) -> bool:
        slept = self._last is not None and clock_gettime(CLOCK_BOOTTIME) - self._last > PAUSE_SECONDS
        return slept or self._nobody_swept


async def take_duty(platform: Platform, pulse: Pulse, *, holder: str) -> bool:
    async with platform.sessions.directly() as connection:
        held = await duties.renew(connection, SWEEPER, holder=holder, lease=DUTY_LEASE)
    if held is not None:
        return held
    async with platform.sessions.begin() as session:
        idle = await duties.take(session, SWEEPER, holder=holder, lease=DUTY_LEASE)
    if idle is not None:
        pulse.missed(idle)
    return idle is not None


async def hand_back_duties(platform: Platform, *, holder: str) -> None:
    async with platform.sessions.begin() as session:
        await duties.hand_back(session, holder=holder)


async def due(platform: Platform) -> sweeps.Due:
    """Is there anything to do?"""
    async with platform.sessions.alone() as session:
        return await sweeps.due(session, ring_after=RING_AGAIN_AFTER)


async def rescue(platform: Platform, pulse: Pulse) -> int:
    """Give the jobs of lost workers to others. After a pause, first give every worker its whole lease again."""
    async with platform.sessions.begin() as session:
        # Asked inside the transaction: its now() is fixed from here, so a pause that begins later ages no lease.
        await sweeps.pin_now(session)
        if pulse.paused():
            await sweeps.extend_all_leases(session, attempts.lease(platform))
            return 0
        moved = await jobs.rescue_lost(session, limit=BATCH)
    for job in moved:
        await platform.events.publish(job_events.state_event(job, message=job.message))
    return len(moved)


async def give_up_spent(platform: Platform) -> int:
    """Fail waiting jobs whose budget for crashes is spent; no worker would claim them."""
    async with platform.sessions.begin() as session:
        moved = [
            await jobs.give_up(session, job_id, error=WORKER_CRASHED)
            for job_id in await sweeps.spent(session, limit=BATCH)
        ]
    for job in moved:
        if job is not None:
            await platform.events.publish(job_events.state_event(job, message=job.message))
    return len(moved)


async def redispatch(platform: Platform) -> int:
    """Ring again for jobs that are due and that nobody in the queue waits for; answers for how many."""
    rung = 0
    while True:
        async with platform.sessions.begin() as session:
            stale = await sweeps.stale_dispatches(session, older_than=RING_AGAIN_AFTER, limit=BATCH)
        waiting = await platform.queue.waiting(stale)
        if not stale or waiting is None:
            return rung
        lost = [job_id for job_id, _ in stale if job_id not in waiting]
        async with platform.sessions.begin() as session:
            await sweeps.touch_dispatched(session, waiting)
            numbered = await sweeps.renumber(session, lost)
        for job_id, number in numbered:
            if not await platform.queue.ring(job_id, number):
                return rung
            rung += 1
        if len(lost) < BATCH:
            return rung
