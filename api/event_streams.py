"""What every stream of server-sent events has in common: where a client goes on, and how it is sent."""

from collections.abc import AsyncGenerator, Mapping
from typing import Annotated

from fastapi import Depends, Header, Query
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.types import Receive, Scope, Send

from api.errors import Responses
from config import metrics
from domain.events import Cursor, Event

PING_SECONDS = 15
EVENT = {"type": "object", "properties": {name: {"type": "string"} for name in ("id", "event", "data")}}
STREAMED: Responses = {
    200: {"description": "events, to the end", "content": {"text/event-stream": {"schema": EVENT}}},
    204: {"description": "nothing is left to tell"},
}
HEADERS = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}


async def get_last_id(
    last_event_id: Annotated[str | None, Header()] = None,
    after: Annotated[str | None, Query(description="As `Last-Event-ID`, for a new EventSource.")] = None,
) -> str:
    """The id of the last event that the client has; empty where it has none."""
    return last_event_id or after or ""


LastIdDep = Annotated[str, Depends(get_last_id)]


class Encoder:
    """Events as they go out. All clients of a job are told of an event in turn, so the last one is kept encoded."""

    def __init__(self) -> None:
        self._last: tuple[Event, Cursor | None, bytes] | None = None

    def encode(self, event: Event, cursor: Cursor | None) -> bytes:
        """`cursor`: where the event leaves its client, which is its id; None where it is not durable."""
        last = self._last
        if last is not None and last[0] is event and last[1] == cursor:
            return last[2]
        frame = ServerSentEvent(event.to_json(), id=None if cursor is None else str(cursor)).encode()
        self._last = event, cursor, frame
        return frame


class Counted(EventSourceResponse):
    """One of the clients that follow a job now."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with metrics.counted(metrics.STREAMS_OPEN.labels("sse")):
            await super().__call__(scope, receive, send)


def streamed(
    events: AsyncGenerator[ServerSentEvent] | AsyncGenerator[bytes], headers: Mapping[str, str] = {}
) -> EventSourceResponse:
    return Counted(events, ping=PING_SECONDS, headers={**HEADERS, **headers})
