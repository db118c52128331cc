"""A real S3 server for tests: OpenStack Swift with its s3api, as private processes on free loopback ports.

Unlike the usual stand-ins it checks every signature, host, date and expiry. Debian's packages (see
scripts/ci-services.sh) bring the programs; nothing of the system's own set-up of Swift is used or touched.
"""

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("swift-proxy-server", "swift-account-server", "swift-container-server", "swift-object-server", "memcached")

ACCESS_KEY = "escriba:tests"
"""Swift's account and user; its quirk is the colon, which S3 clients take as they take any key."""

SECRET_KEY = "secret-of-these-tests"
REGION = "us-east-1"
START_TIMEOUT_SECONDS = 60.0

PROXY = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {proxy}
workers = 0
user = {user}
swift_dir = {folder}

[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck cache s3api tempauth bulk slo versioned_writes proxy-server

[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true

[filter:s3api]
use = egg:swift#s3api
location = {region}

[filter:tempauth]
use = egg:swift#tempauth
user_escriba_tests = {secret} .admin

[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{memcached}

[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:bulk]
use = egg:swift#bulk
[filter:slo]
use = egg:swift#slo
[filter:versioned_writes]
use = egg:swift#versioned_writes
"""

BACKEND = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
fallocate_reserve = 0

[pipeline:main]
pipeline = {kind}-server

[app:{kind}-server]
use = egg:swift#{kind}
"""

SWIFT = """
[swift-hash]
swift_hash_path_suffix = tests
[storage-policy:0]
name = only
default = yes
"""

RINGS = """
import sys
from swift.common.ring import RingBuilder
folder, *ports = sys.argv[1:]
for kind, port in zip(("account", "container", "object"), ports):
    builder = RingBuilder(part_power=2, replicas=1, min_part_hours=0)
    place = {"ip": "127.0.0.1", "port": int(port), "device": "disk"}
    builder.add_dev({"id": 0, "region": 1, "zone": 1, "weight": 1, **place})
    builder.rebalance()
    builder.get_ring().save(f"{folder}/{kind}.ring.gz")
"""


class SwiftMissing(Exception):
    """This machine cannot run Swift; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Swift:
    port: int
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY
    region: str = REGION

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def public_endpoint(self) -> str:
        """The same server under another name, as a browser might know it."""
        return f"localhost:{self.port}"


@contextmanager
def running_swift(folder: Path) -> Iterator[Swift]:
    """A server whose files lie in `folder`, which is empty; it ends with the block, or with this process.

    Raises SwiftMissing before anything is started.
    """
    _check(folder)
    ports = dict(zip(("memcached", "account", "container", "object", "proxy"), _free_ports(5), strict=True))
    _configure(folder, ports)
    with ExitStack() as stack:
        children = {
            name: stack.enter_context(_child(_command(name, folder, port), folder / f"{name}.log"))
            for name, port in ports.items()
        }
        for name, port in ports.items():
            _wait_until_listening(port, children[name], folder / f"{name}.log")
        yield Swift(ports["proxy"])


def _check(folder: Path) -> None:
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        raise SwiftMissing(f"not installed: {', '.join(missing)}; `make ci-services` installs them")
    try:
        os.setxattr(folder, "user.escriba", b"")
    except OSError as error:
        raise SwiftMissing(
            f"the temporary folder's file system has no extended attributes ({error.strerror})"
        ) from error


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _configure(folder: Path, ports: dict[str, int]) -> None:
    values = {"folder": folder, "user": _user(), "secret": SECRET_KEY, "region": REGION, **ports}
    (folder / "devices" / "disk").mkdir(parents=True)
    (folder / "swift.conf").write_text(SWIFT)
    (folder / "proxy.conf").write_text(PROXY.format_map(values))
    for kind in ("account", "container", "object"):
        (folder / f"{kind}.conf").write_text(BACKEND.format_map(values | {"kind": kind, "port": ports[kind]}))
    rings = [str(ports[kind]) for kind in ("account", "container", "object")]
    subprocess.run(["/usr/bin/python3", "-c", RINGS, folder, *rings], check=True, env=_environment(), cwd=folder)


def _command(name: str, folder: Path, port: int) -> list[str]:
    if name == "memcached":
        return ["memcached", "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-m", "16", "-u", _user()]
    return [f"swift-{name}-server", str(folder / f"{name}.conf"), "-v"]


@contextmanager
def _child(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    # setpriv: a test run that is killed leaves no server behind.
    guarded = ["setpriv", "--pdeathsig", "KILL", *command]
    with log.open("wb") as output:
        child = subprocess.Popen(guarded, stdout=output, stderr=output, env=_environment(), cwd=log.parent)
    with child:
        try:
            yield child
        finally:
            child.kill()


def _wait_until_listening(port: int, child: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if child.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{child.args!r} did not start:\n{log.read_text(errors='replace')[-4000:]}")
        time.sleep(0.02)  # nothing announces that a foreign server listens


def _user() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


def _environment() -> dict[str, str]:
    """For programs of the system's own Python: nothing that points into a virtual environment of ours."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
