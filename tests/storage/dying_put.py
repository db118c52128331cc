"""A program that begins a put and dies as by `kill -9`: in the middle of the body or, with "late", before the rename.

Arguments: the folder of the store, the key, and perhaps "late".
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from storage.local import LocalStore

REPOSITORY = Path(__file__).parent.parent.parent


async def put_and_die(root: Path, key: str, *moment: str) -> None:
    """Run this program."""
    script = [sys.executable, "-m", "tests.storage.dying_put", str(root), key, *moment]
    process = await asyncio.create_subprocess_exec(*script, cwd=REPOSITORY)
    assert await process.wait() == -signal.SIGKILL


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_before_rename(event: str, _: tuple[object, ...]) -> None:
    if event == "os.rename":
        die()


async def body(*, late: bool) -> AsyncIterator[bytes]:
    for _ in range(48):
        yield bytes(65_536)
    if not late:
        die()


async def main(root: str, key: str, *moment: str) -> None:
    if moment:
        sys.addaudithook(die_before_rename)
    store = LocalStore(Path(root), link_secret=b"the secret of a dying process")
    await store.put(key, body(late=bool(moment)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
