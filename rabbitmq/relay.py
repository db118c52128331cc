"""Telling those who asked by message what they are owed, while there is a connection to the broker."""

import asyncio
import json
import logging
from collections.abc import Sequence
from time import monotonic

from config import metrics
from db.answers import OwedByMessage
from domain.audio_requests import Route
from domain.errors import DatabaseUnavailable, EscribaError, ObjectNotFound, StorageUnavailable
from messaging.transport import Envelope, Outcome, Transport
from rabbitmq.audio_files import AudioFiles
from services import answers
from services.platform import Platform

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
"""How long an answer may lie before it is sent."""

BATCH = 20
"""Sent at once; so many may be sent twice for every relay that is killed."""

SAY_AGAIN_SECONDS = 0.5
FORGET_SECONDS = 3600.0


class Relay:
    def __init__(self, platform: Platform, transport: Transport[Route], files: AudioFiles) -> None:
        self._platform, self._transport, self._files = platform, transport, files
        self._forgot_at = monotonic()

    async def run(self, stop: asyncio.Event) -> None:
        """Send what is owed until `stop`, then what is under way; what is away is waited for, a bug is logged."""
        while not stop.is_set():
            try:
                while not stop.is_set() and await self.relay():
                    pass
                await self._tidy()
            except EscribaError as error:
                log.warning("answers have to wait: %s", error.code)
            except Exception:
                log.exception("answers could not be sent")
            try:
                await asyncio.wait_for(stop.wait(), LOOK_SECONDS)
            except TimeoutError:
                continue

    async def relay(self) -> int:
        """Send some of what is due, all at once, and keep what came of it; how much that was."""
        taken = await answers.take_up(self._platform, limit=BATCH)
        outcomes = await asyncio.gather(*(self._send(owed) for owed in taken))
        if taken:
            await self._record(list(zip(taken, outcomes, strict=True)))
        return len(taken)

    async def _send(self, owed: OwedByMessage) -> Outcome:
        try:
            body = await answers.whole_body(self._platform, owed)
        except (ObjectNotFound, StorageUnavailable) as error:
            return Outcome(error.code, None, 0)
        except Exception:  # damaged: what is sent beside it must not be sent for ever
            log.exception("answer %s cannot be read", owed.event_id)
            return Outcome("unreadable", None, 0)
        if self._platform.settings.rabbitmq.delete_audio and owed.result_key is not None:
            await self._remove_audio(owed)
        with metrics.timed(metrics.DELIVERY_SECONDS.labels("rabbitmq")):
            outcome = await self._transport.send(Envelope(str(owed.event_id), body), owed.route)
        metrics.DELIVERIES.labels("rabbitmq", outcome.error or "delivered").inc()
        return outcome

    async def _remove_audio(self, owed: OwedByMessage) -> None:
        """Before its sender hears that it may use the name again."""
        if owed.request is None or owed.file_mark is None:
            return
        try:
            await self._files.remove(json.loads(owed.request)["audio_file_path"], owed.file_mark)
        except EscribaError as error:  # gone already, or not ours to remove
            log.info("a file that has been heard could not be removed: %s", error.code)

    async def _record(self, tried: Sequence[tuple[OwedByMessage, Outcome]]) -> None:
        """While PostgreSQL is away that is tried for as long as nobody else can have taken these up."""
        until = monotonic() + answers.lease(self._platform).total_seconds() / 2
        while True:
            try:
                return await answers.record(self._platform, tried)
            except DatabaseUnavailable:
                if monotonic() > until:
                    raise
                await asyncio.sleep(SAY_AGAIN_SECONDS)

    async def _tidy(self) -> None:
        if monotonic() - self._forgot_at > FORGET_SECONDS:
            self._forgot_at = monotonic()
            await answers.forget_old(self._platform)
