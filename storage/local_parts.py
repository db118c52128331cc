"""Objects of a local store that are sent in parts: each a file beside the object's place, until they are joined.

`.put-SENDING` says that a sending is open, `.put-SENDING.3` is its third part. What is left behind is swept as what
puts have left is.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path
from uuid import uuid4

from domain.errors import ObjectNotFound
from domain.intake_errors import PartsMissing, WrongPartSize
from storage.contract import refuse_missing
from storage.files import UNFINISHED, Draft, delete, disk_errors, size


def begin(root: Path, path: Path, syncs: Executor) -> str:
    sending = uuid4().hex
    mark = Draft(root, _mark(path, sending), syncs)
    mark.begin()
    mark.finish()
    return sending


def place(path: Path, sending: str, number: int) -> Path:
    """Where a part goes. Raises ObjectNotFound where the sending is over."""
    if not _mark(path, sending).exists():
        raise ObjectNotFound
    return _part(path, sending, number)


async def exactly(body: AsyncIterator[bytes], size_bytes: int) -> AsyncIterator[bytes]:
    """The same bytes. Raises WrongPartSize where they are more or fewer, and reads no further."""
    left = size_bytes
    async for chunk in body:
        left -= len(chunk)
        if left < 0:
            break
        yield chunk
    if left != 0:
        raise WrongPartSize(size_bytes)


def keep(root: Path, path: Path, sending: str, number: int) -> None:
    """Behind a part: where the sending was over meanwhile, nothing of it stays. Raises ObjectNotFound then."""
    if not _mark(path, sending).exists():
        delete(root, _part(path, sending, number))
        raise ObjectNotFound


def there(path: Path, sending: str) -> dict[int, int]:
    """Number → bytes. Raises ObjectNotFound where the sending is over."""
    place(path, sending, 1)
    return {int(part.suffix[1:]): size(part) for part in _parts(path, sending)}


def join(root: Path, path: Path, syncs: Executor, sending: str, sizes: Sequence[int]) -> None:
    """Raises PartsMissing, and ObjectNotFound where the sending was dropped."""
    try:
        _join(root, path, syncs, sending, sizes)
    except (ObjectNotFound, PartsMissing):
        if _mark(path, sending).exists():
            raise
        size(path)  # joined before, or beside us; or there is nothing


def _join(root: Path, path: Path, syncs: Executor, sending: str, sizes: Sequence[int]) -> None:
    refuse_missing(there(path, sending), sizes)
    whole = Draft(root, path, syncs)
    whole.begin()
    try:
        for number in range(1, len(sizes) + 1):
            whole.append(_part(path, sending, number))
        whole.finish()
    except BaseException:
        whole.discard()
        raise
    drop(root, path, sending)


def drop(root: Path, path: Path, sending: str) -> None:
    delete(root, _mark(path, sending))  # first: from here on the sending is over, whatever is left of it
    for part in list(_parts(path, sending)):
        delete(root, part)


def _mark(path: Path, sending: str) -> Path:
    return path.with_name(f"{UNFINISHED}{sending}")


def _part(path: Path, sending: str, number: int) -> Path:
    return path.with_name(f"{UNFINISHED}{sending}.{number}")


def _parts(path: Path, sending: str) -> Iterator[Path]:
    with disk_errors():
        yield from path.parent.glob(f"{UNFINISHED}{sending}.*")
