"""Children that cannot outlive the process that started them, however it ends."""

import ctypes
import os
import signal
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(death_signal: signal.Signals) -> Callable[[], None]:
    """What a child runs between fork and exec (`preexec_fn`): the kernel then sends it the signal when we are gone.

    The kernel watches the *thread* that spawned, so spawn from one that lives as long as the process: the main thread.
    """
    parent = os.getpid()

    def bind() -> None:
        if _libc.prctl(_PR_SET_PDEATHSIG, int(death_signal)) != 0 or os.getppid() != parent:
            os._exit(1)  # the parent was gone before the kernel knew that it should watch it

    return bind
