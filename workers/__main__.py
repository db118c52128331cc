"""`python -m workers`: one worker process."""

import argparse
import os
from uuid import UUID

import uvloop

# gRPC reads these when it is imported: without them it complains at every decoder that a worker starts.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

from config import metrics, telemetry, traces
from config.load import load_settings
from workers.main import run
from workers.quarantine import run_alone


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m workers", description=__doc__)
    parser.add_argument("--ready-fd", type=int, help="file descriptor to which a line is written once jobs are taken")
    parser.add_argument("--only", type=UUID, metavar="JOB", help="make one attempt at this job, and end")
    arguments = parser.parse_args()
    settings = load_settings()
    telemetry.configure(settings.log, process="worker")
    metrics.open_for(settings.telemetry)
    traces.open_for(settings.telemetry, process="worker")
    if arguments.only is not None:
        uvloop.run(run_alone(settings, arguments.only))
    else:
        metrics.serve(settings.telemetry)
        uvloop.run(run(settings, ready_fd=arguments.ready_fd))


main()
