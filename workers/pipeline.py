"""One attempt at a job, step by step: choose → claim → fetch → decode → hear → save → announce.

This module has the attempt's life; what is done with the sound is in `workers.hearing`.
"""

import asyncio
import logging
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import ExitStack
from enum import Enum, auto
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from config import telemetry
from domain.capabilities import AUTO, DIARIZE_STAGE
from domain.errors import (
    DatabaseUnavailable,
    DeadlinePassed,
    EngineFailed,
    EscribaError,
    Unavailable,
    UnsupportedOption,
)
from domain.intake_errors import RecordingChanged
from domain.lifecycle import JobOptions
from domain.transcript import Transcript
from engines.choice import NoEngine
from engines.registry import Choice, Registry
from services import attempts, engine_reports, fetching, stages
from services.attempts import Attempt, Pinned, Standing, Waiting
from services.platform import Platform
from workers.hearing import Cast, Recording, fetch, hear, lacks_speakers, prepare
from workers.insistence import RELEASE_SECONDS, give_back, insist
from workers.measuring import Ending, Outcome, attempted, heard, stage
from workers.recorder import Recorder

log = logging.getLogger(__name__)

BEATS_PER_LEASE = 5
"""A lease survives four heartbeats that did not get through, and a wish to cancel is heard within a fifth of it."""

FETCH_STAGE = "fetch"
"""Of a job whose recording is fetched."""

STOPPED = {Standing.CANCEL: Outcome.CANCELLED, Standing.OVERDUE: Outcome.OVERDUE, Standing.LOST: Outcome.LOST}


class NotOurs(Exception):
    """The attempt must stop: its lease is gone, its owner wishes it cancelled, or its time is up."""

    def __init__(self, standing: Standing) -> None:
        super().__init__(standing)
        self.standing = standing


class Tried(Enum):
    """What became of a try to begin an attempt."""

    BEGUN = auto()
    """And it has ended, or the process in which it was made has; how, the row says."""
    NOT_HAD = auto()
    """Somebody was first, or the job cannot be begun now."""
    NO_ENGINE = auto()
    """What the job asks for has no engine here now."""


Elsewhere = Callable[[UUID], Awaitable[Tried]]
"""Makes an attempt in another process."""


async def run_attempt(
    platform: Platform,
    registry: Registry,
    job_id: UUID,
    *,
    worker: str,
    elsewhere: Elsewhere | None = None,
    fetches: asyncio.Semaphore | None = None,
) -> Tried:
    """Make one attempt at a job, if it is there to be had; returns when the row says how it ended.

    A job that may be what kills workers is left to `elsewhere`, where that is given. One whose recording is to be
    fetched waits in the queue while there is no room in `fetches`.
    """
    waiting = await attempts.look(platform, job_id)
    if waiting is None:
        return Tried.NOT_HAD
    return await attempt_at(platform, registry, waiting, worker=worker, elsewhere=elsewhere, fetches=fetches)


async def attempt_at(
    platform: Platform,
    registry: Registry,
    waiting: Waiting,
    *,
    worker: str,
    elsewhere: Elsewhere | None = None,
    fetches: asyncio.Semaphore | None = None,
) -> Tried:
    """`run_attempt` at a job that has been looked at. Its place is taken before anything is waited for."""
    job_id = waiting.job_id
    if waiting.suspect and elsewhere is not None:
        if await _choose(platform, registry, job_id, waiting.options) is None:  # before a process is made for nothing
            return Tried.NO_ENGINE
        return await elsewhere(job_id)
    with ExitStack() as place:
        if waiting.is_to_be_fetched and fetches is not None:
            if fetches.locked():
                await attempts.postpone(platform, job_id, reason="waiting to be fetched, as other recordings are")
                return Tried.NOT_HAD
            await fetches.acquire()  # at once: nobody has come in between
            place.callback(fetches.release)
        return await _attempt(platform, registry, job_id, waiting.options, worker, place)


async def _attempt(
    platform: Platform, registry: Registry, job_id: UUID, options: JobOptions, worker: str, place: ExitStack
) -> Tried:
    """`place` is closed once the recording has been fetched, or need not be."""
    choice = await _choose(platform, registry, job_id, options)
    if choice is None:
        return Tried.NO_ENGINE
    attempt = await _claim(platform, job_id, worker)
    if attempt is None:
        return Tried.NOT_HAD
    with (
        telemetry.bind(job_id=str(job_id), fence=attempt.fence),
        attempted(attempt, choice.engine.name) as ending,
    ):
        await _settle(platform, attempt, _work(platform, registry, choice, attempt, worker, place), ending)
    return Tried.BEGUN


