"""`python -m workers`: one worker process."""

import argparse
import os
import socket
from uuid import UUID

import uvloop

# gRPC reads these when it is imported: without them it complains at every decoder that a worker starts.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
# numpy would begin threads as it is imported, and what has threads is not to be forked. Nothing multiplies matrices.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from config import metrics, telemetry, traces
from config.load import load_settings
from config.settings import Settings
from workers.cells import Cells
from workers.main import run
from workers.quarantine import run_alone


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m workers", description=__doc__)
    parser.add_argument("--ready-fd", type=int, help="file descriptor to which a line is written once jobs are taken")
    arguments = parser.parse_args()
    settings = load_settings()
    telemetry.configure(settings.log, process="worker")
    cells = Cells.fork(lambda job_id, line: _make_attempt(settings, job_id, line))
    _open_telemetry(settings)
    metrics.serve(settings.telemetry)
    uvloop.run(run(settings, cells, ready_fd=arguments.ready_fd))


def _make_attempt(settings: Settings, job_id: UUID, line: socket.socket) -> bytes:
    _open_telemetry(settings)
    try:
        return uvloop.run(run_alone(settings, job_id, line))
    finally:
        traces.close()


def _open_telemetry(settings: Settings) -> None:
    metrics.open_for(settings.telemetry)
    traces.open_for(settings.telemetry, process="worker")


main()
