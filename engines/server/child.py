"""What runs in a child of the engine server: load one model, then hear one recording after another.

It talks through a socket of its own. Standard output is the server's standard error, so a library that prints
disturbs nobody. A child never outlives its server: the kernel kills it, and it also ends when the socket closes.
"""

import logging
import os
import queue
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from config.parenthood import die_with
from config.telemetry import configure
from domain.errors import EngineCrashed, EngineFailed
from domain.transcript import Progress
from engines.contract import DOWNLOAD_STAGE
from engines.server.catalogue import load_model_class
from engines.server.contract import LocalModel, OnDownload
from engines.server.orders import OUT_OF_MEMORY, Cancel, ChildEvent, Job, Ready, Setup, Stopped, parse_order
from engines.wire import Done, Failure, Said, encode

logger = logging.getLogger(__name__)


class Channel:
    """The socket to the server: orders come in on a thread of their own, so that a Cancel is seen while a job runs."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = connection.makefile("rb")
        self._sending = threading.Lock()
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._cancelled = 0

    def read_setup(self) -> Setup:
        return Setup.model_validate_json(self._lines.readline())

    def listen(self) -> None:
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in self._lines:
            match parse_order(line):
                case Job() as job:
                    self._jobs.put(job)
                case Cancel(number=number):
                    self._cancelled = number
        # The server is gone, and the main thread may be deep in native code: nothing is left to clean up.
        os._exit(0)

    def jobs(self) -> Iterator[Job]:
        while True:
            yield self._jobs.get()

    def cancelled(self, job: Job) -> bool:
        return self._cancelled >= job.number

    def send(self, event: ChildEvent) -> None:
        with self._sending:
            self._connection.sendall(encode(event))


def main(descriptor: int, server_pid: int) -> int:
    die_with(server_pid)
    channel = Channel(socket.socket(fileno=descriptor))
    setup = channel.read_setup()
    configure(setup.log, process=f"engine-child:{setup.engine}")
    channel.listen()
    try:
        model = load_model_class(setup.engine).load(setup.settings, setup.model, _download_teller(channel))
    except Exception as error:  # whatever a native library or a stranger's model raises, the server shall know
        channel.send(_failure(error))
        return 1
    channel.send(Ready())
    for job in channel.jobs():
        try:
            _hear(channel, model, job)
        except EngineFailed as error:
            channel.send(Failure.of(error))
            channel.send(Stopped())
        except Exception as error:  # as above; what state the model is in now, nobody knows
            channel.send(_failure(error))
            return 1
    return 0


def _hear(channel: Channel, model: LocalModel, job: Job) -> None:
    for heard in model.transcribe(Path(job.audio), job.hearing):
        if channel.cancelled(job):
            channel.send(Stopped())
            return
        channel.send(Said.of(heard))
    channel.send(Done())


def _download_teller(channel: Channel) -> OnDownload:
    def tell(done_bytes: int, total_bytes: int) -> None:
        channel.send(Said.of(Progress(stage=DOWNLOAD_STAGE, done=done_bytes, total=total_bytes)))

    return tell


def _failure(error: Exception) -> Failure:
    logger.error("the model failed", exc_info=error)
    if isinstance(error, EngineFailed):
        return Failure.of(error)
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():  # CUDA's is a RuntimeError
        return Failure.of(EngineCrashed(f"the engine ran {OUT_OF_MEMORY}", retryable=True))
    # In a fresh child the same call may well succeed: a CUDA error, for one, spoils everything after it.
    return Failure.of(EngineFailed(f"the engine failed ({type(error).__name__}); its log has more", retryable=True))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