async def _claim(platform: Platform, job_id: UUID, worker: str) -> Attempt | None:
    """Cancelled, it gives back what it may have been given."""
    claiming = asyncio.create_task(attempts.claim(platform, job_id, worker=worker))
    try:
        return await asyncio.shield(claiming)
    except asyncio.CancelledError:
        await asyncio.wait({claiming}, timeout=RELEASE_SECONDS)
        if not claiming.done():
            claiming.cancel()
        elif claiming.exception() is None and (attempt := claiming.result()) is not None:
            await asyncio.shield(_give_back(platform, attempt))
        raise


async def _choose(platform: Platform, registry: Registry, job_id: UUID, options: JobOptions) -> Choice | None:
    """An engine for a job; where there is none here, the job has been told so, and None is returned."""
    choice = await registry.choose(options)
    if not isinstance(choice, NoEngine):
        return choice
    if choice.permanent:
        await attempts.give_up(platform, job_id, code="unsupported_option", reason=choice.reason)
        return None
    try:
        if await engine_reports.is_away(platform, options):  # else another worker shall find it as it is
            await attempts.postpone(platform, job_id, reason=choice.reason)
    except UnsupportedOption as error:
        await attempts.give_up(platform, job_id, code=error.code, reason=str(error))
    return None


async def _settle(platform: Platform, attempt: Attempt, work: Coroutine[Any, Any, None], ending: Ending) -> None:
    """See the work to its end, and let the row say how it ended; cancelled before it has, the job is given back."""
    try:
        await _conclude(platform, attempt, work, ending)
    except asyncio.CancelledError:
        await asyncio.shield(_give_back(platform, attempt))
        raise


async def _conclude(platform: Platform, attempt: Attempt, work: Coroutine[Any, Any, None], ending: Ending) -> None:
    try:
        await _attend(platform, attempt, work)
        ending.outcome = Outcome.COMPLETED
        log.info("the attempt completed")
    except NotOurs as end:
        ending.outcome = STOPPED[end.standing]
        await _stop(platform, attempt, end.standing)
    except EscribaError as error:
        log.warning("the attempt failed: %s", error.code)
        retryable = error.retryable if isinstance(error, EngineFailed) else isinstance(error, Unavailable)
        await _fail(platform, attempt, error, ending, retryable=retryable)
    except Exception:
        log.exception("a bug ended the attempt")
        unforeseen = EscribaError(
            "an unexpected error ended the attempt; the operator's log has it under this job's id"
        )
        await _fail(platform, attempt, unforeseen, ending, retryable=True)


async def _fail(platform: Platform, attempt: Attempt, error: EscribaError, ending: Ending, *, retryable: bool) -> None:
    again = attempt.is_tried_again(retryable=retryable)
    ending.outcome, ending.code = (Outcome.RETRIED if again else Outcome.FAILED), error.code
    await insist(partial(attempts.fail, platform, attempt, error, retryable=retryable))


async def _give_back(platform: Platform, attempt: Attempt) -> None:
    try:
        await give_back(lambda: attempts.release(platform, attempt, reason="the worker shut down"))
    except TimeoutError:
        log.warning("the job could not be given back: it goes to others once its lease has run out")


async def _stop(platform: Platform, attempt: Attempt, standing: Standing) -> None:
    log.info("the attempt was stopped: %s", standing)
    # A wish to cancel that comes with the end makes the row refuse the end, which looks as if the job were lost.
    if standing in (Standing.CANCEL, Standing.LOST):
        await insist(lambda: attempts.cancel(platform, attempt))
    elif standing == Standing.OVERDUE:
        await insist(lambda: attempts.fail(platform, attempt, DeadlinePassed(), retryable=False))


