"""The folder as a store."""

import asyncio
import logging
import os
import resource
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from domain.errors import BadLink, BadSettings, ObjectNotFound, StorageUnavailable
from domain.intake_errors import WrongPartSize
from storage import layout
from storage.contract import Store
from storage.links import Link
from storage.local import MEDIA_PATH, LocalStore
from tests.storage.bodies import MIB, Stalled, in_chunks, keys, noise, read
from tests.storage.contract_suite import JOB, PART, RESULT, SOURCE, StoreContract
from tests.storage.dying_put import put_and_die

NOBODY = 65_534

SECRET = b"the secret of these tests"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "objects"


@pytest.fixture
async def folder(root: Path) -> AsyncIterator[LocalStore]:
    store = LocalStore(root, link_secret=SECRET)
    yield store
    await store.close()


def files_in(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def opened_in(root: Path) -> list[str]:
    """The files below `root` that this process has open."""
    descriptors = Path("/proc/self/fd").iterdir()
    return [target for each in descriptors if (target := _target(each)).startswith(str(root))]


def _target(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except FileNotFoundError:  # the one that lists the folder itself
        return ""


class TestLocalStore(StoreContract):
    memory_bytes = 6 * MIB
    status_of_another_size = 422

    @pytest.fixture
    async def store(self, folder: LocalStore) -> Store:
        return folder

    @pytest.fixture(autouse=True)
    def remember_root(self, root: Path) -> None:
        self.root = root

    async def leave_unfinished(self, store: Store, key: str) -> None:
        await put_and_die(self.root, key)

    async def put(self, store: Store, link: str, part: bytes) -> int:
        """As the API answers it."""
        assert isinstance(store, LocalStore)
        try:
            await store.put_part(store.verify_part_link(link.removeprefix(MEDIA_PATH)), in_chunks(part))
        except BadLink:
            return 403
        except WrongPartSize:
            return 422
        except ObjectNotFound:
            return 404
        return 200

    async def test_parts_that_two_join_at_once_are_joined_for_both(self, store: Store) -> None:
        """A client that did not wait for the first answer asks again, while many parts are still being copied."""
        sizes = dict.fromkeys(range(1, 25), MIB)
        for _ in range(5):
            sending, body = await self.begin(store, sizes)
            await asyncio.gather(*(store.join_parts(SOURCE, sending, list(sizes.values())) for _ in range(3)))
            assert await read(store, SOURCE) == body


async def test_of_a_part_that_is_too_long_nothing_stays(folder: LocalStore, root: Path) -> None:
    sending = await folder.begin_parts(SOURCE)
    link = await folder.part_link(SOURCE, sending, 1, size_bytes=1000, seconds=60)
    with pytest.raises(WrongPartSize):
        await folder.put_part(folder.verify_part_link(link.removeprefix(MEDIA_PATH)), in_chunks(noise(5 * MIB)))
    assert len(files_in(root)) == 1, "the mark of the sending alone"


async def test_a_part_that_comes_to_its_end_when_all_is_over_leaves_nothing(folder: LocalStore, root: Path) -> None:
    sending = await folder.begin_parts(SOURCE)
    link = await folder.part_link(SOURCE, sending, 1, size_bytes=PART, seconds=60)
    body = Stalled(noise(PART))
    late = asyncio.create_task(folder.put_part(folder.verify_part_link(link.removeprefix(MEDIA_PATH)), body.chunks()))
    await body.delivered.wait()
    await folder.drop_parts(SOURCE, sending)
    body.go_on.set()
    with pytest.raises(ObjectNotFound):
        await late
    assert files_in(root) == []


async def test_a_link_to_read_is_none_to_send_and_none_the_other_way(folder: LocalStore) -> None:
    await folder.put(SOURCE, in_chunks(b"x"))
    reading = await folder.link(SOURCE, seconds=60, content_type="audio/ogg", filename="a.ogg")
    sending = await folder.part_link(SOURCE, await folder.begin_parts(SOURCE), 1, size_bytes=1, seconds=60)
    with pytest.raises(BadLink):
        folder.verify_part_link(reading.removeprefix(MEDIA_PATH))
    with pytest.raises(BadLink):
        folder.verify_link(sending.removeprefix(MEDIA_PATH))


async def test_a_part_s_link_expires(folder: LocalStore) -> None:
    link = await folder.part_link(SOURCE, await folder.begin_parts(SOURCE), 1, size_bytes=1, seconds=0)
    with pytest.raises(BadLink):
        folder.verify_part_link(link.removeprefix(MEDIA_PATH))


@pytest.mark.parametrize("moment", [[], ["late"]], ids=["in the middle", "before the last step"])
async def test_a_process_killed_during_a_put_leaves_no_object_and_the_sweep_removes_the_rest(
    root: Path, folder: LocalStore, moment: list[str]
) -> None:
    await put_and_die(root, SOURCE, *moment)
    assert len(files_in(root)) == 1
    assert await keys(folder) == set()
    with pytest.raises(ObjectNotFound):
        await folder.size(SOURCE)
    assert await folder.delete_unfinished(0) == 1
    assert list(root.iterdir()) == []


async def test_a_process_killed_during_a_put_leaves_the_object_of_before(root: Path, folder: LocalStore) -> None:
    await folder.put(SOURCE, in_chunks(b"before"))
    await put_and_die(root, SOURCE, "late")
    assert await read(folder, SOURCE) == b"before"


class Disk:
    """What is asked of the disk, in order; everything is passed on to it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
        self.steps: list[tuple[str, str]] = []
        self._root = root
        self._fsync, self._replace = os.fsync, os.replace
        monkeypatch.setattr(os, "fsync", self.fsync)
        monkeypatch.setattr(os, "replace", self.replace)

    def fsync(self, descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        found = os.fstat(descriptor)
        what = f"{found.st_size} bytes" if stat.S_ISREG(found.st_mode) else str(path.relative_to(self._root))
        self.steps.append(("sync", what))
        self._fsync(descriptor)

    def replace(self, source: Path, target: Path) -> None:
        self.steps.append(("rename to", str(target.relative_to(self._root))))
        self._replace(source, target)


async def test_a_put_is_on_disk_with_every_folder_on_its_way_before_it_returns(
    folder: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch, root)
    await folder.put(SOURCE, in_chunks(bytes(MIB + 1)))
    ways = [str(parent) for parent in Path(SOURCE).parents]
    assert disk.steps[:2] == [("sync", f"{MIB + 1} bytes"), ("rename to", SOURCE)]
    assert sorted(disk.steps[2:]) == sorted(("sync", way) for way in ways)


async def test_a_deletion_is_on_disk_before_it_returns(
    folder: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    neighbour = layout.result("stranger", JOB, 1)
    for key in (SOURCE, RESULT, neighbour):
        await folder.put(key, in_chunks(b"x"))
    disk = Disk(monkeypatch, root)
    await folder.delete(RESULT)
    await folder.delete(SOURCE)
    await folder.delete(neighbour)
    job = layout.job_prefix("local", JOB).rstrip("/")
    assert disk.steps == [("sync", job), ("sync", "o"), ("sync", ".")]


async def test_a_full_disk_makes_the_store_unavailable_and_leaves_nothing(
    folder: LocalStore, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # A limit on the size of files is the full disk that an ordinary user can have.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MIB, limits[1]))
    try:
        with caplog.at_level(logging.WARNING), pytest.raises(StorageUnavailable):
            await folder.put(SOURCE, in_chunks(bytes(8 * MIB)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "EFBIG" in caplog.text
    assert list(root.iterdir()) == []


async def test_a_folder_that_is_gone_makes_the_store_unavailable(root: Path, folder: LocalStore) -> None:
    root.rmdir()
    root.touch()
    with pytest.raises(StorageUnavailable):
        await folder.put(SOURCE, in_chunks(b"x"))
    with pytest.raises(ObjectNotFound):
        await folder.size(SOURCE)


async def test_deleting_removes_the_folders_left_empty_but_never_the_root(root: Path, folder: LocalStore) -> None:
    await folder.put(RESULT, in_chunks(b"x"))
    await folder.delete(RESULT)
    assert list(root.iterdir()) == []


async def test_a_put_survives_a_deletion_that_prunes_its_folder_just_before_the_file_is_there(
    folder: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_open = os.open
    pruned: list[Path] = []

    def open_too_late(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT and not pruned:
            pruned.append(path.parent)
            path.parent.rmdir()
        return true_open(path, flags, mode)

    monkeypatch.setattr(os, "open", open_too_late)
    await folder.put(SOURCE, in_chunks(b"x"))
    monkeypatch.undo()
    assert pruned
    assert await read(folder, SOURCE) == b"x"


async def test_puts_survive_deletions_that_prune_the_folder_under_them(root: Path, folder: LocalStore) -> None:
    async def come_and_go(fence: int) -> None:
        key = layout.result("local", JOB, fence)
        for _ in range(60):
            await folder.put(key, in_chunks(b"x"))
            await folder.delete(key)

    await asyncio.gather(*(come_and_go(fence) for fence in range(8)))
    assert list(root.iterdir()) == []


async def test_a_sweep_spares_a_put_that_still_gets_bytes(root: Path, folder: LocalStore) -> None:
    body = Stalled(noise(MIB))
    put = asyncio.create_task(folder.put(SOURCE, body.chunks()))
    await body.delivered.wait()
    [draft] = files_in(root)
    os.utime(draft, (0, 0))  # begun long ago …
    body.go_on.set()
    await put  # … and written to since
    assert await folder.delete_unfinished(3600) == 0
    assert await read(folder, SOURCE) == noise(MIB)


async def test_no_file_stays_open_when_readers_leave_early_or_are_cancelled(root: Path) -> None:
    store = LocalStore(root, link_secret=SECRET)
    await store.put(SOURCE, in_chunks(bytes(4 * MIB)))
    async with store.open(SOURCE) as chunks:
        await anext(chunks)
        assert opened_in(root) == [str(root / SOURCE)]
    assert opened_in(root) == []
    readers = [asyncio.create_task(read(store, SOURCE)) for _ in range(20)]
    await asyncio.sleep(0)
    for reader in readers:
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)
    await store.close()
    assert opened_in(root) == []


async def test_only_the_platform_s_own_user_can_read_recordings(root: Path, folder: LocalStore) -> None:
    await folder.put(SOURCE, in_chunks(b"x"))
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert stat.S_IMODE((root / SOURCE).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../outside", "o/../../outside", "o//x", "o/./x", "o/x/", "o/.put-1", "..", "o/x\0"]
)
async def test_a_key_that_could_leave_the_folder_is_refused(root: Path, folder: LocalStore, key: str) -> None:
    (root.parent / "outside").write_text("not an object")
    with pytest.raises(ValueError, match=r"not a key|null byte"):
        await folder.size(key)
    with pytest.raises(ValueError, match=r"not a key|null byte"):
        await folder.put(key, in_chunks(b"x"))
    with pytest.raises(ValueError, match=r"not a key|null byte"):
        await folder.delete(key)
    assert (root.parent / "outside").read_text() == "not an object"


@pytest.mark.parametrize("prefix", ["/etc/", "../", "o/../../"])
async def test_a_list_cannot_leave_the_folder(folder: LocalStore, prefix: str) -> None:
    with pytest.raises(ValueError, match="not a key"):
        await keys(folder, prefix)


async def test_a_link_is_verified_by_any_process_with_the_same_secret(root: Path, folder: LocalStore) -> None:
    link = await folder.link(SOURCE, seconds=60, content_type="audio/ogg", filename="Visita nº 3.ogg")
    assert link.startswith(MEDIA_PATH)
    other = LocalStore(root, link_secret=SECRET)
    assert other.verify_link(link.removeprefix(MEDIA_PATH)) == Link(SOURCE, "audio/ogg", "Visita nº 3.ogg")
    await other.close()


async def test_a_link_that_has_expired_or_is_of_another_secret_is_refused(root: Path, folder: LocalStore) -> None:
    expired = await folder.link(SOURCE, seconds=0, content_type="audio/ogg", filename="a.ogg")
    with pytest.raises(BadLink):
        folder.verify_link(expired.removeprefix(MEDIA_PATH))
    other = LocalStore(root, link_secret=b"another secret altogether")
    foreign = await other.link(SOURCE, seconds=60, content_type="audio/ogg", filename="a.ogg")
    with pytest.raises(BadLink):
        folder.verify_link(foreign.removeprefix(MEDIA_PATH))
    await other.close()


def test_a_place_where_nothing_can_be_kept_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(BadSettings, match="STORAGE_DIR"):
            LocalStore(place, link_secret=SECRET)


@pytest.fixture
def ordinary_user() -> Iterator[None]:
    """Root may write everywhere, so where the tests run as root this one does not."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    yield
    if is_root:
        os.seteuid(0)


def test_a_folder_of_somebody_else_is_refused_at_the_start(tmp_path: Path, ordinary_user: None) -> None:
    if os.geteuid() != NOBODY:
        tmp_path.chmod(0o500)
    with pytest.raises(BadSettings, match="STORAGE_DIR"):
        LocalStore(tmp_path, link_secret=SECRET)


def test_a_secret_that_can_be_guessed_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="LINK_SECRET"):
        LocalStore(tmp_path, link_secret=b"secret")
