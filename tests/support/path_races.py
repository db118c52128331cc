"""Hostile paths, and races against whoever opens a file by its name."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Self

from config.rabbitmq_settings import Root
from domain.errors import EscribaError
from rabbitmq.audio_files import AudioFile, locate

CANARY = b"nobody may read this"
LIMIT = 1000

SWAPPER = """
import ctypes, os, sys
exchange = ctypes.CDLL(None, use_errno=True).renameat2
pairs = list(zip(map(os.fsencode, sys.argv[1::2]), map(os.fsencode, sys.argv[2::2])))
AT_FDCWD, RENAME_EXCHANGE = -100, 2
print("ready", flush=True)
while True:
    for place, link in pairs:
        if exchange(AT_FDCWD, place, AT_FDCWD, link, RENAME_EXCHANGE):
            sys.exit(os.strerror(ctypes.get_errno()))
"""
"""Has files or folders change names with links, again and again, for as long as it lives: renameat2(2)."""


@dataclass(frozen=True, slots=True)
class Ground:
    """A folder that is served, one that is not, and a secret in it under every name that is asked for."""

    served: Path
    outside: Path

    @classmethod
    def make(cls, folder: Path) -> Self:
        served, outside = folder / "served", folder / "outside"
        for place, content in ((served, b"served"), (outside, CANARY)):
            (place / "folder").mkdir(parents=True)
            for name in ("a.wav", "folder/b.wav"):
                (place / name).write_bytes(content)
        (served / "link.wav").symlink_to(outside / "a.wav")
        (served / "inner.wav").symlink_to("a.wav")
        (served / "linked").symlink_to(outside)
        (served / "root").symlink_to("/")
        return cls(served, outside)

    @property
    def roots(self) -> tuple[Root, ...]:
        return (Root(self.served, "local"),)

    @property
    def secret(self) -> Path:
        return self.outside / "a.wav"


def hostile_paths(ground: Ground) -> list[str]:
    """More than 200; of none is anything to be read."""
    served, outside = str(ground.served), str(ground.outside)
    up = [
        "..",
        "../",
        "./..",
        "folder/..",
        "folder/../..",
        "linked/..",
        "..\\",
        "%2e%2e",
        "..%2f",
        "．．",
        "..\0",
        ".. ",
    ]
    ways = [f"{served}/{way}/outside/{name}" for way, name in product(up, ("a.wav", "folder/b.wav"))]
    ways += [f"{served}{'/..' * depth}{target}" for depth, target in product(range(1, 40), ("/etc/passwd", "/a.wav"))]
    links = [
        "link.wav",
        "inner.wav",
        "linked/a.wav",
        "linked/folder/b.wav",
        "root/etc/passwd",
        "root/proc/self/environ",
    ]
    ways += [f"{served}/{link}" for link in links]
    ways += [f"{served}//{link}" for link in links]
    ways += [f"{served}/./{link}" for link in links]
    system = ["/etc/passwd", "/etc/shadow", "/proc/self/environ", "/proc/self/mem", "/proc/self/fd/0", "/dev/zero"]
    system += ["/dev/stdin", "/dev/tty", "/sys/kernel/notes", "/root/.ssh/id_rsa", "/", "//", "/.", "/..", ""]
    ways += system
    ways += [f"file://{path}" for path in system]
    ways += [
        f"{served}{path}" for path in ("", "/", "/.", "//", "er/a.wav", "/folder", "/folder/", "/a.wav/", "/a.wav/.")
    ]
    schemes = ["http://127.0.0.1/a.wav", "concat:/etc/passwd|/etc/shadow", "pipe:0", "data:audio/wav;base64,AAAA", "-"]
    ways += schemes + [f"{served}/{scheme}" for scheme in schemes]
    odd = [
        "\0",
        "a.wav\0",
        "a.wav\0.wav",
        "a\\b.wav",
        "\\\\server\\share\\a.wav",
        "C:\\a.wav",
        "~/a.wav",
        "$HOME/a.wav",
    ]
    odd += ["a" * 256 + ".wav", "/".join(["a"] * 3000), "\ud800.wav", "a\n.wav", "a.wav\n", "*", "?.wav", "{a,b}.wav"]
    ways += [f"{served}/{name}" for name in odd] + odd
    ways += ["a.wav", "./a.wav", "../a.wav", "served/a.wav", outside, f"{outside}/a.wav", f"{outside}/folder/b.wav"]
    ways += [f"/proc/{os.getpid()}/root{outside}/a.wav", f"/proc/self/cwd/{outside}/a.wav"]
    ways += [
        f"{served}/{name}" for name in ("A.WAV", "a.WAV", "a.wav ", " a.wav", "a.wav.", "a.wav;", "a.wav#", "b.wav")
    ]
    return [way for way in ways if way not in (f"{served}/a.wav", f"{served}/folder/b.wav")]


@dataclass(frozen=True, slots=True)
class Found:
    read: int
    """Times that the file was read that was meant."""
    refused: int
    """Times that a link, or nothing, was in the way."""
    escaped: int
    """Times that something else was read."""


def escapes(ground: Ground, *, times: int) -> Found:
    """Open files by name, again and again, while links take the places of the file and of its folder."""
    meant = refused = escaped = 0
    file, folder = ground.served / "raced.wav", ground.served / "raced"
    file.write_bytes(b"served")
    folder.mkdir()
    (folder / "b.wav").write_bytes(b"served")
    (ground.outside / "b.wav").write_bytes(CANARY)
    paths = [str(file), str(folder / "b.wav")]
    with _swapping({file: ground.secret, folder: ground.outside}):
        for n in range(times):
            try:
                content = read(ground, paths[n % 2])
            except EscribaError:
                refused += 1
            else:
                meant += content == b"served"
                escaped += content != b"served"
    return Found(meant, refused, escaped)


def read(ground: Ground, path: str) -> bytes:
    file = AudioFile(locate(ground.roots, path), LIMIT)
    try:
        return file.read()
    finally:
        file.close()


@contextmanager
def _swapping(targets: dict[Path, Path]) -> Iterator[None]:
    """Meanwhile, each place is itself at one moment, and a link to its target at the next."""
    command = [sys.executable, "-c", SWAPPER]
    for place, target in targets.items():
        link = place.with_name(f"{place.name}.link")
        link.symlink_to(target)
        command += [str(place), str(link)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as swapper:
        try:
            assert swapper.stdout is not None
            swapper.stdout.readline()
            yield
            assert swapper.poll() is None, "nothing was swapped any more"
        finally:
            swapper.kill()


def opened(ground: Ground, paths: list[str]) -> int:
    """Of how many of these something is to be read."""
    found = 0
    for path in paths:
        try:
            read(ground, path)
        except EscribaError:
            continue
        found += 1
    return found
