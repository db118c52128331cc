"""`python -m engines.server`: hosts local models for every worker that can reach it."""

import argparse
import logging
import socket
import sys
from collections.abc import Sequence
from urllib.parse import urlsplit

import uvicorn

from config.fields import is_loopback
from config.load import load_section
from config.settings import EngineSettings, LogSettings, MediaSettings
from config.telemetry import configure
from domain.errors import BadSettings
from engines.server.app import build
from engines.server.catalogue import Catalogue
from engines.server.pool import Pool
from engines.server.spool import Spool

logger = logging.getLogger(__name__)

SHUTDOWN_GRACE_SECONDS = 2
"""What running jobs get on shutdown: enough to say that the server goes, not to finish; workers try again."""


class _Server(uvicorn.Server):
    """Says where it listens once it does, as the port may have been chosen by the system."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if sockets and not self.should_exit:
            host, port = sockets[0].getsockname()[:2]
            sys.stdout.write(f"listening on http://{f'[{host}]' if ':' in host else host}:{port}\n")
            sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    try:
        log = load_section(LogSettings)
        configure(log, process="engine-server")
        settings = load_section(EngineSettings)
        work_dir = load_section(MediaSettings).work_dir
        listener = _listen(arguments, settings)
    except BadSettings as error:
        sys.stderr.write(f"{error}\n")
        return 2
    spool = Spool.open(work_dir)
    app = build(settings, Catalogue.find(settings), Pool(settings, log), spool)
    config = uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_GRACE_SECONDS,
    )
    _Server(config).run(sockets=[listener])
    return 0


def _listen(arguments: Sequence[str] | None, settings: EngineSettings) -> socket.socket:
    url = urlsplit(settings.server_url or "http://127.0.0.1:0")
    parser = argparse.ArgumentParser(prog="python -m engines.server", description=__doc__)
    parser.add_argument("--host", default=url.hostname or "127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=url.port or 0, help="port; 0 takes a free one (%(default)s)")
    chosen = parser.parse_args(arguments)
    if settings.server_token is None and not is_loopback(chosen.host):
        raise BadSettings(f"ENGINE_SERVER_TOKEN is not set, and {chosen.host} can be reached by others: set a token")
    family = socket.AF_INET6 if ":" in chosen.host else socket.AF_INET
    try:
        return socket.create_server((chosen.host, chosen.port), family=family, backlog=128)
    except OSError as error:
        raise BadSettings(f"cannot listen on {chosen.host}:{chosen.port}: {error.strerror}; choose another") from error


if __name__ == "__main__":
    sys.exit(main())
