"""What is owed to requests by message, as a relay sees it: take it up, make it whole, keep what came of it."""

import random
from collections.abc import Sequence
from datetime import timedelta

from db import amqp_requests, answers, outbox
from db.answers import OwedByMessage
from db.session import EVERYBODY
from domain import audio_requests
from domain.audio_requests import Route
from domain.lifecycle import retry_delay
from messaging.transport import Outcome
from services import once, transcripts
from services.platform import Platform

LEASE_FACTOR = 3
"""A relay that has said nothing for so many time-outs is dead: another takes over what it had."""

MOST_DOUBLED = 8
"""Failures behind which the time to the next try grows no more."""


async def take_up(platform: Platform, *, limit: int) -> list[OwedByMessage]:
    async with platform.sessions.alone(owner=EVERYBODY) as session:
        return await answers.take_up(session, lease=lease(platform), limit=limit)


def lease(platform: Platform) -> timedelta:
    return timedelta(seconds=LEASE_FACTOR * platform.settings.rabbitmq.confirm_timeout_seconds)


async def whole_body(platform: Platform, owed: OwedByMessage) -> bytes:
    """What is to be sent, the same to the byte each time. Raises ObjectNotFound, StorageUnavailable."""
    if owed.result_key is None:
        return owed.body
    return audio_requests.with_text(owed.body, await transcripts.load_text(platform.store, owed.result_key))


async def record(platform: Platform, tried: Sequence[tuple[OwedByMessage, Outcome]]) -> None:
    """Keep the outcomes; one that comes late changes nothing. What failed is tried again, for ever."""
    answered = []
    async with platform.sessions.begin(owner=EVERYBODY) as session:
        for owed, outcome in tried:
            answer = {"status_code": None, "latency_ms": outcome.latency_ms, "error": outcome.error}
            if outcome.error is not None:
                spread = random.uniform(0.5, 1.5)  # noqa: S311  # spreads load, keeps no secret
                again_in = retry_delay(min(owed.attempts, MOST_DOUBLED), spread)
                await outbox.note_failed(session, owed, again_in=again_in, **answer)
            elif await outbox.note_delivered(session, owed, **answer) and owed.route == Route.RESULT:
                answered.append(owed.event_id)
        if answered:
            await amqp_requests.note_answered(session, answered)


async def forget_old(platform: Platform) -> int:
    """Forget requests that nobody will send again."""
    async with platform.sessions.begin(owner=EVERYBODY) as session:
        return await amqp_requests.forget_old(session, older_than=once.KEPT)
