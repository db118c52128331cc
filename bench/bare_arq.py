"""The anchor of several benches: an arq worker that does nothing, set up like the platform's own.

REDIS_URL=… python -m bench.bare_arq
"""

import json
import os
import sys
from typing import Any

import uvloop
from arq.worker import Worker, func
from pydantic import SecretStr

from bench.plugin import ROOT
from cli.supervisor import Child
from config.settings import RedisSettings, WorkerSettings
from messaging.arq_queue import connect_arq, serialize
from workers.main import POLL_SECONDS

QUEUE = "bench:bare"
TASK = "nothing"
ENDED = "bench:ended"
"""Where the worker tells of the jobs that it has done with, but for those whose id says that nobody listens."""

UNHEARD = "unheard:"
"""Begins the ids of jobs of whose end nothing is told: telling is what costs most of a job that does nothing."""


def child(redis: RedisSettings) -> Child:
    return Child("bare-arq", [sys.executable, "-m", __name__], {"REDIS_URL": redis.url.get_secret_value()}, cwd=ROOT)


async def nothing(_ctx: dict[str, Any], _argument: str) -> None: ...


async def tell(ctx: dict[str, Any]) -> None:
    if not ctx["job_id"].startswith(UNHEARD):
        await ctx["redis"].publish(ENDED, ctx["job_id"])


async def run() -> None:
    worker = Worker(
        functions=[func(nothing, name=TASK)],  # type: ignore[arg-type]  # arq's type wants any arguments
        redis_pool=connect_arq(RedisSettings(url=SecretStr(os.environ["REDIS_URL"]))),
        queue_name=QUEUE,
        after_job_end=tell,
        max_jobs=WorkerSettings().max_concurrent_jobs,
        keep_result=0,
        log_results=False,
        poll_delay=POLL_SECONDS,
        handle_signals=False,  # nothing to see to the end: SIGTERM may just end the process
        job_serializer=serialize,
        job_deserializer=json.loads,
    )
    await worker.main()


if __name__ == "__main__":
    uvloop.run(run())
