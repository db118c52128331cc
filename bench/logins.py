"""P14: guesses at a password, what log-ins cost everybody else, and how soon somebody is out who has to go.

    python -m bench.logins [--tries 1000] [--bursts 20] [--streams 5]

A thousand wrong passwords for one account from one address, twenty at a time: how many were looked at within a minute,
and not turned away. Then GET /health every 10 ms, while twenty people log in at once and while nobody does. Then
streams are open, each by a log-in of its own; the time is from the log-out to the end of the stream. No worker runs.
"""

import asyncio
import sys
from time import perf_counter

import httpx
from rich.progress import Progress

from bench.measure import Estimate, Goal, Line, present, quantile
from bench.people import headers_of, log_in, make_people
from bench.plugin import ROOT
from bench.running import Running, running

AT_ONCE = 20
EVERY_SECONDS = 0.01
SAMPLE = ROOT / "samples" / "consultation.flac"
JOBS = "/api/transcribe/jobs"

LIMITS = httpx.Limits(max_connections=None, keepalive_expiry=2)
"""The server hangs up after five seconds."""

TRIES, HEALTH_MS, REVOKED_SECONDS = Goal(10, "≤"), Goal(50, "≤"), Goal(60, "≤")


async def _guesses(client: httpx.AsyncClient, email: str, tries: int) -> int:
    """The most wrong passwords within a minute that were looked at."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def guess() -> float | None:
        async with turns:
            answer = await log_in(client, email, "wrong horse")
        return perf_counter() if answer.status_code == 401 else None

    looked_at = [at for at in await asyncio.gather(*(guess() for _ in range(tries))) if at is not None]
    return max((sum(at <= other < at + 60 for other in looked_at) for at in looked_at), default=0)


async def _health(client: httpx.AsyncClient, until: asyncio.Future[object]) -> list[float]:
    """Milliseconds of GET /health, asked every 10 ms whether or not the last was answered."""
    asked: list[asyncio.Task[float]] = []

    async def ask() -> float:
        began = perf_counter()
        (await client.get("/health")).raise_for_status()
        return 1000 * (perf_counter() - began)

    while not until.done():
        asked.append(asyncio.create_task(ask()))
        await asyncio.sleep(EVERY_SECONDS)
    return await asyncio.gather(*asked)


async def _bursts(
    platform: Running, client: httpx.AsyncClient, emails: list[str], bursts: int, bar: Progress
) -> tuple[list[float], list[float]]:
    """GET /health in milliseconds: while all log in at once, and for as long without."""
    busy: list[float] = []
    quiet: list[float] = []
    connection = await platform.connect()
    task = bar.add_task("people who log in at once", total=bursts)
    for _ in range(bursts):
        await connection.execute("DELETE FROM login_tries")  # all come from one address here
        began = perf_counter()
        logging_in = asyncio.gather(*(headers_of(client, email) for email in emails))
        busy += await _health(client, logging_in)
        await logging_in
        quiet += await _health(client, asyncio.ensure_future(asyncio.sleep(perf_counter() - began)))
        bar.advance(task)
    await connection.close()
    return busy, quiet


async def _revocation(client: httpx.AsyncClient, email: str) -> float:
    """Seconds from a log-out to the end of the stream that was open."""
    headers = await headers_of(client, email)
    with SAMPLE.open("rb") as recording:
        job = await client.post(f"{JOBS}/transcribe", files={"file": recording}, headers=headers)
    async with client.stream("GET", f"{JOBS}/stream/{job.json()['job_id']}", headers=headers, timeout=300) as stream:
        lines = stream.aiter_lines()
        await anext(lines)
        (await client.post("/auth/logout", headers=headers)).raise_for_status()
        began = perf_counter()
        async for _ in lines:
            pass
    return perf_counter() - began


async def _measured(bar: Progress, tries: int, bursts: int, streams: int) -> list[Line]:
    async with running({"AUTH": "required"}, workers=False) as platform:
        emails = await make_people(platform, AT_ONCE)
        async with httpx.AsyncClient(base_url=platform.embedded.address, timeout=60, limits=LIMITS) as client:
            task = bar.add_task("guesses at a password", total=1)
            guessed = await _guesses(client, emails[0], tries)
            bar.advance(task)
            busy, quiet = await _bursts(platform, client, emails, bursts, bar)
            connection = await platform.connect()
            await connection.execute("DELETE FROM login_tries")
            await connection.close()
            task = bar.add_task("log-outs under a stream", total=1)
            ended = await asyncio.gather(*(_revocation(client, email) for email in emails[:streams]))
            bar.advance(task)
    calm, under_way = quantile(quiet, 0.99), quantile(busy, 0.99)
    return [
        Line(f"of {tries:,} guesses, looked at in a minute", "", "", Estimate.exact(guessed), "", TRIES),
        Line(f"GET /health while {AT_ONCE} log in, p99", "", f"{calm.value:.1f} ms", under_way, "ms", HEALTH_MS),
        Line("   p50", "", f"{quantile(quiet).value:.1f} ms", quantile(busy), "ms"),
        Line("log-out → end of an open stream, longest", "", "", Estimate.exact(max(ended)), "s", REVOKED_SECONDS),
    ]


def measure(bar: Progress, *, tries: int = 1_000, bursts: int = 20, streams: int = 5) -> list[Line]:
    return asyncio.run(_measured(bar, tries, bursts, streams))


if __name__ == "__main__":
    sys.exit(present(__doc__, "Log-ins", measure))
