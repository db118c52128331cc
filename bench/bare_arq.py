"""The anchor of `bench.job`: an arq worker that does nothing, set up like the platform's own.

REDIS_URL=… python -m bench.bare_arq
"""

import json
import os
from typing import Any

import uvloop
from arq.worker import Worker, func
from pydantic import SecretStr

from config.settings import RedisSettings
from messaging.arq_queue import connect_arq, serialize
from workers.main import POLL_SECONDS

QUEUE = "bench:bare"
TASK = "nothing"
ENDED = "bench:ended"
"""Where the worker tells of every job whose result has been noted."""


async def nothing(_ctx: dict[str, Any], _argument: str) -> None: ...


async def tell(ctx: dict[str, Any]) -> None:
    await ctx["redis"].publish(ENDED, ctx["job_id"])


async def run() -> None:
    worker = Worker(
        functions=[func(nothing, name=TASK)],  # type: ignore[arg-type]  # arq's type wants any arguments
        redis_pool=connect_arq(RedisSettings(url=SecretStr(os.environ["REDIS_URL"]))),
        queue_name=QUEUE,
        after_job_end=tell,
        poll_delay=POLL_SECONDS,
        handle_signals=False,  # nothing to see to the end: SIGTERM may just end the process
        job_serializer=serialize,
        job_deserializer=json.loads,
    )
    await worker.main()


if __name__ == "__main__":
    uvloop.run(run())
