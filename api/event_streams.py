"""What every stream of server-sent events has in common: where a client goes on, and how it is sent."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Header, Query
from sse_starlette import EventSourceResponse, ServerSentEvent

PING_SECONDS = 15
HEADERS = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}


async def get_last_id(
    last_event_id: Annotated[str | None, Header()] = None,
    after: Annotated[str | None, Query(description="As `Last-Event-ID`, for a new EventSource.")] = None,
) -> str:
    """The id of the last event that the client has; empty where it has none."""
    return last_event_id or after or ""


LastIdDep = Annotated[str, Depends(get_last_id)]


def streamed(events: AsyncIterator[ServerSentEvent]) -> EventSourceResponse:
    return EventSourceResponse(events, ping=PING_SECONDS, headers=HEADERS)
