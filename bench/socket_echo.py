"""G10: a message over the WebSocket and its answer, through log-in and routing, beside a bare Starlette echo.

    python -m bench.socket_echo [--rounds 2] [--frames 500]

One client of each, in turns, sends a `ping` as a client of `/ws/transcription/{job_id}` does, and the next once the
answer is there; the echo gets the same text. Ours is parsed, checked against the job that is followed, and answered
with a time; whether the log-in is good is looked at beside it. Nothing is compressed, as a text that is always the same
would cost the echo nothing. 2,000 frames a side.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import perf_counter

import httpx
from rich.progress import Progress
from websockets.asyncio.client import ClientConnection, connect

from bench import bare_api
from bench.logins import JOBS, SAMPLE
from bench.measure import Goal, Line, Runs, abba, present, quantile
from bench.people import headers_of, make_people
from bench.running import Running, running

P50, P99 = Goal(1.3, "≤"), Goal(2, "≤")


@dataclass(frozen=True, slots=True)
class Echo:
    socket: ClientConnection
    said: str

    async def run(self, frames: int) -> list[float]:
        """Milliseconds from each message to its answer."""
        took = []
        for _ in range(frames):
            began = perf_counter()
            await self.socket.send(self.said)
            await self.socket.recv()
            took.append(1000 * (perf_counter() - began))
        return took


@asynccontextmanager
async def _ours(platform: Running) -> AsyncIterator[Echo]:
    [email] = await make_people(platform, 1)
    async with httpx.AsyncClient(base_url=platform.embedded.address, timeout=60) as client:
        headers = await headers_of(client, email)
        with SAMPLE.open("rb") as recording:
            answer = await client.post(f"{JOBS}/transcribe", files={"file": recording}, headers=headers)
    job_id = answer.json()["job_id"]
    host, port = platform.address
    address = f"ws://{host}:{port}/ws/transcription/{job_id}"
    async with connect(address, additional_headers=headers, compression=None, proxy=None) as socket:
        for _ in ("connected", "progress"):  # it waits in line, and says so once
            await socket.recv()
        yield Echo(socket, json.dumps({"type": "ping", "job_id": job_id}))


@asynccontextmanager
async def _anchor(platform: Running, said: str) -> AsyncIterator[Echo]:
    async with (
        bare_api.beside(platform) as (host, port),
        connect(f"ws://{host}:{port}/echo", compression=None, proxy=None) as socket,
    ):
        yield Echo(socket, said)


async def _runs(bar: Progress, rounds: int, frames: int) -> Runs[list[float]]:
    task = bar.add_task("messages and answers", total=4 * rounds)
    runs: Runs[list[float]] = Runs()
    async with (
        running({"AUTH": "required"}, workers=False) as platform,
        _ours(platform) as ours,
        _anchor(platform, ours.said) as anchor,
    ):
        for echo in (ours, anchor):
            await echo.run(frames // 5)  # what is done once, is done
        for side in abba(rounds):
            runs.add(side, await (ours if side == "ours" else anchor).run(frames))
            bar.advance(task)
    return runs


def _line(runs: Runs[list[float]], share: float, goal: Goal) -> Line:
    ours, anchor = (quantile([took for run in side for took in run], share) for side in (runs.ours, runs.anchor))
    shown = (f"{1000 * ours.value:,.0f} µs", f"{1000 * anchor.value:,.0f} µs")
    return Line(f"message → answer, p{100 * share:.0f} ÷ bare Starlette", *shown, ours.over(anchor), goal=goal)


def measure(bar: Progress, *, rounds: int = 2, frames: int = 500) -> list[Line]:
    runs = asyncio.run(_runs(bar, rounds, frames))
    return [
        _line(runs, 0.5, P50),
        _line(runs, 0.99, P99),
        Line("   the same side again (A/A), p50", "", "", runs.noise(lambda run: quantile(run).value)),
    ]


if __name__ == "__main__":
    sys.exit(present(__doc__, "Messages over a WebSocket", measure))
