"""`python -m api`: one API process."""

import argparse
import logging
import os
import socket

import uvicorn

from api.app import create_app
from api.dialects.socket_conversation import LARGEST_MESSAGE_BYTES
from config import metrics, telemetry, traces
from config.load import load_settings
from domain.access import PUBLIC_OWNER

log = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """Tells whoever started it that requests are being answered."""

    def __init__(self, config: uvicorn.Config, ready_fd: int | None) -> None:
        super().__init__(config)
        self._ready_fd = ready_fd

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._ready_fd is not None and self.started:
            os.write(self._ready_fd, b"ready\n")
            os.close(self._ready_fd)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m api", description=__doc__)
    parser.add_argument("--fd", type=int, help="serve on this inherited, listening socket")
    parser.add_argument(
        "--ready-fd", type=int, help="file descriptor to which a line is written once requests are answered"
    )
    arguments = parser.parse_args()
    settings = load_settings()
    telemetry.configure(settings.log, process="api")
    metrics.open_for(settings.telemetry)
    traces.open_for(settings.telemetry, process="api")
    if settings.api.insecure_no_auth:
        log.warning("INSECURE_NO_AUTH: whoever reaches this address acts as the owner %r", PUBLIC_OWNER)
    config = uvicorn.Config(
        create_app(settings),
        host=settings.api.host,
        port=settings.api.port,
        log_config=None,
        access_log=False,  # paths carry ids and signed links
        server_header=False,
        proxy_headers=bool(settings.api.trusted_proxies),
        forwarded_allow_ips=list(settings.api.trusted_proxies),
        timeout_graceful_shutdown=int(settings.api.shutdown_grace_seconds),
        h11_max_incomplete_event_size=64 * 1024,
        ws_max_size=LARGEST_MESSAGE_BYTES,
        ws_ping_interval=settings.sockets.ping_interval_seconds,
        ws_ping_timeout=settings.sockets.timeout_seconds,
    )
    # Not as uvicorn's `fd`: it would take the socket for a Unix one and leave TCP_NODELAY off, at 40 ms an answer.
    sockets = None if arguments.fd is None else [socket.socket(fileno=arguments.fd)]
    Server(config, arguments.ready_fd).run(sockets)


main()
