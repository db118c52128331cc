"""A process that relays and does nothing else, for tests that kill it: `python -m tests.support.relay_process`."""

import asyncio

from config.load import load_settings
from messaging.webhook_sender import WebhookSender
from services.platform import open_platform
from workers.relay import Relay


async def main() -> None:
    settings = load_settings()
    async with open_platform(settings, application="relay") as platform:
        await Relay(platform, WebhookSender(settings.webhooks)).run()


asyncio.run(main())
