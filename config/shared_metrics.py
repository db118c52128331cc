"""One folder in which all processes of a machine add up what they measure, so that any of them can show all of it.

Each process holds a slot: a number, and a lock that the kernel takes back when the process ends, however it ends. Its
values lie in mapped files of the slot, so kill -9 loses none. Whoever takes the slot next goes on counting where it
stood: what is summed up never falls, and there are as many files as there were ever processes at once. What somebody
has *now* (a gauge) counts only while its slot is held, and begins anew with the next holder.
"""

import fcntl
import os
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any

from prometheus_client import values
from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector


class Folder:
    def __init__(self, path: Path) -> None:
        """Raises OSError where the folder is not ours to write."""
        self._path = path
        path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def take_slot(self) -> None:
        """Keep all that this process measures from now on in the first slot that is free, until it ends."""
        for number in count():
            lock = self._try_lock(number, fcntl.LOCK_EX)
            if lock is not None:
                break
        for left in self._path.glob(f"gauge_*_{number}.db"):
            left.unlink()
        values.ValueClass = _values_in(self._path, number)  # as the library has it for names other than process ids

    def collect(self) -> Iterable[Metric]:
        """What all processes together have measured."""
        files = [path for path in self._path.glob("*.db") if path.stat().st_size and self._counts(path)]
        found: Iterable[Metric] = MultiProcessCollector.merge([str(path) for path in sorted(files)])
        return found

    def _counts(self, path: Path) -> bool:
        return not path.name.startswith("gauge_") or self._is_held(int(path.stem.rpartition("_")[2]))

    def _is_held(self, number: int) -> bool:
        lock = self._try_lock(number, fcntl.LOCK_SH)
        if lock is None:
            return True
        os.close(lock)
        return False

    def _try_lock(self, number: int, how: int) -> int | None:
        """The lock of a slot as a descriptor, or None where another has it."""
        lock = os.open(self._path / f"{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, how | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        return lock


def _values_in(folder: Path, number: int) -> type:
    files: dict[str, MmapedDict] = {}
    turn = Lock()

    def file_of(kind: str) -> MmapedDict:
        if kind not in files:
            files[kind] = MmapedDict(str(folder / f"{kind}_{number}.db"))
        return files[kind]

    class SlotValue:
        """A number in a file of the slot; takes the arguments that the library gives."""

        def __init__(
            self, typ: str, metric_name: str, name: str, labelnames: Any, labelvalues: Any, help_text: str,
            multiprocess_mode: str = "", **_: Any,
        ) -> None:  # fmt: skip
            self._key = mmap_key(metric_name, name, labelnames, labelvalues, help_text)
            with turn:
                self._file = file_of(f"{typ}_{multiprocess_mode}" if typ == "gauge" else typ)
                self._value, _at = self._file.read_value(self._key)

        def inc(self, amount: float) -> None:
            with turn:
                self._value += amount
                self._file.write_value(self._key, self._value, 0.0)

        def set(self, value: float, _at: float | None = None) -> None:
            with turn:
                self._value = value
                self._file.write_value(self._key, value, 0.0)

        def get(self) -> float:
            return float(self._value)

        def get_exemplar(self) -> None:
            return None

    return SlotValue
