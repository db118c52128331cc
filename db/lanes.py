"""Which of the jobs that wait goes next: by lanes, and within a lane by turns of its owners.

In words: of the first lane that has a job which is due, the owner with the fewest jobs of that lane in hand; of several
owners, the one who has waited longest since a job of theirs was begun there; of theirs, the oldest. To count what is in
hand would not be enough: where as many owners have a job in hand as there are places, each would get their own back.

The statements are written out, as the first is a walk through one index (`transcript_jobs_in_line`): from a line, the
jobs of one lane, owner and engine, to the next, past all that are in it. So ten thousand jobs of an owner cost what one
does, and those that a worker passes over, as their engine is away, cost as little.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self
from uuid import UUID

from sqlalchemy import Boolean, Integer, Text, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from db.jobs import Queued
from domain.lanes import Lane
from domain.lifecycle import MAX_CRASHES, QUARANTINE_AFTER

ORDER = bindparam("order", [str(lane) for lane in Lane], type_=ARRAY(Text()))


@dataclass(frozen=True, slots=True)
class Ahead:
    """The jobs in line before one."""

    jobs: int
    audio_seconds: float
    """Of those for some of the engines whose length is known, what has not been heard yet."""
    of_unknown_length: float
    """How many others of those there are."""


@dataclass(frozen=True, slots=True)
class Room:
    """What a worker could begin now."""

    in_hand: Collection[UUID] = ()
    """Jobs that it has chosen: they count as in hand, although it may not have claimed them yet."""
    tried: Collection[UUID] = ()
    """Further jobs that it passes over."""
    fetches: bool = True
    """Jobs whose recording is to be fetched."""
    suspects: bool = True
    """Jobs that are to be tried alone."""
    engines: Collection[str] | None = None
    """Names under which jobs ask for an engine that it has; None: all."""
    favoured: Lane | None = None
    """The lane that goes first for once, unless something of it is in hand."""


NEXT = (
    text("""
WITH RECURSIVE lines AS (
    (SELECT lane, owner, engine, source_key IS NULL AS unfetched FROM transcript_jobs
      WHERE state = 'queued'
      ORDER BY lane, owner, engine, (source_key IS NULL) LIMIT 1)
    UNION ALL
    SELECT following.* FROM lines, LATERAL (
        SELECT job.lane, job.owner, job.engine, job.source_key IS NULL FROM transcript_jobs job
         WHERE job.state = 'queued' AND (job.lane, job.owner, job.engine, (job.source_key IS NULL))
                                        > (lines.lane, lines.owner, lines.engine, lines.unfetched)
         ORDER BY job.lane, job.owner, job.engine, (job.source_key IS NULL) LIMIT 1) following
), held AS (
    SELECT lane, owner, count(*) AS jobs FROM (
        SELECT lane, owner FROM transcript_jobs WHERE state = 'processing'
        UNION ALL
        SELECT lane, owner FROM transcript_jobs WHERE id = ANY(:in_hand) AND state = 'queued') in_hand
     GROUP BY lane, owner
)
SELECT head.id, head.engine_params, head.crash_count, lines.unfetched
  FROM lines
 CROSS JOIN LATERAL (
    SELECT id, engine_params, crash_count, run_at FROM transcript_jobs job
     WHERE job.state = 'queued' AND job.lane = lines.lane AND job.owner = lines.owner AND job.engine = lines.engine
       AND (job.source_key IS NULL) = lines.unfetched AND job.run_at <= now()
       AND job.cancel_requested_at IS NULL AND job.crash_count < :crashes
       AND job.id <> ALL(:in_hand) AND job.id <> ALL(:tried)
     ORDER BY run_at, id LIMIT 1) head
 CROSS JOIN LATERAL (
    SELECT max(started_at) AS at FROM transcript_jobs begun
     WHERE begun.lane = lines.lane AND begun.owner = lines.owner) turn
  LEFT JOIN held ON held.lane = lines.lane AND held.owner = lines.owner
 WHERE (:fetches OR NOT lines.unfetched) AND (:engines IS NULL OR lines.engine = ANY(:engines))
 ORDER BY lines.lane = :favoured AND NOT EXISTS (SELECT FROM held WHERE held.lane = :favoured) DESC,
          array_position(:order, lines.lane), coalesce(held.jobs, 0), turn.at NULLS FIRST, head.run_at, head.id
 LIMIT 1
