"""All figures of the platform, each beside its anchor, in one table: `make bench`.

    python -m bench [--only G2,G19] [--markdown FILE]

Every figure has a command of its own (python -m bench.NAME --help), which says what is measured, and how.
"""

import argparse
import importlib
import os
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from time import monotonic

from rich.progress import Progress

from bench.measure import Line, console, markdown, progress_bar, table


@dataclass(frozen=True, slots=True)
class Bench:
    module: str
    figures: tuple[str, ...]
    title: str
    seconds: int
    """How long it takes on two idle cores."""

    def measure(self, bar: Progress) -> list[Line]:
        measured: list[Line] = importlib.import_module(f"bench.{self.module}").measure(bar)
        return measured


BENCHES = (
    Bench("job", ("G1", "G11"), "What the platform adds to a job", 250),
    Bench("queue_rate", ("G2",), "Jobs that do nothing, one worker", 90),
    Bench("depth", ("G3",), "Jobs behind a long queue", 120),
    Bench("submit", ("G4",), "Submissions, 50 a second", 65),
    Bench("upload", ("G5", "G6"), "Uploads of 100 MB", 170),
    Bench("direct", ("G7",), "Uploads straight to the store", 90),
    Bench("first_event", ("G8",), "From the 202 to the first events", 150),
    Bench("followers", ("G9",), "Clients that follow a job", 120),
    Bench("socket_echo", ("G10",), "Messages over a WebSocket", 20),
    Bench("warm_model", ("G12",), "A model that stays loaded", 30),
    Bench("overlap", ("G13",), "Decoding while the engine works", 40),
    Bench("transcript", ("G16",), "A transcript of 100,000 words", 40),
    Bench("leak", ("G17",), "Memory over 1,000 jobs", 90),
    Bench("decode", ("G18",), "Ten hours decoded", 110),
    Bench("idle", ("G19",), "Idle", 45),
    Bench("kills", ("G22",), "Workers that are killed", 150),
)


def chosen(only: str) -> list[Bench]:
    """Those that measure one of the figures named, in the order of the table; all where none is. Raises ValueError."""
    wanted = {name.strip().upper() for name in only.split(",") if name.strip()}
    known = {figure for bench in BENCHES for figure in bench.figures}
    if unknown := wanted - known:
        raise ValueError(
            f"no bench measures {', '.join(sorted(unknown))}; there are {', '.join(sorted(known, key=_number))}"
        )
    return [bench for bench in BENCHES if not wanted or wanted & {*bench.figures}]


def _number(figure: str) -> int:
    return int(figure.removeprefix("G"))


def run(benches: list[Bench]) -> tuple[list[Line], bool]:
    """Every bench under a line that says what it is, how long it took, and how busy the machine was just before.

    One that breaks is told of, and the others go on; Ctrl-C ends them all. And whether all were measured.
    """
    lines: list[Line] = []
    broken = 0
    for bench in benches:
        load, began = os.getloadavg()[0], monotonic()
        try:
            with progress_bar() as bar:
                found = bench.measure(bar)
        except KeyboardInterrupt:
            return lines, False
        except Exception:
            console().print_exception()
            found, broken = [], broken + 1
        took = timedelta(seconds=round(monotonic() - began))
        lines += [Line(f"{' '.join(bench.figures)}  {bench.title}", f"load {load:.1f}", f"took {took}"), *found]
    return lines, not broken


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", metavar="G2,G19", help="only the benches that measure these")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there as well, for a document")
    options = parser.parse_args()
    try:
        benches = chosen(options.only)
    except ValueError as error:
        parser.error(str(error))
    total = timedelta(seconds=sum(bench.seconds for bench in benches))
    console().print(f"{len(benches)} benches; about {total} on two idle cores, longer beside other work")
    lines, complete = run(benches)
    console().print(table("Escriba beside its anchors", lines))
    if options.markdown:
        options.markdown.write_text(markdown(lines))
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
