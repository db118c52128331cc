"""What an attempt has heard so far: kept in PostgreSQL at most once a second, announced as it comes."""

import asyncio
from collections.abc import Awaitable, Callable
from math import inf
from time import monotonic
from typing import Self

from domain.capabilities import DIARIZE_STAGE
from domain.events import Event
from domain.lifecycle import JobState
from domain.transcript import Detected, Heard, Notice, Progress, Segment, StageReached, TermsUsed
from engines.contract import DOWNLOAD_STAGE
from services import attempts, stages
from services.attempts import Attempt, Numbered
from services.platform import Platform

KEEP_EVERY_SECONDS = 1.0
GATHER_SECONDS = 0.1
"""What comes within it is kept in one transaction; a job that is over by then keeps its segments with its end."""
ANNOUNCE_EVERY_SECONDS = 0.25
ETA_BASIS = (3.0, 0.05)
"""Seconds of work and share of the audio before an estimate is worth showing."""

Persist = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]
"""Runs a fenced write until the database takes it; raises where the job is no longer ours."""


class Recorder:
    """Takes what the engine yields without making it wait; writes happen in a task of their own.

    `async with` it: leaving ends the writing, and what was taken last is left in `unkept` for the write that ends all.
    """

    def __init__(
        self, platform: Platform, attempt: Attempt, *, worker: str, engine: str, seconds: float, persist: Persist
    ) -> None:
        self._platform, self._attempt, self._worker = platform, attempt, worker
        self._total, self._persist = seconds, persist
        self.engine = engine
        self.model: str | None = None
        self.segments: list[Segment] = []
        self.notices: list[Notice] = []
        self.detected: Detected | None = None
        self.terms: TermsUsed | None = None
        self.reached: StageReached | None = None
        self.begun = False
        self._kept = 0
        self._progress = Progress(stage="transcribe", done=0, total=seconds)
        self._keeping = asyncio.Lock()
        self._began, self._announced = monotonic(), -inf
        self._engine_began: float | None = None
        self._engine_ended: float | None = None
        self._news = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._keeper = asyncio.create_task(self._keep_up())
        self._engine_began = monotonic()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        assert self._keeper is not None
        if kind is None:
            async with self._keeping:  # a write that is cut short costs its connection
                self._keeper.cancel()
        self._keeper.cancel()
        await asyncio.gather(self._keeper, return_exceptions=True)

    def begin(self, engine: str, model: str | None, given: StageReached | None) -> None:
        """Who begins, and what was said before a stage that is not done again; nothing of an engine that was down."""
        self.engine, self.model = engine, model
        self.reached, self.terms, self.notices = None, None, []
        if given is not None:
            self._engine_began = None  # what it takes for the rest says nothing of how fast it is
            self.model, self.reached, self.terms = given.model, given, given.terms
            self.notices = list(given.notices)

    @property
    def unkept(self) -> list[Numbered]:
        return list(enumerate(self.segments[self._kept :], start=self._kept + 1))

    @property
    def engine_seconds(self) -> float | None:
        """What the engine took for all of the recording, up to its last word; None where it went on from something."""
        if self._engine_began is None or self._engine_ended is None:
            return None
        return self._engine_ended - self._engine_began

    async def take(self, heard: Heard) -> None:
        if self._keeper is not None and self._keeper.done():
            self._keeper.result()  # the job is no longer ours: say so here, where the engine can be stopped
        self.begun = True
        self._time(heard)
        match heard:
            case Segment():
                self.segments.append(heard)
                self._news.set()
            case Progress():
                self._progress = heard
                self._news.set()
                await self._announce()
            case Detected():
                self.detected = heard
            case Notice():
                self.notices.append(heard)
            case TermsUsed():
                self.terms = heard
            case StageReached():
                said = {"engine": self.engine, "model": self.model, "terms": self.terms, "notices": tuple(self.notices)}
                self.reached = heard.model_copy(update=said)
                await stages.keep(self._platform, self._attempt, self.reached)

    def _time(self, heard: Heard) -> None:
        """The engine's seconds: without the wait for its turn and its model, and without those of a diarizer of ours.

        An engine that has waited begins by saying that nothing is done yet.
        """
        match heard:
            case Progress(stage=stage) if stage in (DOWNLOAD_STAGE, DIARIZE_STAGE):
                return
            case Progress(done=0) if self._engine_began is not None and self._engine_ended is None:
                self._engine_began = self._engine_ended = monotonic()
            case Progress() | Segment():
                self._engine_ended = monotonic()

    async def _keep_up(self) -> None:
        while True:
            await self._news.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._news.clear()
            await self._keep()
            await asyncio.sleep(KEEP_EVERY_SECONDS - GATHER_SECONDS)

    async def _keep(self) -> None:
        async with self._keeping:
            fresh, progress = self.unkept, self._progress
            await self._persist(
                lambda: attempts.note_progress(
                    self._platform, self._attempt, stage=progress.stage, audio_done=self._audio_done(), segments=fresh
                )
            )
            self._kept += len(fresh)

    def _audio_done(self) -> float | None:
        """Seconds of audio dealt with; None while something else is counted."""
        return None if self._progress.stage == DOWNLOAD_STAGE else min(self._progress.done, self._total)

    async def _announce(self) -> None:
        now = monotonic()
        if now - self._announced < ANNOUNCE_EVERY_SECONDS:
            return
        self._announced = now
        done = self._audio_done()
        percent = int(100 * done / self._total) if done and self._total else 0
        await self._platform.events.publish(
            Event(
                type="progress",
                job_id=self._attempt.job_id,
                transcript_id=self._attempt.transcript_id,
                status=JobState.PROCESSING,
                progress=min(99, percent),
                message=self._message(),
                stage=self._progress.stage,
                audio_done=done,
                audio_total=self._total,
                eta_seconds=self._eta(now, done),
                engine=self.engine,
                worker_id=self._worker,
                fence=self._attempt.fence,
            )
        )

    def _message(self) -> str:
        progress = self._progress
        if progress.stage == DOWNLOAD_STAGE:
            return f"downloading the model: {progress.done / 1e6:.0f} of {progress.total / 1e6:.0f} MB"
        return f"Transcribing with {self.engine.upper()}"

    def _eta(self, now: float, done: float | None) -> float | None:
        spent = now - self._began
        if not done or not self._total or spent < ETA_BASIS[0] or done / self._total < ETA_BASIS[1]:
            return None
        return round(spent * (self._total - done) / done, 1)
