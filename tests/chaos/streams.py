"""P10: whoever follows a job is told of each change and of its end once, in order, whatever breaks on the way."""

import asyncio
import resource
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from time import time
from typing import NamedTuple
from uuid import UUID

from services.following import REPAIR_SECONDS
from tests.chaos.campaign import Campaign, quantile
from tests.chaos.ground import SLOTS, WORKERS, so
from tests.chaos.listener import Listener

CALM_SECONDS, STORM_SECONDS = 1.0, 6.0
"""p99 of the delay, by itself, and with announcements lost and Redis away."""

AWAY_SECONDS = 10.0
"""In which a killed API is back, after the longest pause of the supervisor (5 s)."""

SEGMENTS_A_SECOND = 2
LOST_SHARE = 0.1
UNTOLD_SECONDS = 15.0
"""What is not told so long after the last job's end, never will be."""

SHORT_SECONDS = 3


@dataclass(frozen=True, slots=True)
class Size:
    clients: int
    cuts: int
    jobs: int
    job_seconds: float
    api_kills: int
    redis_away_seconds: float


class Away(NamedTuple):
    """A time without an API."""

    killed: float
    gone: float
    """The process, for certain."""
    seen: float
    """When the next one was seen to listen to announcements."""

    def until(self, answers: Iterable[tuple[float, float]]) -> float:
        """When there was one again: it was seen, or has answered somebody who had come after the end of the last."""
        return min([self.seen, *(began for connected, began in answers if connected > self.gone)])


