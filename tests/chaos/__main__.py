"""Breaks a running platform in every foreseen way, counts what came of it, and then plants bugs that must be caught.

    python -m tests.chaos                        everything, as often as promised: `make chaos` (hours)
    python -m tests.chaos --smoke                a little of everything: what the tests run (minutes)
    python -m tests.chaos --promise P3           one promise, and the bugs planted for it
    python -m tests.chaos --mutant p3-no-fence   one planted bug

Exit status: 0 where every promise was kept and every planted bug was caught, else 1.
"""

import argparse
import asyncio
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.chaos import report, runs
from tests.chaos.campaign import Record
from tests.chaos.mutants import MUTANTS
from tests.chaos.runs import Hunt

console = Console(highlight=False)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    scale = parser.add_mutually_exclusive_group()
    scale.add_argument("--smoke", dest="scale", action="store_const", const="smoke", help="a little of everything")
    scale.add_argument("--full", dest="scale", action="store_const", const="full", help="as often as promised")
    parser.add_argument(
        "--promise", action="append", default=[], metavar="P3", help="this one alone; repeat for several"
    )
    parser.add_argument("--mutant", choices=[mutant.patch for mutant in MUTANTS], help="this planted bug alone")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="of all that is left to chance")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write what was found as JSON, too")
    parser.set_defaults(scale="full")
    return parser.parse_args()


def on_start(bar: Progress) -> runs.OnStart:
    def started(name: str, total: int | None) -> Callable[[], None]:
        task = bar.add_task(name, total=total)
        return lambda: bar.advance(task)

    return started


def tell(record: Record, what: str) -> None:
    verdict = "kept" if record.kept else "BROKEN"
    console.log(f"{record.promise} {verdict} over {record.injected} {what} in {record.seconds:.0f} s")


async def run(asked: argparse.Namespace, bar: Progress) -> tuple[list[Record], list[Hunt]]:
    records: list[Record] = []
    hunts: list[Hunt] = []
    if asked.mutant is None:
        campaigns = runs.chosen(asked.scale, asked.promise)
        async for _, record in runs.keep(campaigns, asked.scale, seed=asked.seed, on_start=on_start(bar)):
            records.append(record)
            tell(record, "faults")
        async for _, record in runs.try_out(runs.tried(asked.scale, asked.promise), on_start=on_start(bar)):
            records.append(record)
            tell(record, "tests")
    wanted = runs.planted(asked.scale, asked.promise)
    for mutant in [each for each in MUTANTS if each.patch == asked.mutant] if asked.mutant else wanted:
        hunts.append(await runs.hunt(mutant, seed=asked.seed, on_start=on_start(bar)))
        console.log(f"{mutant.patch} {'caught' if hunts[-1].caught else 'NOT CAUGHT'}")
    return records, hunts


def main() -> int:
    asked = arguments()
    console.print(f"seed {asked.seed}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        records, hunts = asyncio.run(run(asked, bar))
    console.print(report.table(records, hunts))
    if asked.out is not None:
        asked.out.write_text(json.dumps(report.as_json(asked.scale, asked.seed, records, hunts), indent=1, default=str))
    return 0 if all(record.kept for record in records) and all(hunt.caught for hunt in hunts) else 1


if __name__ == "__main__":
    sys.exit(main())
