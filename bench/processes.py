"""What processes have used of the processor, finer than the 10 ms steps in which the system's own tools count it."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

MIB = 1024 * 1024


def cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    """Of the threads that they have now, by the scheduler's own count (/proc/PID/task/TID/schedstat, nanoseconds)."""
    return sum(_nanoseconds(process.pid) for process in processes) / 1e9


def family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def _nanoseconds(pid: int) -> int:
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # it may end as we look
            total += int((thread / "schedstat").read_text().split()[0])
    return total
