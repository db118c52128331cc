"""Children that cannot outlive the process that started them, however it ends."""

import ctypes
import os
import signal
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_libc = ctypes.CDLL(None, use_errno=True)


def die_with(parent: int, death_signal: signal.Signals = signal.SIGKILL) -> None:
    """Called in a child: the kernel sends it the signal when `parent`, which started it, is gone.

    The kernel watches the *thread* that spawned, so spawn from one that lives as long as the process: the main thread.
    """
    if _libc.prctl(_PR_SET_PDEATHSIG, int(death_signal)) != 0 or os.getppid() != parent:
        os._exit(1)  # the parent was gone before the kernel knew that it should watch it


def die_with_parent(death_signal: signal.Signals) -> Callable[[], None]:
    """What a child of this process runs between fork and exec (`preexec_fn`)."""
    parent = os.getpid()
    return lambda: die_with(parent, death_signal)
