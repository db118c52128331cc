"""What every process of a worker's begins with and ends with: its name, its signals, the platform and the engines."""

import asyncio
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from config import telemetry
from config.settings import Settings
from engines.registry import Registry
from services.platform import Platform, open_platform
from workers import workspace


@dataclass(frozen=True, slots=True)
class AtWork:
    worker: str
    """Names this process among all; it is in the rows that it holds."""
    platform: Platform
    registry: Registry


def stop_on_signals() -> asyncio.Event:
    """Set by SIGTERM and SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


@asynccontextmanager
async def at_work(settings: Settings) -> AsyncIterator[AtWork]:
    """Open all that attempts need, with a folder of this process's own for their files."""
    worker = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
    registry = Registry.load(settings)
    with telemetry.bind(worker=worker), workspace.hold(settings.media.work_dir) as work_dir:
        async with open_platform(settings, application="worker") as platform:
            try:
                yield AtWork(worker, workspace.working_in(platform, work_dir), registry)
            finally:
                await registry.close()
