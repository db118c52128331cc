"""The anchors of benches of the API: the least that FastAPI and Starlette need for the same answers.

    DATABASE_URL=… REDIS_URL=… python -m bench.bare_api --fd N

`POST /insert` reads the body and inserts a row. `GET /result?file=…` answers a result through its model, as FastAPI
does it. `GET /events` gives every client what is published on one channel, from one subscription. The WebSocket `/echo`
sends back what it is sent.
"""

import argparse
import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import asyncpg
import uvicorn
from fastapi import FastAPI, Query, Request
from redis.asyncio import Redis
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from api.schemas import JobResult
from bench.plugin import ROOT
from bench.running import Running
from cli.supervisor import Child, until_answers

CHANNEL = "bench:events"
TABLE = "CREATE TABLE IF NOT EXISTS bench_rows (id uuid PRIMARY KEY, bytes int, at timestamptz DEFAULT now())"
INSERT = "INSERT INTO bench_rows (id, bytes) VALUES ($1, $2)"


@asynccontextmanager
async def beside(platform: Running) -> AsyncIterator[tuple[str, int]]:
    """Its address; it runs as one more child of the platform's supervisor."""
    settings = platform.embedded.settings
    url = (settings.database.migration_url or settings.database.url).get_secret_value()
    environ = {**os.environ, "DATABASE_URL": url, "REDIS_URL": settings.redis.url.get_secret_value()}
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        address: tuple[str, int] = listener.getsockname()
        argv = [sys.executable, "-m", "bench.bare_api", "--fd", str(listener.fileno())]
        question = b"GET /openapi.json HTTP/1.1\r\nHost: bare\r\nConnection: close\r\n\r\n"
        ready = partial(until_answers, address[1], question, b"HTTP/1.1 200")
        child = Child("bare-api", argv, environ, cwd=ROOT, pass_fds=(listener.fileno(),), ready=ready)
        await platform.supervisor.start(child)
        yield address


class Broadcast:
    """One Redis subscription for all clients, and nothing else."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._clients: set[asyncio.Queue[str]] = set()

    async def listen(self) -> None:
        async with self._redis.pubsub(ignore_subscribe_messages=True) as subscription:
            await subscription.subscribe(CHANNEL)
            async for message in subscription.listen():
                for client in self._clients:
                    client.put_nowait(message["data"].decode())

    async def follow(self) -> AsyncIterator[ServerSentEvent]:
        queue: asyncio.Queue[str] = asyncio.Queue()
        self._clients.add(queue)
        try:
            yield ServerSentEvent("hello")
            while True:
                yield ServerSentEvent(await queue.get())
        finally:
            self._clients.discard(queue)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with (
        asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=1, max_size=8) as pool,
        Redis.from_url(os.environ["REDIS_URL"]) as redis,
    ):
        await pool.execute(TABLE)
        app.state.pool, app.state.broadcast = pool, Broadcast(redis)
        listening = asyncio.create_task(app.state.broadcast.listen())
        yield
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


app = FastAPI(lifespan=lifespan)


@app.post("/insert", status_code=202)
async def insert(request: Request) -> dict[str, str]:
    row, body = uuid4(), await request.body()
    await request.app.state.pool.execute(INSERT, row, len(body))
    return {"job_id": str(row)}


@app.get("/result", response_model=JobResult)
async def result(file: Annotated[Path, Query()]) -> Any:
    return json.loads(await asyncio.to_thread(file.read_bytes))


@app.get("/events")
async def events(request: Request) -> EventSourceResponse:
    return EventSourceResponse(request.app.state.broadcast.follow())


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for said in websocket.iter_text():
        await websocket.send_text(said)


app.router.routes.append(WebSocketRoute("/echo", echo))  # past FastAPI


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fd", type=int, required=True, help="serve on this inherited, listening socket")
    options = parser.parse_args()
    config = uvicorn.Config(app, log_config=None, access_log=False)
    # Not as uvicorn's `fd`: it would take the socket for a Unix one and leave TCP_NODELAY off.
    uvicorn.Server(config).run([socket.socket(fileno=options.fd)])


if __name__ == "__main__":
    main()
