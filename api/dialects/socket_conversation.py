"""What is said over a WebSocket between a client and a job: how it goes, until the job or the client ends it."""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from typing import Any
from uuid import UUID

from starlette.websockets import WebSocket, WebSocketDisconnect

from api.dependencies import get_caller, while_allowed
from api.dialects import socket_views as views
from config import metrics
from domain import account_errors, errors
from domain.access import Caller
from domain.events import Event
from domain.lifecycle import ENDED
from services import following, queueing, reading, tickets
from services.following import Hub, Told
from services.platform import Platform
from services.queueing import NOTHING_AHEAD

log = logging.getLogger(__name__)

LARGEST_MESSAGE_BYTES = 65_536
"""Of a client; RFC 6455's 1009 beyond it. The longest that the protocol knows has a hundred."""

END = 1000
CLOSE_CODES: dict[type[errors.EscribaError], int] = {
    errors.BinaryMessage: 1003,
    errors.Unavailable: 1013,
    account_errors.Unauthenticated: 4401,
    errors.Forbidden: 4403,
    errors.NotFound: 4404,
    errors.EscribaError: 1011,
}
"""Why a connection ends before its job: RFC 6455, section 7.4, with HTTP's statuses from 4000 on."""

KNOWN = ["ping", "get_status"]


class Connections:
    """Who is connected to which job, in this process."""

    def __init__(self) -> None:
        self._open: Counter[tuple[str, UUID]] = Counter()

    @contextmanager
    def counted(self, caller: Caller, job_id: UUID) -> Iterator[None]:
        key = (caller.owner, job_id)
        self._open[key] += 1
        try:
            yield
        finally:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]

    def seen_by(self, caller: Caller) -> views.SocketCounts:
        """The caller's, or everybody's where the caller is an administrator."""
        seen = {job: count for (owner, job), count in self._open.items() if caller.is_admin or owner == caller.owner}
        return views.SocketCounts(
            total_connections=sum(seen.values()), jobs_with_connections=len(seen), active_jobs=sorted(seen)
        )


async def converse(
    websocket: WebSocket,
    job_id: str,
    *,
    platform: Platform,
    hub: Hub,
    connections: Connections,
    ticket: str | None,
) -> None:
    """Tell a client of a job until either ends. What keeps that from being told, is, before the connection closes."""
    await websocket.accept()
    timeout = platform.settings.sockets.timeout_seconds
    try:
        try:
            found = _read_id(job_id)
            caller = await (get_caller(websocket) if ticket is None else tickets.redeem(platform, ticket, found))
            events = await following.open_stream(platform, hub, caller, found, None)
            assert events is not None, "only a client that knows the end already has nothing to be told"
            with connections.counted(caller, found), metrics.counted(metrics.STREAMS_OPEN.labels("websocket")):
                allowed = while_allowed(websocket, caller, events)
                await Conversation(websocket, platform, caller, found, timeout=timeout).run(allowed)
        except errors.EscribaError as error:
            await websocket.send_text(views.error(job_id, error))
            await websocket.close(next(CLOSE_CODES[kind] for kind in type(error).__mro__ if kind in CLOSE_CODES))
        else:
            await websocket.close(END)
    except (WebSocketDisconnect, TimeoutError):
        return


def _read_id(job_id: str) -> UUID:
    try:
        return UUID(job_id)
    except ValueError:
        raise errors.JobNotFound from None


class Conversation:
    """One client and one job. Progress never falls, and behind the end nothing is said."""

    def __init__(
        self, websocket: WebSocket, platform: Platform, caller: Caller, job_id: UUID, *, timeout: float
    ) -> None:
        self._websocket, self._platform, self._caller, self._job_id = websocket, platform, caller, job_id
        self._timeout = timeout
        self._progress = 0.0
        self._told: dict[str, Any] = {}
        self._over = False
        self._turn = asyncio.Lock()

    async def run(self, events: AsyncGenerator[Told]) -> None:
        """Returns once the end has been told; raises WebSocketDisconnect where the client leaves before.

        Raises JobNotFound where the job is erased meanwhile, BadToken where what the client showed is good no more,
        BinaryMessage, and what keeps the end from being read.
        """
        await self._say("connected", {"message": views.CONNECTED, "job_id": str(self._job_id)})
        sides = {asyncio.create_task(self._tell(events)), asyncio.create_task(self._listen())}
        try:
            done, _ = await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for side in sides:
                side.cancel()
            await asyncio.gather(*sides, return_exceptions=True)
        for side in done:
            side.result()

    async def _tell(self, events: AsyncGenerator[Told]) -> None:
        async with aclosing(events):
            async for event, _ in events:
                if event.status in ENDED:
                    await self._send(await views.end(self._platform, self._caller, self._job_id), last=True)
                    return
                await self._tell_progress(event, even_if_told=False)
        await reading.find(self._platform, self._caller, self._job_id)  # raises where the job was erased
        raise account_errors.BadToken

    async def _tell_progress(self, event: Event, *, even_if_told: bool) -> None:
        is_first = not self._told
        ahead = NOTHING_AHEAD
        if even_if_told or is_first:  # not at every tick: an estimate is a look into the database
            ahead = await queueing.outlook(self._platform, self._caller, self._job_id)
        self._progress = max(self._progress, views.progress_of(event))
        data = views.progress_data(event, self._progress, ahead)
        if even_if_told or data != self._told:
            self._told = data
            await self._say("progress", data)

    async def _listen(self) -> None:
        while True:
            received = await self._websocket.receive()
            if received["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(received.get("code", END))
            if received.get("text") is None:
                raise errors.BinaryMessage
            try:
                await self._answer(received["text"])
            except errors.EscribaError as error:
                await self._send(views.error(self._job_id, error))

    async def _answer(self, text: str) -> None:
        said = _read(text)
        if said.get("job_id", str(self._job_id)) != str(self._job_id):
            raise errors.WrongJob
        match said.get("type"):
            case "ping":
                await self._say("pong", {})
            case "get_status":
                status = await reading.status(self._platform, self._caller, self._job_id)
                if status.job.state not in ENDED:  # then the end is on its way
                    await self._tell_progress(status.event, even_if_told=True)
            case _:
                raise errors.UnknownMessage(KNOWN)

    async def _say(self, kind: views.MessageType, data: dict[str, Any]) -> None:
        await self._send(views.message(kind, self._job_id, data))

    async def _send(self, text: str, *, last: bool = False) -> None:
        """Raises TimeoutError where the client has not read what was sent before for too long."""
        async with self._turn:
            if self._over:
                return
            async with asyncio.timeout(self._timeout):
                await self._websocket.send_text(text)
            self._over = last


def _read(text: str) -> dict[str, Any]:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):  # of which JSONDecodeError is one, and a number of 5,000 digits another
        raise errors.BadSocketMessage from None
    if not isinstance(said, dict):
        raise errors.BadSocketMessage
    return said
