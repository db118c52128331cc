"""`python -m rabbitmq`: takes requests from RabbitMQ, and gives their answers to it."""

import argparse
import logging
import sys

import uvloop

from config import metrics, telemetry, traces
from config.load import load_settings
from domain.request_errors import BrokerUnavailable
from rabbitmq.main import run

log = logging.getLogger(__name__)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m rabbitmq", description=__doc__)
    parser.add_argument(
        "--ready-fd", type=int, help="file descriptor to which a line is written once requests are taken"
    )
    arguments = parser.parse_args()
    settings = load_settings()
    telemetry.configure(settings.log, process="rabbitmq")
    metrics.open_for(settings.telemetry)
    traces.open_for(settings.telemetry, process="rabbitmq")
    metrics.serve(settings.telemetry)
    try:
        uvloop.run(run(settings, ready_fd=arguments.ready_fd))
    except BrokerUnavailable as error:
        log.error("%s", error)
        sys.exit(1)


main()
