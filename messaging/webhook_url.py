"""Which URLs may be webhooks."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from config.webhook_settings import WebhookSettings
from domain.webhook_errors import WebhookHostUnknown, WebhookUrlRefused
from messaging.public_addresses import HostUnknown, Resolve, UrlRefused, addresses_of, system_resolver
from messaging.public_url import PublicUrl

LONGEST = 2048
"""Characters; what other senders and most proxies take."""


@contextmanager
def judged() -> Iterator[None]:
    """What is refused within, is refused as a webhook's: WebhookUrlRefused, WebhookHostUnknown."""
    try:
        yield
    except HostUnknown as error:
        raise WebhookHostUnknown from error
    except UrlRefused as error:
        raise WebhookUrlRefused(str(error)) from error


def parse(url: str, settings: WebhookSettings) -> PublicUrl:
    """Raises WebhookUrlRefused."""
    with judged():
        return PublicUrl.parse(url, settings, longest=LONGEST)


async def check(url: str, settings: WebhookSettings, *, resolve: Resolve = system_resolver) -> None:
    """Raises WebhookUrlRefused, WebhookHostUnknown: also for a name whose servers do not answer in time."""
    parsed = parse(url, settings)
    try:
        with judged():
            async with asyncio.timeout(settings.connect_timeout_seconds):
                await addresses_of(parsed.host, parsed.port, resolve=resolve, allow_private=settings.allow_private)
    except TimeoutError as error:
        raise WebhookHostUnknown from error
