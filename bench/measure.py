"""What the benches share: the order of runs, medians with their uncertainty, and one table with a verdict a line.

On a machine with neighbours only ratios mean something: both sides run in the same minute, in turn, and the medians of
their paired ratios come with a 95 % interval. Where that interval holds the goal, nothing has been shown either way.
"""

import argparse
import inspect
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, Literal, TypeVar

import numpy as np
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

RESAMPLES = 4000
SEED = 20_240_501
"""The same figures give the same interval, so that two readers of one run agree."""

LOAD_BEFORE = os.getloadavg()[0]
"""Others' work in the last minute: where it is near the number of cores, figures that are no ratios mean little."""

PLAIN_WIDTH = 150

Side = Literal["anchor", "ours"]
T = TypeVar("T")


class Verdict(StrEnum):
    PASS = "pass"
    FALLS_SHORT = "falls short"
    UNRESOLVED = "unresolved"


STYLES = {Verdict.PASS: "green", Verdict.FALLS_SHORT: "red", Verdict.UNRESOLVED: "yellow"}


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def exact(cls, value: float) -> "Estimate":
        """Of what was counted and not sampled."""
        return cls(value, value, value)

    def over(self, other: "Estimate") -> "Estimate":
        """The ratio of two figures whose samples are no pairs: the widest interval that theirs allow."""
        return Estimate(self.value / other.value, self.low / other.high, self.high / other.low)


def quantile(values: Sequence[float], share: float = 0.5) -> Estimate:
    """A quantile of `values`, the median unless said otherwise, with its bootstrap interval."""
    sample = np.asarray(values, float)
    draws = np.random.default_rng(SEED).choice(sample, (RESAMPLES, sample.size))
    low, high = np.quantile(np.quantile(draws, share, axis=1), (0.025, 0.975))
    return Estimate(float(np.quantile(sample, share)), float(low), float(high))


def slope(points: Sequence[tuple[float, float]]) -> Estimate:
    """How much the second number of a point grows for each step of the first: least squares, over bootstrapped points.

    Points in a row are alike, so they are drawn in runs of neighbours: one by one the interval would be too narrow.
    """
    sample = np.asarray(points, float)
    run = max(1, round(len(sample) ** (1 / 3)))
    starts = np.random.default_rng(SEED).integers(0, len(sample) - run + 1, (RESAMPLES, -(-len(sample) // run)))
    drawn = sample[(starts[:, :, None] + np.arange(run)).reshape(RESAMPLES, -1)]
    x, y = (drawn[:, :, axis] - drawn[:, :, axis].mean(axis=1, keepdims=True) for axis in (0, 1))
    low, high = np.quantile((x * y).sum(axis=1) / (x * x).sum(axis=1), (0.025, 0.975))
    return Estimate(float(np.polyfit(sample[:, 0], sample[:, 1], 1)[0]), float(low), float(high))


@dataclass(frozen=True, slots=True)
class Goal:
    bound: float
    kind: Literal["≤", "≥"]

    def judge(self, figure: Estimate) -> Verdict:
        """Only an interval that lies on one side of the bound says something."""
        met = [value <= self.bound if self.kind == "≤" else value >= self.bound for value in (figure.low, figure.high)]
        if all(met):
            return Verdict.PASS
        return Verdict.UNRESOLVED if any(met) else Verdict.FALLS_SHORT


def abba(rounds: int) -> Iterator[Side]:
    """Whose turn it is: a machine that warms up or slows down favours neither side."""
    for _ in range(rounds):
        yield from ("anchor", "ours", "ours", "anchor")


@dataclass(slots=True)
class Runs(Generic[T]):
    """What the runs of both sides came to, in the order of `abba`."""

    anchor: list[T] = field(default_factory=list)
    ours: list[T] = field(default_factory=list)

    def add(self, side: Side, run: T) -> None:
        (self.ours if side == "ours" else self.anchor).append(run)

    def ratio(self, of: Callable[[T], float]) -> Estimate:
        """Ours ÷ anchor, run against neighbouring run."""
        return quantile([of(ours) / of(anchor) for anchor, ours in zip(self.anchor, self.ours, strict=True)])

    def noise(self, of: Callable[[T], float]) -> Estimate:
        """A/A: each run ÷ the run of the same side just before it. As far as this is from 1, ratios mean nothing."""
        ours = zip(self.ours[0::2], self.ours[1::2], strict=True)
        anchor = zip(self.anchor[1::2], self.anchor[2::2], strict=False)
        return quantile([of(later) / of(earlier) for earlier, later in (*ours, *anchor)])


@dataclass(frozen=True, slots=True)
class Line:
    """One figure of the table. `judged` is what the goal is about: a ratio, or our own figure in `unit`.

    Without it, the line is a heading.
    """

    figure: str
    ours: str
    anchor: str
    judged: Estimate | None = None
    unit: str = "×"
    goal: Goal | None = None


def present(about: str | None, title: str, measure: Callable[..., list[Line]]) -> int:
    """One bench as a command: the sizes that `measure` takes by name are its options, and its lines one table."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, size in inspect.signature(measure).parameters.items():
        if size.kind is size.KEYWORD_ONLY:
            parser.add_argument(f"--{name.replace('_', '-')}", type=type(size.default), default=size.default)
    options = parser.parse_args()
    with progress_bar() as bar:
        lines = measure(bar, **vars(options))
    console().print(table(title, lines))
    return 0


def console() -> Console:
    """As wide as the terminal; wide enough for the table where the output goes to a file."""
    found = Console()
    return found if found.is_terminal else Console(width=PLAIN_WIDTH)


def progress_bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console())


HEADINGS = ("figure", "ours", "anchor", "judged", "95 % of it", "goal", "verdict")


def table(title: str, lines: Sequence[Line]) -> Table:
    drawn = Table(title=title, caption=_load(), title_justify="left", caption_justify="left", box=box.SIMPLE)
    for heading in HEADINGS:
        drawn.add_column(heading, justify="left" if heading in ("figure", "verdict") else "right", no_wrap=True)
    for line in lines:
        *cells, verdict = _cells(line)
        if line.judged is None:
            drawn.add_row(*(f"[bold]{cell}[/]" for cell in cells))
        else:
            drawn.add_row(*cells, f"[{STYLES[Verdict(verdict)]}]{verdict}[/]" if verdict else "")
    return drawn


def markdown(lines: Sequence[Line]) -> str:
    """The same table for a document."""
    rows = [HEADINGS, ("---", *["---:"] * 5, "---"), *(_cells(line) for line in lines)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _cells(line: Line) -> tuple[str, ...]:
    said = line.figure, line.ours, line.anchor
    if (figure := line.judged) is None:
        return (*said, "", "", "", "")
    spread = "counted" if figure.low == figure.high else f"{number(figure.low)} … {number(figure.high)}"
    goal = f"{line.goal.kind} {number(line.goal.bound)} {line.unit}".rstrip() if line.goal else ""
    verdict = line.goal.judge(figure) if line.goal else ""
    return (*said, f"{number(figure.value)} {line.unit}".rstrip(), spread, goal, verdict)


def _load() -> str:
    return f"{LOAD_BEFORE:.1f} processes wanted the {os.cpu_count()} cores of this machine before the bench began"


def number(value: float) -> str:
    """Three digits that count, without an exponent."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) < 0.1:
        return f"{value:.3f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
