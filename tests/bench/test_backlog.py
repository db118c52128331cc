"""Jobs that a bench puts past the API are jobs that the platform takes."""

import json
from collections.abc import AsyncIterator

import asyncpg
import pytest
from arq.jobs import deserialize_job_raw

from bench import stubs
from bench.backlog import RECORDING, Backlog
from messaging.arq_queue import QUEUE_NAME, TASK, connect_arq, hint
from services import attempts
from services.platform import Platform
from tests.support.jobs import NOBODY_HEARD


@pytest.fixture
async def backlog(platform: Platform) -> AsyncIterator[Backlog]:
    url = platform.settings.database.url.get_secret_value().replace("escriba_app@", "postgres@")
    arq, sql = connect_arq(platform.settings.redis), await asyncpg.connect(url)
    yield Backlog(sql, arq, "o/local/j/none/source", "0" * 64)
    await arq.flushall()
    await arq.aclose(close_connection_pool=True)
    await sql.close()


async def test_a_job_of_a_backlog_can_be_claimed_and_completed(platform: Platform, backlog: Backlog) -> None:
    before = await backlog.completed()
    [job] = await backlog.add(1)
    assert await backlog.unfinished(job)
    attempt = await attempts.claim(platform, job, worker="worker")
    assert attempt is not None and attempt.options.engine == stubs.ENGINE
    assert await attempts.complete(platform, attempt, NOBODY_HEARD)
    assert not await backlog.unfinished(job)
    assert await backlog.completed() == before + 1
    assert await backlog.begun([job]) <= await backlog.ended([job])


async def test_a_job_that_has_not_ended_has_no_end(backlog: Backlog) -> None:
    jobs = await backlog.add(2)
    with pytest.raises(RuntimeError, match="of 2 jobs 0 have completed"):
        await backlog.ended(jobs)


async def test_rings_come_in_the_order_of_the_jobs_as_arq_writes_them(platform: Platform, backlog: Backlog) -> None:
    jobs = await backlog.add(20)
    await backlog.ring(jobs)
    assert await backlog.arq.zrange(QUEUE_NAME, 0, -1) == [hint(job, 1).encode() for job in jobs]
    body = await backlog.arq.get(f"arq:job:{hint(jobs[0], 1)}")
    assert body is not None
    task, arguments, *_ = deserialize_job_raw(body, deserializer=json.loads)
    assert (task, list(arguments)) == (TASK, [str(jobs[0])])
    assert await platform.queue.waiting([(job, 1) for job in jobs]) == set(jobs)


async def test_what_is_taken_back_is_waited_for_by_nobody(platform: Platform, backlog: Backlog) -> None:
    jobs = await backlog.add(3)
    await backlog.ring(jobs)
    await backlog.clear()
    assert await platform.queue.waiting([(job, 1) for job in jobs]) == set()
    assert await attempts.claim(platform, jobs[0], worker="worker") is None


async def test_finished_jobs_are_nobody_s_work(platform: Platform, backlog: Backlog) -> None:
    before = await backlog.completed()
    await backlog.add_finished(10_000)
    assert await backlog.completed() == before + 10_000


def test_every_job_has_a_second_of_sound() -> None:
    assert len(RECORDING) == 44 + 2 * 16_000