class Streams(Campaign[Size]):
    promise = "P10"
    title = "Each client sees each terminal event once"
    fault = "lines cut, one announcement in ten lost, Redis away, kill -9 of the API"
    parts = ("calm", "back_behind_the_end", "all_is_lost", "storm")
    repeated = ("api_kills",)
    smoke = Size(clients=80, cuts=3, jobs=10, job_seconds=10, api_kills=1, redis_away_seconds=2)
    full = Size(clients=1_000, cuts=3, jobs=WORKERS * SLOTS, job_seconds=90, api_kills=10, redis_away_seconds=10)

    async def calm(self) -> None:
        """Nothing breaks: how late is a change of state told?"""
        await self.ground.all_workers()
        listeners, following = await self._follow(self.size.clients // 4, cuts=0, seconds=SHORT_SECONDS)
        await self._expect_told(listeners, following)
        delays = self._delays(listeners)
        self.at_most("p99 of the delay when nothing breaks, s", quantile(delays, 0.99), CALM_SECONDS)
        assert await so(lambda: self._newer(set()), within=10), "nobody listens"
        self.expect("Redis subscriptions", len(await self._subscribers()), 1)

    async def back_behind_the_end(self) -> None:
        """Jobs end while their clients are away. Nothing is announced any more; who comes back is told at once."""
        await self.ground.all_workers()
        listeners, following = await self._follow(self.size.clients // 4, cuts=0, seconds=SHORT_SECONDS)

        async def have_begun() -> bool:
            return all(listener.segments for listener in listeners)

        assert await so(have_begun, within=60), "nobody is told anything"
        following.cancel()
        await asyncio.wait([following])
        await self.ground.all_end(sorted({listener.job for listener in listeners}), patience=60)
        self.injected(len(listeners))
        for listener in listeners:
            listener.waiting_since = None
            listener.waits.clear()
        await self._expect_told(listeners, asyncio.create_task(_all(listeners, within=REPAIR_SECONDS)))
        self.at_most("p99 of the delay for who comes back, s", quantile(self._delays(listeners), 0.99), CALM_SECONDS)

    async def all_is_lost(self) -> None:
        """Nothing that a worker says is heard: PostgreSQL is asked in time."""
        await self.ground.all_workers()
        async with self.ground.lossy(1.0):
            listeners, following = await self._follow(self.size.clients // 4, cuts=0, seconds=SHORT_SECONDS)
            self.injected()
            await self._expect_told(listeners, following)
        delays = self._delays(listeners)
        self.at_most("p99 of the delay when nothing is announced, s", quantile(delays, 0.99), STORM_SECONDS)

    async def storm(self) -> None:
        await self.ground.all_workers()
        size = self.size
        async with self.ground.lossy(LOST_SHARE):
            listeners, following = await self._follow(size.clients, cuts=size.cuts, seconds=size.job_seconds)
            self.record.injected += size.clients * size.cuts
            away = await self._break(following)
            await self._expect_told(listeners, following)
        absences = [each.seen - each.killed for each in away]
        self.note("p50 until a killed API is back, s", quantile(absences, 0.5))
        self.at_most("longest until a killed API is back, s", max(absences), AWAY_SECONDS)
        delays = self._delays(listeners, away)
        self.note("p50 of the delay in the storm, s", quantile(delays, 0.5))
        self.at_most("p99 of the delay in the storm, s", quantile(delays, 0.99), STORM_SECONDS)

    async def _follow(self, clients: int, *, cuts: int, seconds: float) -> tuple[list[Listener], asyncio.Task[None]]:
        """Jobs that all run at once, and their listeners."""
        _allow_connections()
        parts = round(SEGMENTS_A_SECOND * seconds)
        jobs = await asyncio.gather(
            *(self.ground.submit("steady", seconds=seconds, parts=parts) for _ in range(self.size.jobs))
        )
        listeners = [
            Listener(self.ground.whole.url, jobs[n % len(jobs)], self._cuts(cuts, seconds)) for n in range(clients)
        ]
        return listeners, asyncio.create_task(_all(listeners))

    def _cuts(self, cuts: int, seconds: float) -> list[float]:
        return [self.chance.uniform(0.05, 2 * seconds / (cuts + 1)) for _ in range(cuts)]

    async def _break(self, following: asyncio.Task[None]) -> list[Away]:
        """Redis goes away and comes back, then the API is killed again and again, in the time that the jobs take.

        Returns when there was no API.
        """
        away = []
        self.ground.redis_server.kill()
        await asyncio.sleep(self.size.redis_away_seconds)  # the fault itself
        self.ground.redis_server.restart()
        self.injected()
        for _ in range(self.size.api_kills):
            await self.ground.answers()
            await asyncio.sleep(self.chance.uniform(0.2, 2))  # somewhere in the stream
            assert await so(lambda: self._newer(set()), within=10), "nobody listens"
            before, killed = await self._subscribers(), time()
            await asyncio.to_thread(self.ground.whole.kill, "api")
            gone = time()
            self.injected()
            assert await so(lambda before=before: self._newer(before), within=30), "the API does not come back"
            away.append(Away(killed, gone, time()))
        return away

    async def _expect_told(self, listeners: list[Listener], following: asyncio.Task[None]) -> None:
        jobs = sorted({listener.job for listener in listeners})
        self.expect("not terminal", len(await self.ground.all_end(jobs, patience=120)))
        await asyncio.wait([following], timeout=UNTOLD_SECONDS)
        following.cancel()
        self.expect("ends missed", sum(not listener.ended for listener in listeners))
        events, segments = await self._durable(jobs)
        for listener in listeners:
            due = [seq for seq in events[listener.job] if seq > listener.first_seq]
            self._compare("changes of state", listener.states, due)
            self._compare("segments", listener.segments, segments[listener.job])
        self.expect("refused", sum(listener.refused for listener in listeners))
        asked = [listener.after_the_end for listener in listeners if listener.after_the_end is not None]
        self.expect("streams that go on behind the end", sum(status != 204 for status in asked))
        self.count("events told", sum(len(each.states) + len(each.segments) for each in listeners))

    def _compare(self, what: str, told: Sequence[object], due: Sequence[object]) -> None:
        self.expect(f"{what} missed", len(set(due) - set(told)))
        self.expect(f"{what} doubled", len(told) - len(set(told)))
        self.expect(f"{what} out of order", int(list(told) != sorted(told)))  # type: ignore[type-var]

    def _delays(self, listeners: list[Listener], away: Sequence[Away] = ()) -> list[float]:
        """Seconds until a change of state was told. `away`: while there was no API, which does not count."""
        answers = [answer for listener in listeners for answer in listener.answered]
        gaps = [(each.killed, each.until(answers)) for each in away]
        return [
            told - since - sum(max(0.0, min(told, back) - max(since, killed)) for killed, back in gaps)
            for since, told in (wait for listener in listeners for wait in listener.waits)
        ]

    async def _durable(self, jobs: list[UUID]) -> tuple[dict[UUID, list[int]], dict[UUID, list[tuple[int, int]]]]:
        events: dict[UUID, list[int]] = {job: [] for job in jobs}
        segments: dict[UUID, list[tuple[int, int]]] = {job: [] for job in jobs}
        sql = self.ground.sql
        for row in await sql.fetch(
            "SELECT job_id, seq FROM job_events WHERE job_id = ANY($1::uuid[]) ORDER BY 2", jobs
        ):
            events[row["job_id"]].append(row["seq"])
        asked = "SELECT job_id, fence, n FROM transcript_segments WHERE job_id = ANY($1::uuid[]) ORDER BY 2, 3"
        for row in await sql.fetch(asked, jobs):
            segments[row["job_id"]].append((row["fence"], row["n"]))
        return events, segments

    async def _subscribers(self) -> set[str]:
        """Connections that listen to announcements: one for each API process."""
        return {client["id"] for client in await self.ground.redis.client_list() if int(client["psub"])}

    async def _newer(self, before: set[str]) -> bool:
        return bool(await self._subscribers() - before)


async def _all(listeners: list[Listener], *, within: float = 0) -> None:
    """All follow, one after another within so many seconds, that no clock of the platform suits them all."""

    async def follow(listener: Listener, wait: float) -> None:
        await asyncio.sleep(wait)
        await listener.follow()

    async with asyncio.TaskGroup() as group:
        for number, listener in enumerate(listeners):
            group.create_task(follow(listener, within * number / len(listeners)))


def _allow_connections() -> None:
    """As many files as we may have: a thousand connections are more than the usual 1,024 leave room for."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
