"""P1: what was answered with 202 is on disk, and a submission that is sent again makes no second job."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import httpx

from tests.chaos.campaign import Campaign, gathered
from tests.chaos.ground import HARDLY_ANY, so

HOLD_SECONDS = 1.0
"""How long commits have been held up before the API is killed: an answer in that time is a lie."""

MOST_REPEATS = 4


@dataclass(frozen=True, slots=True)
class Size:
    held: int
    kills: int
    submissions: int
    at_once: int = 8


@dataclass(slots=True)
class Asked:
    """One submission, by its key, and all that was answered to it."""

    key: str
    session: UUID = field(default_factory=uuid4)
    answers: list[dict[str, Any]] = field(default_factory=list)

    def take(self, response: httpx.Response) -> bool:
        assert response.status_code in (202, 503), f"a submission is answered with {response.status_code}"
        if response.status_code == 202:
            self.answers.append(response.json())
        return response.status_code == 202


class Submissions(Campaign[Size]):
    promise = "P1"
    title = "A 202 is durable; a retried submission makes one job"
    fault = "kill -9 of the API, in any moment and while the commit is held up"
    parts = ("while_the_commit_is_held_up", "at_random", "with_another_body")
    repeated = ("held", "kills")
    smoke = Size(held=1, kills=2, submissions=50)
    full = Size(held=10, kills=90, submissions=2_000)

    async def while_the_commit_is_held_up(self) -> None:
        for _ in range(self.size.held):
            await self.ground.answers()
            asked = [Asked(uuid4().hex) for _ in range(self.size.at_once)]
            async with self.ground.locked("transcript_jobs", "SHARE"):  # no row can be written, all can be read
                posts = [asyncio.create_task(self._once(each)) for each in asked]
                await so(lambda posts=posts: self._all_held_up(posts), within=30)  # type: ignore[misc]
                await asyncio.wait(posts, timeout=HOLD_SECONDS)
                await asyncio.to_thread(self.ground.whole.kill, "api")
                self.injected()
            await gathered(*posts)
            await self.ground.answers()
            await asyncio.gather(*(self._until_answered(each, repeats=1) for each in asked))
            await self._judge(asked)

    async def _all_held_up(self, posts: list[asyncio.Task[bool]]) -> bool:
        """Whoever has not been answered waits for the lock."""
        held_up = await self.ground.sql.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(held_up + sum(post.done() for post in posts) >= len(posts))

    async def at_random(self) -> None:
        asked: list[Asked] = []
        killed = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for _ in range(self.size.at_once):
                group.create_task(self._submit_on(asked, killed))
            await self._kill_again_and_again()
            killed.set()
        await self.ground.answers()
        await self._judge(asked)

    async def with_another_body(self) -> None:
        asked = Asked(uuid4().hex)
        await self._until_answered(asked, repeats=0)
        other = await self.ground.post("steady", key=asked.key, session=asked.session, audio=HARDLY_ANY)
        self.expect("other body, same key: not refused", int(other.status_code != 422))
        await self._judge([asked])

    async def _kill_again_and_again(self) -> None:
        for _ in range(self.size.kills):
            await self.ground.answers()
            await asyncio.sleep(self.chance.uniform(0, 0.5))  # somewhere among the submissions
            await asyncio.to_thread(self.ground.whole.kill, "api")
            self.injected()

    async def _submit_on(self, asked: list[Asked], killed: asyncio.Event) -> None:
        while len(asked) < self.size.submissions or not killed.is_set():
            each = Asked(uuid4().hex)
            asked.append(each)
            await self._until_answered(each, repeats=self.chance.randint(0, MOST_REPEATS))

    async def _until_answered(self, asked: Asked, *, repeats: int) -> None:
        """Ask until it is answered, and then so many times more."""
        assert await so(lambda: self._once(asked), within=120), "a submission is never answered"
        for _ in range(repeats):
            await self._once(asked)

    async def _once(self, asked: Asked) -> bool:
        try:
            return asked.take(await self.ground.post("steady", key=asked.key, session=asked.session, parts=1))
        except httpx.TransportError:
            return False

    async def _judge(self, asked: list[Asked]) -> None:
        self.count("submissions", len(asked))
        self.count("answers", sum(len(each.answers) for each in asked))
        jobs = await self._jobs(asked)
        acked = {UUID(answer["job_id"]) for each in asked for answer in each.answers}
        there = {job for found in jobs.values() for job in found}
        self.expect("acked jobs that are not there", len(acked - there))
        self.expect("keys with other than one job", sum(len(jobs[each.session]) != 1 for each in asked))
        unlike = sum(answer != each.answers[0] for each in asked for answer in each.answers)
        self.expect("answers unlike the first", unlike)
        self.expect("not terminal", len(await self.ground.all_end(sorted(acked & there))))

    async def _jobs(self, asked: list[Asked]) -> dict[UUID, list[UUID]]:
        """The jobs of each submission, by its session."""
        query = (
            "SELECT t.session_id, j.id FROM transcripts t JOIN transcript_jobs j ON j.transcript_id = t.id"
            " WHERE t.session_id = ANY($1::uuid[])"
        )
        found: defaultdict[UUID, list[UUID]] = defaultdict(list)
        for row in await self.ground.sql.fetch(query, [each.session for each in asked]):
            found[row["session_id"]].append(row["id"])
        return found
