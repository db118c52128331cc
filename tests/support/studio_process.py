"""A process that makes videos and does nothing else, for tests that kill it."""

import asyncio

from config.load import load_settings
from services.platform import open_platform
from workers.studio import Studio


async def main() -> None:
    async with open_platform(load_settings(), application="studio") as platform:
        await Studio(platform, worker="studio").run()


asyncio.run(main())
