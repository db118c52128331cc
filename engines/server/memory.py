"""How much memory a process and its descendants hold, read from /proc.

Two files of the kernel's in place of a package (psutil) that every environment with an engine server would need.
"""

import os
from pathlib import Path

PROC = Path("/proc")


def resident_bytes(pid: int) -> int | None:
    """Main memory of process `pid` and all that it started; pages that they share count for each of them.

    None where the process is gone, or the system has no /proc.
    """
    own = _resident_pages(pid)
    if own is None:
        return None
    pages = own + sum(_resident_pages(process) or 0 for process in _descendants(pid))
    return pages * os.sysconf("SC_PAGE_SIZE")


def _resident_pages(pid: int) -> int | None:
    """proc(5): the second field of `statm`."""
    try:
        return int((PROC / str(pid) / "statm").read_text().split()[1])
    except OSError:
        return None


def _descendants(pid: int) -> list[int]:
    """A child belongs to the thread that started it."""
    children: list[int] = []
    for task in (PROC / str(pid) / "task").glob("*/children"):
        try:
            children += map(int, task.read_text().split())
        except OSError:
            continue  # the thread has just ended
    return children + [further for child in children for further in _descendants(child)]