async def _attend(platform: Platform, attempt: Attempt, work: Coroutine[Any, Any, None]) -> None:
    """Run `work` beside a heartbeat of its own; a heartbeat that hears a stop ends the work at once."""
    working = asyncio.create_task(work)
    beating = asyncio.create_task(_beat(platform, attempt))
    try:
        await asyncio.wait({working, beating}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise NotOurs(beating.result())
        working.result()
    finally:
        working.cancel()
        beating.cancel()
        await asyncio.gather(working, beating, return_exceptions=True)


async def _beat(platform: Platform, attempt: Attempt) -> Standing:
    """Renew the lease until the row says stop.

    A database that does not answer says nothing: the work goes on, and the fence keeps it from doing harm.
    """
    every = attempts.lease(platform).total_seconds() / BEATS_PER_LEASE
    while True:
        await asyncio.sleep(every)
        try:
            standing = await attempts.heartbeat(platform, attempt)
            if standing == Standing.LOST and await attempts.is_completed(platform, attempt):
                continue  # by the work itself, which is just telling of it
        except DatabaseUnavailable:
            log.warning("no heartbeat: the database is away")
            continue
        if standing != Standing.OURS:
            return standing


async def _persist(write: Callable[[], Awaitable[bool]]) -> None:
    """Write what must not be lost, for as long as it takes. A write that finds the job taken ends the attempt."""
    if not await insist(write):
        raise NotOurs(Standing.LOST)


async def _work(
    platform: Platform,
    registry: Registry,
    choice: Choice,
    attempt: Attempt,
    worker: str,
    place: ExitStack,
) -> None:
    folder = Path(tempfile.mkdtemp(prefix="attempt-", dir=platform.settings.media.work_dir))
    try:
        with stage("fetch"):
            pinned = attempt.recording or await _bring_in(platform, attempt, place)
            if await fetch(platform.store, pinned.key, folder) != pinned.sha256:
                raise RecordingChanged
        with stage("decode"):
            recording = await prepare(folder, platform.settings.media, attempt.options)
        await _persist(partial(_note_decoded, platform, attempt, recording))
        recorder = Recorder(
            platform,
            attempt,
            worker=worker,
            engine=choice.engine.name,
            seconds=recording.decoded.seconds,
            persist=_persist,
        )
        async with recorder:
            transcript = await _hear_with_any(platform, registry, choice, attempt, recording, recorder)
        with stage("save"):
            await _persist(
                lambda: attempts.complete(
                    platform, attempt, transcript, unkept=recorder.unkept, engine_seconds=recorder.engine_seconds
                )
            )
        heard(recorder, recording.decoded.seconds)
    finally:
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))


async def _bring_in(platform: Platform, attempt: Attempt, place: ExitStack) -> Pinned:
    """Have the recording fetched from where its owner says it is, and leave the place among those that fetch."""
    await _persist(partial(attempts.note_progress, platform, attempt, stage=FETCH_STAGE, audio_done=None, segments=()))
    stored = await fetching.bring_in(platform, attempt)
    place.close()
    await _persist(partial(fetching.pin, platform, attempt, stored))
    return Pinned(stored.key, stored.sha256)


async def _cast(platform: Platform, registry: Registry, lead: Choice, attempt: Attempt, recording: Recording) -> Cast:
    options, given = attempt.options, None
    if attempt.fence > 1 or options.stages:
        order = (*lead.report.stages, DIARIZE_STAGE)
        given = await stages.last_kept(platform, attempt.owner, attempt.job_id, order)
    return Cast(
        lead,
        diarizer=await registry.diarizer() if lacks_speakers(lead.report, options, recording) else None,
        given=given if given and given.engine == lead.engine.name else None,
        last_try=attempt.attempts >= attempt.max_retries,
    )


async def _hear_with_any(
    platform: Platform, registry: Registry, lead: Choice, attempt: Attempt, recording: Recording, recorder: Recorder
) -> Transcript:
    """Have it heard; for `auto`, by the next engine where one turns out to be down before it has begun."""
    down: frozenset[str] = frozenset()
    while True:
        cast = await _cast(platform, registry, lead, attempt, recording)
        try:
            return await hear(cast, attempt.options, recording, recorder)
        except EngineFailed as error:
            if attempt.options.engine != AUTO or recorder.begun or not error.retryable:
                raise
            down |= {lead.engine.name}
            following = await registry.choose(attempt.options, passed_over=down)
            if isinstance(following, NoEngine):
                raise
            log.warning("engine %s was down (%s): on to %s", lead.engine.name, error.code, following.engine.name)
            lead = following


async def _note_decoded(platform: Platform, attempt: Attempt, recording: Recording) -> bool:
    decoded = recording.decoded
    return await attempts.note_decoded(platform, attempt, seconds=decoded.seconds, content_type=decoded.content_type)
