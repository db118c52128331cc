"""The child's half of the sandbox: gives up what a decoder does not need, then becomes the decoder.

Run as `python -I -S confine.py PARENT MEMORY CPU FILE GRANT… EXECUTABLE ARGUMENT…`, the limits in bytes and seconds of
`sandbox.Limits`. A grant is `--read=FOLDER`, `--env=NAME=VALUE` or `--reopen-output`. A script of the standard
library only, because an own process is the one place where this can be done: between fork and exec of a process with
threads, as a worker is, no Python may run.

What this machine refuses to give is said on standard error, one line `sandbox: …` each, and done without.
"""

import ctypes
import os
import resource
import signal
import sys
from itertools import takewhile

NOT_STARTED = 70
"""Exit status where the executable could not be started; EX_SOFTWARE of sysexits.h."""

_OPEN_FILES = 32
_TASKS = 64  # ffmpeg takes about ten threads for one audio stream

_CLONE_NEWUSER, _CLONE_NEWNET, _CLONE_NEWIPC = 0x10000000, 0x40000000, 0x08000000
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
# Landlock, Linux 5.13 and later: linux/landlock.h; the numbers of its calls are the same on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}  # by version: how many of the low bits are known; 16 from version 5
_LOADER_PATHS = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache")

_libc = ctypes.CDLL(None, use_errno=True)


def main(arguments: list[str]) -> None:
    parent, memory, cpu, file_size = (int(number) for number in arguments[:4])
    grants = list(takewhile(lambda each: each.startswith("--"), arguments[4:]))
    command = arguments[4 + len(grants) :]
    executable = os.open(command[0], os.O_RDONLY | os.O_CLOEXEC)  # by file, as namespaces may close folders to us
    namespaced = _leave_namespaces()
    _die_with(parent)
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _see_no_files(executable, _values(grants, "--read="), reopen_output="--reopen-output" in grants)
    _limit(memory, cpu, file_size, tasks=namespaced)
    os.umask(0o077)
    for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored_by_python, signal.SIG_DFL)
    # Nothing of our own environment: it has our secrets.
    environment = dict(pair.split("=", 1) for pair in _values(grants, "--env="))
    os.execve(executable, ["decoder", *command[1:]], environment)  # noqa: S606  # a shell is what we do not want


def _values(grants: list[str], prefix: str) -> list[str]:
    return [grant.removeprefix(prefix) for grant in grants if grant.startswith(prefix)]


def _leave_namespaces() -> bool:
    """No network, no shared memory of others, and no user of this machine. Containers often forbid it."""
    if _libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWIPC) == 0:
        return True
    _say("the network stays reachable, as user namespaces are not allowed here", ctypes.get_errno())
    return False


def _die_with(parent: int) -> None:
    """After the namespaces, as a change of credentials clears the signal; a parent that is gone sends none."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(NOT_STARTED)


def _see_no_files(executable: int, folders: list[str], *, reopen_output: bool) -> None:
    """Landlock: nothing can be opened, written or connected to any more, but what the executable needs to load.

    Besides, what lies below `folders` can be read, and the file that is its standard output opened once more.
    """
    version = _libc.syscall(_CREATE_RULESET, None, 0, 1)
    if version < 1:
        _say("the file system stays visible, as this kernel has no Landlock", ctypes.get_errno())
        return
    files = (1 << _FILE_RIGHTS.get(version, 16)) - 1
    network = 0b11 if version >= 4 else 0  # bind and connect of TCP
    scopes = 0b11 if version >= 6 else 0  # abstract sockets and signals
    rights = (ctypes.c_uint64 * 3)(files, network, scopes)
    ruleset = _libc.syscall(_CREATE_RULESET, rights, ctypes.sizeof(rights), 0)
    if ruleset < 0:
        _say("the file system stays visible, as Landlock refuses", ctypes.get_errno())
        return
    _allow(ruleset, executable, _EXECUTE | _READ_FILE)
    for path in _LOADER_PATHS:
        _allow_below(ruleset, path, _EXECUTE | _READ_FILE)
    for folder in folders:
        _allow_below(ruleset, folder, _READ_FILE | _READ_DIR)
    if reopen_output:
        _allow(ruleset, sys.stdout.fileno(), (_READ_FILE | _WRITE_FILE | _TRUNCATE) & files)
    if _libc.syscall(_RESTRICT_SELF, ruleset, 0) != 0:
        _say("the file system stays visible, as Landlock refuses", ctypes.get_errno())
    os.close(ruleset)


def _allow_below(ruleset: int, path: str, rights: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # not every system has all of them
    _allow(ruleset, opened, rights)
    os.close(opened)


def _allow(ruleset: int, opened: int, rights: int) -> None:
    """`rights` at and below `opened`: struct landlock_path_beneath_attr is packed, 8 + 4 bytes."""
    rule = ctypes.create_string_buffer(rights.to_bytes(8, sys.byteorder) + opened.to_bytes(4, sys.byteorder), 12)
    _libc.syscall(_ADD_RULE, ruleset, 1, rule, 0)


def _limit(memory: int, cpu: int, file_size: int, *, tasks: bool) -> None:
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: _OPEN_FILES,
        resource.RLIMIT_FSIZE: file_size,
        resource.RLIMIT_CPU: cpu,  # hard as soft: ffmpeg would take the soft signal for a wish to end in good order
        resource.RLIMIT_AS: memory,
    }
    if tasks and _kernel() >= (5, 14):  # before that, all processes of the user count, in any namespace
        limits[resource.RLIMIT_NPROC] = _TASKS
    for kind, limit in limits.items():
        hard = resource.getrlimit(kind)[1]
        allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (allowed, allowed))


def _kernel() -> tuple[int, ...]:
    return tuple(int(number) for number in os.uname().release.split("-")[0].split(".")[:2])


def _say(what: str, error: int) -> None:
    sys.stderr.write(f"sandbox: {what} ({os.strerror(error)})\n")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except OSError as error:
        _say("the decoder could not be started", error.errno or 0)
        sys.exit(NOT_STARTED)
