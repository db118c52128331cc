"""Requests, one message each: into a job, or into an answer that says what is wrong; acknowledged once that is kept."""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from aio_pika.abc import AbstractIncomingMessage
from aio_pika.exceptions import CONNECTION_EXCEPTIONS

from config import metrics
from db.tables import AmqpRequest
from domain.access import LOCAL_OWNER, Caller
from domain.audio_requests import AudioRequest
from domain.errors import EscribaError, Unavailable
from domain.request_errors import RequestErased
from rabbitmq.audio_files import AudioFiles, locate
from services import audio_requests
from services.audio_requests import Incoming
from services.platform import Platform

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 5.0
"""Between tries to keep a request while what that takes is away."""

REPEATED = "repeated"


@dataclass(frozen=True, slots=True)
class Kept:
    """What has become of a message."""

    owner: str
    request_id: UUID | None
    """The request that it is; None where it is another's, come again."""


class Consumer:
    def __init__(self, platform: Platform, files: AudioFiles) -> None:
        self._platform, self._files = platform, files
        self._in_hand: set[asyncio.Task[object]] = set()

    async def take(self, message: AbstractIncomingMessage) -> None:
        """Keep a request, then acknowledge it. Without an acknowledgement, the broker sends it again."""
        task = asyncio.current_task()
        assert task is not None
        self._in_hand.add(task)
        try:
            await self._take(message)
        except Exception:
            log.exception("a request could not be kept, and goes back")
            await asyncio.sleep(LONGEST_PAUSE_SECONDS)
            with suppress(*CONNECTION_EXCEPTIONS):
                await message.nack(requeue=True)
        finally:
            self._in_hand.discard(task)

    async def drain(self, grace_seconds: float) -> None:
        """Let what is in hand be kept; what is not goes back to the queue with the connection."""
        if self._in_hand:
            await asyncio.wait(self._in_hand, timeout=grace_seconds)
        left = list(self._in_hand)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _take(self, message: AbstractIncomingMessage) -> None:
        incoming = Incoming(
            message.body,
            message.message_id or None,
            message.headers.get("x-retry-count"),
            redelivered=bool(message.redelivered),
        )
        kept = await self._keep_in_time(incoming)
        try:
            await message.ack()
        except CONNECTION_EXCEPTIONS:  # it comes again, and is known
            return
        if kept.request_id is not None:
            with suppress(Unavailable):
                await audio_requests.note_acked(self._platform, kept.owner, kept.request_id)

    async def _keep_in_time(self, incoming: Incoming) -> Kept:
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                return await self._keep(incoming)
            except Unavailable as error:
                log.warning("a request waits to be kept: %s", error.code)
                await asyncio.sleep(pause)
                pause = min(LONGEST_PAUSE_SECONDS, pause * 2)

    async def _keep(self, incoming: Incoming) -> Kept:
        before = await audio_requests.try_before(self._platform, incoming)
        owner = LOCAL_OWNER if before is None else before.owner
        try:
            if before is not None and before.body is None:
                raise RequestErased
            request = AudioRequest.parse(incoming.body, header=incoming.retries)
            place = locate(self._files.roots, request.audio_file_path)
        except EscribaError as error:
            return await self._refuse(owner, incoming, error, before)
        owner = place.root.owner
        before = before if before is not None and before.owner == owner else None
        if repeated := await audio_requests.find_repeated(self._platform, owner, incoming):
            return _kept_before(owner, incoming, repeated)
        caller = self._caller(owner)
        try:
            request.check_extension()
            async with self._files.opened(place) as recording:
                taken = await audio_requests.accept(self._platform, caller, incoming, request, recording, before=before)
        except Unavailable:
            raise
        except EscribaError as error:
            return await self._refuse(owner, incoming, error, before)
        metrics.MESSAGES.labels("accepted" if taken else REPEATED).inc()
        return Kept(owner, taken)

    async def _refuse(self, owner: str, incoming: Incoming, error: EscribaError, before: AmqpRequest | None) -> Kept:
        if repeated := await audio_requests.find_repeated(self._platform, owner, incoming):
            return _kept_before(owner, incoming, repeated)
        log.info("a request is refused: %s", error.code)
        refused = await audio_requests.refuse(self._platform, owner, incoming, error, before=before)
        metrics.MESSAGES.labels(error.code if refused else REPEATED).inc()
        return Kept(owner, refused)

    def _caller(self, owner: str) -> Caller:
        """With accounts an owner is a user, whose quota counts."""
        user_id = None
        if self._platform.settings.api.auth == "required":
            with suppress(ValueError):
                user_id = UUID(owner)
        return Caller(owner, user_id=user_id)


def _kept_before(owner: str, incoming: Incoming, request_id: UUID) -> Kept:
    metrics.MESSAGES.labels(REPEATED).inc()
    return Kept(owner, request_id if incoming.redelivered or request_id == incoming.id else None)
