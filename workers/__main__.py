"""`python -m workers`: one worker process."""

import argparse
import os

import uvloop

# gRPC reads these when it is imported: without them it complains at every decoder that a worker starts.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

from config import telemetry
from config.load import load_settings
from workers.main import run


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m workers", description=__doc__)
    parser.add_argument("--ready-fd", type=int, help="file descriptor to which a line is written once jobs are taken")
    arguments = parser.parse_args()
    settings = load_settings()
    telemetry.configure(settings.log, process="worker")
    uvloop.run(run(settings, ready_fd=arguments.ready_fd))


main()
