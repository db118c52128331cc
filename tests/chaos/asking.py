"""P9: whoever asks by message gets one answer, whatever is killed meanwhile and however often the question comes."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from itertools import count
from typing import Any, ClassVar

from tests.chaos.campaign import Campaign, Record
from tests.chaos.doors import Doors, doors
from tests.chaos.ground import so
from tests.support.broker import RabbitMQServer, is_installed

BATCH = 20
"""What one door has in hand at most (rabbitmq.relay): so many may be told twice for every kill, of it or its broker."""

MOST_TIMES = 5
MISSING_SHARE = 0.05
"""Requests that name a file which is not there."""

OUTSTANDING = 60
TOLD_SECONDS = 60.0

UNTOLD = """
SELECT count(*) FROM amqp_requests r WHERE r.attachment_id = ANY($1::bigint[]) AND r.answered_at IS NULL
"""
JOBS = """
SELECT attachment_id, count(*) AS jobs FROM amqp_requests WHERE attachment_id = ANY($1::bigint[]) GROUP BY 1
"""


@dataclass(frozen=True, slots=True)
class Size:
    held: int
    unconfirmed: int
    requests: int
    kills: int
    restarts: int


class Asking(Campaign[Size]):
    promise = "P9"
    title = "One result per request, by message"
    fault = "kill -9 of the door and of the broker, in the moments that matter and at random; restarts; repetitions"
    parts = ("before_it_is_kept", "before_it_is_confirmed", "storm")
    repeated = ("held", "unconfirmed", "kills", "restarts")
    smoke = Size(held=1, unconfirmed=1, requests=24, kills=3, restarts=1)
    full = Size(held=10, unconfirmed=5, requests=5_000, kills=60, restarts=5)
    numbers: ClassVar[Any] = count(1)
    broker: RabbitMQServer

    @classmethod
    def missing(cls) -> str | None:
        return None if is_installed() else "needs rabbitmq-server: make ci-services"

    async def run(self, *parts: str) -> Record:
        with RabbitMQServer() as self.broker:
            return await super().run(*parts)

    async def before_it_is_kept(self) -> None:
        """The door dies with a request in hand that it was just about to keep."""
        async with doors(self.ground, self.broker, 1) as door:
            for _ in range(self.size.held):
                async with self.ground.locked("amqp_requests", "EXCLUSIVE"):
                    number = await self._ask(door, times=1)
                    assert await so(self._somebody_waits, within=60), "nobody takes the request"
                    door.kill_all()
                self.injected()
                door.start(1)
                await self._expect_told(door, [number], duplicates=0)

    async def _somebody_waits(self) -> bool:
        asked = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'amqp_requests'::regclass"
        return bool(await self.ground.sql.fetchval(asked))

    async def before_it_is_confirmed(self) -> None:
        """The broker stands still with a result that it has not confirmed; then it and the door die."""
        async with doors(self.ground, self.broker, 1) as door:
            for _ in range(self.size.unconfirmed):
                async with self.ground.locked("outbox_events", "EXCLUSIVE"):
                    number = await self._ask(door, times=1)
                    assert await so(self._result_waits, within=60), "the job does not end"
                    door.broker.stop_signal()
                assert await so(lambda n=number: self._is_taken_up(n), within=60), "nobody relays"
                await asyncio.sleep(0.2)  # the fault itself: that the broker says nothing
                door.kill_all()
                self.injected()
                door.restart_broker(kill=True)
                door.start(1)
                await self._expect_told(door, [number], duplicates=0)

    async def _result_waits(self) -> bool:
        asked = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'outbox_events'::regclass"
        return bool(await self.ground.sql.fetchval(asked))

    async def _is_taken_up(self, number: int) -> bool:
        asked = (
            "SELECT d.fence FROM deliveries d JOIN amqp_requests r ON r.id = d.event_id"
            " WHERE r.attachment_id = $1 AND d.fence > 0"
        )
        return bool(await self.ground.sql.fetchval(asked, number))

    async def storm(self) -> None:
        await self.ground.all_workers()
        size, asked = self.size, list[int]()
        faults = ["kill"] * size.kills + ["restart"] * size.restarts
        self.chance.shuffle(faults)
        async with doors(self.ground, self.broker, 2) as door:
            for number, fault in enumerate(faults, start=1):
                await self._ask_up_to(door, size.requests * number // len(faults), asked)
                if fault == "kill":
                    door.kill(self.chance)
                else:
                    door.restart_broker(kill=self.chance.random() < 0.5)
                self.injected()
                door.start(2)
            await self._expect_told(door, asked, duplicates=len(faults) * BATCH)

    async def _ask_up_to(self, door: Doors, number: int, asked: list[int]) -> None:
        """So many requests in all, never many more at once than the platform has hands for."""
        while len(asked) < number:
            assert await so(lambda: self._room(door, asked), within=TOLD_SECONDS), "no request is answered any more"
            asked.append(await self._ask(door, times=self.chance.randint(1, MOST_TIMES)))

    async def _room(self, door: Doors, asked: list[int]) -> bool:
        return sum(number not in door.listener.told for number in asked) <= OUTSTANDING

    async def _ask(self, door: Doors, *, times: int) -> int:
        number: int = next(self.numbers)
        name = "nothing.wav" if times > 1 and self.chance.random() < MISSING_SHARE else "a.wav"
        said = {"attachment_id": number, "audio_file_path": f"{door.served}/{name}"}
        await door.publish(said, times=times, message_id=f"request {number}")
        return number

    async def _expect_told(self, door: Doors, asked: list[int], *, duplicates: int) -> None:
        told = door.listener.told
        await so(lambda: self._all_told(door, asked), within=TOLD_SECONDS + 0.1 * len(asked))
        self.count("requests", len(asked))
        self.expect("requests without an answer", sum(number not in told for number in asked))
        self.expect("answers under more than one id", sum(len(told[number]) > 1 for number in asked))
        bodies = [came for number in asked for came in told[number].values()]
        self.expect("bodies that differ under one id", sum(len(set(came)) > 1 for came in bodies))
        twice = sum(len(came) - 1 for came in bodies)
        self.count("told again", twice)
        self.expect("told again more often than kills explain", max(0, twice - duplicates))
        rows = await self.ground.sql.fetch(JOBS, asked)
        made = Counter({row["attachment_id"]: row["jobs"] for row in rows})
        self.expect("requests that were kept twice, or never", sum(made[number] != 1 for number in asked))

    async def _all_told(self, door: Doors, asked: list[int]) -> bool:
        """Has everything been told, and does the platform know?"""
        if not all(number in door.listener.told for number in asked):
            return False
        return not await self.ground.sql.fetchval(UNTOLD, asked)