""")
    .bindparams(
        bindparam("in_hand", type_=ARRAY(Uuid())),
        bindparam("tried", type_=ARRAY(Uuid())),
        bindparam("engines", type_=ARRAY(Text())),
        bindparam("fetches", type_=Boolean()),
        bindparam("crashes", type_=Integer()),
        bindparam("favoured", type_=Text()),
        ORDER,
    )
    .columns(id=Uuid(), engine_params=JSONB(), crash_count=Integer(), unfetched=Boolean())
)


async def next_due(connection: AsyncConnection, room: Room) -> Queued | None:
    """The job that goes next of those that there is room for; nothing keeps another worker from being as quick."""
    given: dict[str, Any] = {
        "in_hand": list(room.in_hand),
        "tried": list(room.tried),
        "engines": None if room.engines is None else list(room.engines),
        "fetches": room.fetches,
        "crashes": MAX_CRASHES if room.suspects else QUARANTINE_AFTER,
        "favoured": room.favoured or "",
    }
    row = (await connection.execute(NEXT, given)).one_or_none()
    return None if row is None else Queued._make(row)


LINES = text("""
WITH held AS (
    SELECT lane, owner, count(*) AS jobs FROM transcript_jobs WHERE state = 'processing' GROUP BY lane, owner
), lines AS (
    SELECT job.lane, job.owner, min(job.run_at) AS head, me.run_at > now() AS early,
           job.lane = me.lane AND job.owner = me.owner AS mine,
           count(*) AS jobs, count(*) FILTER (WHERE earlier) AS jobs_earlier,
           coalesce(sum(unheard) FILTER (WHERE asked), 0) AS audio,
           coalesce(sum(unheard) FILTER (WHERE asked AND earlier), 0) AS audio_earlier,
           count(*) FILTER (WHERE asked AND unheard IS NULL) AS unknown,
           count(*) FILTER (WHERE asked AND unheard IS NULL AND earlier) AS unknown_earlier
      FROM transcript_jobs me, transcript_jobs job, LATERAL (
        SELECT (job.run_at, job.id) < (me.run_at, me.id) AS earlier,
               job.engine = ANY(:engines) AND job.id <> me.id AS asked,
               job.audio_seconds - least(coalesce(job.audio_done, 0), job.audio_seconds) AS unheard) said
     WHERE me.id = :of_job AND me.state = 'queued' AND job.state = 'queued'
       AND (job.run_at <= now() OR (job.run_at, job.id) <= (me.run_at, me.id))
     GROUP BY job.lane, job.owner, me.lane, me.owner, me.run_at
)
SELECT lines.*, coalesce(held.jobs, 0) AS held, turn.at
  FROM lines LEFT JOIN held ON held.lane = lines.lane AND held.owner = lines.owner
 CROSS JOIN LATERAL (
    SELECT max(started_at) AS at FROM transcript_jobs begun
     WHERE begun.lane = lines.lane AND begun.owner = lines.owner) turn
""").bindparams(bindparam("engines", type_=ARRAY(Text())), bindparam("of_job", type_=Uuid()))


NEVER = datetime.min.replace(tzinfo=UTC)


class Line(NamedTuple):
    """The jobs of an owner in a lane that could come before a certain one; where it is one of them, itself as well."""

    lane: str
    owner: str
    head: datetime
    """When the first of them was due."""
    early: bool
    """Whether the certain one is not due yet: then all that are come first."""
    mine: bool
    """Whether it is one of them."""
    jobs: int
    jobs_earlier: int
    """Of these, those that were due before it."""
    audio: float
    """Seconds that have not been heard yet, of those for some of the engines."""
    audio_earlier: float
    unknown: int
    """Of those for some of the engines, the ones whose length nobody knows."""
    unknown_earlier: int
    held: int
    turn: datetime | None

    @property
    def _at_a_tie(self) -> tuple[int, datetime, datetime, str]:
        return -self.held, self.turn or NEVER, self.head, self.owner

    def before(self, mine: Self) -> int:
        """How many of them come before one of the line `mine`, if none ends meanwhile.

        An owner's nth job comes when they have n - 1 more in hand than now. Of several owners who then have as many,
        those go first who have had more from the beginning, as it is longer ago that they had a turn.
        """
        order = list(Lane)
        if self.early:
            return self.jobs - self.mine
        if self.lane != mine.lane:
            return self.jobs if order.index(Lane(self.lane)) < order.index(Lane(mine.lane)) else 0
        if self.mine:
            return self.jobs_earlier
        is_first = self._at_a_tie < mine._at_a_tie
        return min(self.jobs, max(0, mine.held + mine.jobs_earlier - self.held + is_first))


async def ahead(session: AsyncSession, job_id: UUID, engines: Collection[str]) -> Ahead | None:
    """What comes before a job, and how much of that asked for one of `engines`; None where it is not in line.

    Of another owner's jobs of which only some come before it, those for the engines are taken to be as many as of all.
    """
    found = await session.execute(LINES, {"of_job": job_id, "engines": list(engines)})
    lines = [Line._make(row) for row in found]
    mine = next((line for line in lines if line.mine), None)
    if mine is None:
        return None
    counts = [(line, line.before(mine)) for line in lines]
    own = (mine.audio_earlier, mine.unknown_earlier)
    others = [
        (line.audio * count / line.jobs, line.unknown * count / line.jobs) for line, count in counts if line != mine
    ]
    audio, unknown = (sum(each) for each in zip(own, *others, strict=True))
    return Ahead(sum(count for _, count in counts), audio, unknown)
