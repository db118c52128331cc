"""P9: whoever asked for it is told of each job's end, always in the same words, and hardly ever twice."""

import asyncio
import hashlib
import signal
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tests.chaos.audit import expect_one_end_each
from tests.chaos.campaign import Campaign
from tests.chaos.ground import send, so

BATCH = 32
"""What one relay has in hand at most (workers.relay): so many may be told twice for every kill."""

ANSWER_SECONDS = 0.02
TAKEN_OVER_SECONDS = 30.0

OWED = """
SELECT d.endpoint_id, e.id, e.job_id, d.state FROM deliveries d JOIN outbox_events e ON e.id = d.event_id
WHERE e.job_id = ANY($1::uuid[])
"""


@dataclass(frozen=True, slots=True)
class Size:
    held: int
    jobs: int
    endpoints: int
    kills: int
    absences: int


class Receiver:
    """A webhook endpoint at each path: what was sent there, by its id, and answered."""

    def __init__(self) -> None:
        self.told: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        self.holding: asyncio.Future[None] | None = None
        """Where set: the next request is never answered, and this is done once it has come."""
        self.away = False
        self.port = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines if line)
            body = await reader.readexactly(int(headers["content-length"]))
            if self.holding is not None and not self.holding.done():
                self.holding.set_result(None)
                await reader.read()  # until its relay is gone
                return
            await asyncio.sleep(ANSWER_SECONDS)  # a receiver that does something with it
            status = "503 Away" if self.away else "204 Taken"
            if not self.away:
                self.told[first.split()[1], headers["webhook-id"]].append(hashlib.sha256(body).hexdigest())
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # its relay was killed
        finally:
            writer.close()


class Announcing(Campaign[Size]):
    promise = "P9"
    title = "One result per job, by webhook"
    fault = "kill -9 of relays, with a delivery under way and at random; receivers away"
    parts = ("under_way", "undisturbed", "kills")
    repeated = ("held", "kills", "absences")
    smoke = Size(held=1, jobs=24, endpoints=2, kills=2, absences=1)
    full = Size(held=10, jobs=1_000, endpoints=5, kills=60, absences=5)

    async def under_way(self) -> None:
        """Every relay dies while a receiver has heard it out and has not answered: nobody knows that it was told."""
        async with self._endpoints(1) as (receiver, paths):
            for _ in range(self.size.held):
                workers = await self.ground.all_workers()
                receiver.holding = asyncio.get_running_loop().create_future()
                job = await self.ground.submit("steady")
                await asyncio.wait_for(asyncio.shield(receiver.holding), TAKEN_OVER_SECONDS)
                for pid in workers:
                    send(pid, signal.SIGKILL)
                self.injected()
                await self._expect_told([job], receiver, paths, duplicates=0)

    async def undisturbed(self) -> None:
        await self.ground.all_workers()
        async with self._endpoints(self.size.endpoints) as (receiver, paths):
            jobs = [await self.ground.submit("steady") for _ in range(min(50, self.size.jobs))]
            await self._expect_told(jobs, receiver, paths, duplicates=0)

    async def kills(self) -> None:
        await self.ground.all_workers()
        size, jobs = self.size, list[UUID]()
        faults = ["kill"] * size.kills + ["away"] * size.absences
        self.chance.shuffle(faults)
        async with self._endpoints(size.endpoints) as (receiver, paths):
            for number, fault in enumerate(faults, start=1):
                missing = size.jobs * number // len(faults) - len(jobs)
                jobs += await asyncio.gather(*(self.ground.submit("steady") for _ in range(missing)))
                if fault == "kill":
                    assert await so(self._kill_one, within=60), "there is no worker left"
                receiver.away = fault == "away"
                self.injected()
                await self.ground.all_end(jobs[-missing:])
            receiver.away = False
            await self._expect_told(jobs, receiver, paths, duplicates=size.kills * BATCH)

    async def _kill_one(self) -> bool:
        pid = self.ground.random_worker(self.chance)
        return pid is not None and send(pid, signal.SIGKILL)

    @asynccontextmanager
    async def _endpoints(self, number: int) -> AsyncIterator[tuple[Receiver, dict[UUID, str]]]:
        """A receiver, and the paths of its endpoints by their ids."""
        receiver, paths = Receiver(), dict[UUID, str]()
        async with receiver.listening():
            try:
                for n in range(number):
                    wanted = {"url": f"http://127.0.0.1:{receiver.port}/{n}", "events": ["job.completed"]}
                    answer = await self.ground.http.post("/api/webhooks", json=wanted)
                    assert answer.status_code == 201, answer.text
                    paths[UUID(answer.json()["webhook_id"])] = f"/{n}"
                yield receiver, paths
            finally:
                for endpoint in paths:
                    await self.ground.http.delete(f"/api/webhooks/{endpoint}")

    async def _expect_told(
        self, jobs: list[UUID], receiver: Receiver, paths: dict[UUID, str], *, duplicates: int
    ) -> None:
        await expect_one_end_each(self, jobs)
        owed = await self.ground.sql.fetch(OWED, jobs)
        completed = sum(state == "completed" for state in (await self.ground.states(jobs)).values())
        self.expect("ends that are not owed, or twice", len(owed) - completed * len(paths))
        due = {(paths[row["endpoint_id"]], str(row["id"])) for row in owed}
        await so(lambda: self._all_told(due, receiver, jobs), within=TAKEN_OVER_SECONDS + 0.1 * len(due))
        told: Counter[Any] = Counter({key: len(receiver.told[key]) for key in due})
        self.count("announcements told", told.total())
        self.expect("announcements lost", sum(not told[key] for key in due))
        self.expect("bodies that differ under one id", sum(len(set(receiver.told[key])) > 1 for key in due))
        twice = sum(times - 1 for times in told.values() if times)
        self.count("told again", twice)
        self.expect("told again more often than kills explain", max(0, twice - duplicates))

    async def _all_told(self, due: set[tuple[str, str]], receiver: Receiver, jobs: list[UUID]) -> bool:
        """Has everything been told, and does the platform know?"""
        if not all(receiver.told[key] for key in due):
            return False
        return not [row for row in await self.ground.sql.fetch(OWED, jobs) if row["state"] == "pending"]
