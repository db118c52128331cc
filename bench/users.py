"""Ten users at once with `whisper`: each has the transcript sooner than the recording lasts.

    python -m bench.users [--users 10] [--rounds 3]

All of them send the same minute of a consultation at the same moment, each over a connection of their own, and wait for
its end; one worker, on a processor. With the small network of ../shared/data, whose sentences are of no use but which
costs what it costs, unless WHISPER_MODEL names another.
"""

import asyncio
import os
import sys

from rich.progress import Progress

from bench.connection import Connection, form
from bench.ends import Ends
from bench.measure import Goal, Line, present, quantile
from bench.plugin import ROOT
from bench.running import Running, running
from bench.timed_jobs import SUBMIT

SAMPLE, SAMPLE_SECONDS = ROOT / "samples" / "consultation.flac", 59.0
MICRO = ROOT.parent / "shared" / "data" / "models" / "whisper-micro-ct2"

SHARE = Goal(1, "≤")


async def _user(platform: Running, ends: Ends, body: bytes) -> float:
    """Seconds from the first byte sent to the news that the transcript is there."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with Connection(platform.address) as connection:
        job = await connection.post(SUBMIT, body)
    await ends.of(job["job_id"])
    return loop.time() - began


async def _rounds(bar: Progress, users: int, rounds: int) -> list[list[float]]:
    task = bar.add_task(f"{users} users at once", total=rounds + 1)
    body = form(SAMPLE.read_bytes(), engine="whisper", language="en")
    model = os.environ.get("WHISPER_MODEL", str(MICRO))
    found = []
    async with running({"WORKERS_COUNT": "1", "WHISPER_MODEL": model, "WHISPER_DEVICE": "cpu"}) as platform:
        redis = platform.embedded.settings.redis.url.get_secret_value()
        async with Ends.heard_at(redis) as ends:
            await _user(platform, ends, body)  # which loads the model
            bar.advance(task)
            for _ in range(rounds):
                found.append(await asyncio.gather(*(_user(platform, ends, body) for _ in range(users))))
                bar.advance(task)
    return found


def measure(bar: Progress, *, users: int = 10, rounds: int = 3) -> list[Line]:
    found = asyncio.run(_rounds(bar, users, rounds))
    shares = [seconds / SAMPLE_SECONDS for each in found for seconds in each]
    slowest = [max(each) / SAMPLE_SECONDS for each in found]
    return [
        Line(f"slowest of {users} ÷ the recording", "", f"{SAMPLE_SECONDS:.0f} s", quantile(slowest), goal=SHARE),
        Line("   all of them, p50", "", "", quantile(shares)),
    ]


if __name__ == "__main__":
    sys.exit(present(__doc__, "Users at once", measure))
