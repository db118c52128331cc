"""What a campaign is: a fault done to real processes again and again, what was counted, and what must not have been."""

import asyncio
import linecache
import random
import sys
from abc import ABC
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from types import MappingProxyType
from typing import Any, ClassVar, Generic, Literal, TypeVar

from tests.chaos.ground import Ground

ROOT = Path(__file__).parent.parent.parent

Size = TypeVar("Size")
Scale = Literal["smoke", "full"]
"""Minutes for all campaigns together, or as often as is promised."""


@dataclass(frozen=True, slots=True)
class Breach:
    """A promise broken, and the line of the campaign that saw it."""

    what: str
    found: str
    allowed: str
    line: str
    vain: bool = False
    """The campaign itself came to nothing, as where the platform does not even start."""

    def __str__(self) -> str:
        return f"{self.what}: {self.found}, allowed {self.allowed} ({self.line})"


class Caught(Exception):
    """The first breach of a campaign that hunts for one."""


@dataclass(slots=True)
class Record:
    """What became of one run of a campaign."""

    promise: str
    title: str
    fault: str
    injected: int = 0
    counted: dict[str, Any] = field(default_factory=dict)
    breaches: list[Breach] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def kept(self) -> bool:
        return not self.breaches


class Campaign(ABC, Generic[Size]):
    """One promise. `parts` are methods, run one after another; each injects, counts, and expects."""

    promise: ClassVar[str]
    title: ClassVar[str]
    fault: ClassVar[str]
    parts: ClassVar[tuple[str, ...]]
    environ: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """What is set otherwise for this campaign, which then gets a platform of its own."""
    smoke: ClassVar[Any] = None
    full: ClassVar[Any]
    """How often, at either scale; None where that is not for it."""
    repeated: ClassVar[tuple[str, ...]]
    """The fields of the size that count faults."""

    def __init__(
        self,
        ground: Ground,
        size: Size,
        *,
        seed: int,
        hunting: bool = False,
        timed: bool = True,
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        """`hunting`: end with the first breach, which is what was looked for. `timed`: take what takes too long for a
        breach, which says nothing where others are at work beside it.
        """
        self.ground, self.size, self._hunting, self._timed, self._tick = ground, size, hunting, timed, tick
        self.chance = random.Random(seed)
        self.record = Record(self.promise, self.title, self.fault)
        self.samples: defaultdict[str, list[float]] = defaultdict(list)
        """Figures of which the table has a quantile, by name."""

    @classmethod
    def missing(cls) -> str | None:
        """What this machine lacks for it, if anything."""
        return None

    @classmethod
    def planned(cls, size: Size) -> int:
        """About how many faults there will be."""
        return sum(getattr(size, name) for name in cls.repeated)

    async def run(self, *parts: str) -> Record:
        """All parts, or those named; a fault that the campaign does not survive counts as a breach."""
        began = monotonic()
        for part in parts or self.parts:
            try:
                await getattr(self, part)()
            except Caught:
                break
            except (AssertionError, TimeoutError, ExceptionGroup) as error:
                first = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
                vain = Breach(part, str(first) or "no end", "no wait in vain", _raised(first), vain=True)
                self.record.breaches.append(vain)
            finally:
                self.ground.resume_all()
        self.record.seconds = monotonic() - began
        return self.record

    def injected(self, times: int = 1) -> None:
        self.record.injected += times
        for _ in range(times):
            self._tick()

    def count(self, what: str, number: Any) -> None:
        """A figure for the table; several of the same name are added up."""
        counted = self.record.counted
        counted[what] = counted[what] + number if what in counted else number

    def expect(self, what: str, found: Any, allowed: Any = 0) -> None:
        """Count, and take anything but `allowed` for a breach of the promise."""
        self.count(what, found if isinstance(found, int | float) else int(found != allowed))
        if found != allowed:
            self._breach(what, found, allowed)

    def at_most(self, what: str, found: float, limit: float) -> None:
        """Note a time, and take more than `limit`, or none at all, for a breach."""
        self.record.counted[what] = round(found, 2)
        if not found <= (limit if self._timed else sys.float_info.max):
            self._breach(what, round(found, 2), f"≤ {limit:g}")

    def note(self, what: str, figure: float) -> None:
        """A figure for the table, in place of the last of that name."""
        self.record.counted[what] = round(figure, 3)

    def _breach(self, what: str, found: Any, allowed: Any) -> None:
        frame = sys._getframe(2)
        line = _line(frame.f_code.co_filename, frame.f_lineno)
        self.record.breaches.append(Breach(what, str(found), str(allowed), line))
        if self._hunting:
            raise Caught


def _line(file: str, number: int) -> str:
    path = Path(file)
    name = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    return f"{name}:{number} {linecache.getline(file, number).strip()}"


def _raised(error: BaseException) -> str:
    """The innermost line of a campaign that the error went through."""
    found, trace = "", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if "chaos" in Path(file).parts and Path(file).stem not in ("ground", "gates", "campaign"):
            found = _line(file, trace.tb_lineno)
        trace = trace.tb_next
    return found


def quantile(figures: list[float], share: float) -> float:
    """The least figure that `share` of all do not exceed; NaN of none."""
    if not figures:
        return float("nan")
    return sorted(figures)[min(len(figures) - 1, int(share * len(figures)))]


async def gathered(*work: Any) -> list[Any]:
    """All of it at once, and what became of each."""
    return await asyncio.gather(*work, return_exceptions=True)
