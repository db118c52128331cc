"""What every use case needs, opened once for a process and closed with it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from config.settings import Settings
from db.session import EVERYBODY, NOBODY, Sessions
from messaging.arq_queue import ArqQueue
from messaging.contract import Events, Queue
from messaging.redis_events import RedisEvents
from storage import open_store
from storage.contract import Store


@dataclass(frozen=True, slots=True)
class Platform:
    settings: Settings
    sessions: Sessions
    store: Store
    queue: Queue
    events: Events


@asynccontextmanager
async def open_platform(settings: Settings, *, application: str, sees: str = EVERYBODY) -> AsyncIterator[Platform]:
    """Connect to what the settings name. Nothing is asked of PostgreSQL or Redis yet: either may come later.

    `sees`: whose rows are seen where nobody says whose; a door takes NOBODY, and where callers have to say who they
    are, it serves none of them while PostgreSQL would not hold them apart (RowsUnguarded).
    """
    guarded = sees == NOBODY and settings.api.auth == "required"
    sessions = Sessions.connect(settings.database, application=application, sees=sees, guarded=guarded)
    store = await open_store(settings.storage)
    queue, events = ArqQueue(settings.redis), RedisEvents(settings.redis)
    try:
        yield Platform(settings, sessions, store, queue, events)
    finally:
        await events.close()
        await queue.close()
        await store.close()
        await sessions.close()
