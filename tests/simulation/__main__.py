"""Live through worlds: `python -m tests.simulation --seeds 10000`, `--seed 4711` to be told one, `--bug all`."""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from multiprocessing import get_context
from time import perf_counter

from tests.simulation.bugs import BUGS
from tests.simulation.patches import Patch
from tests.simulation.run import Outcome, simulate, simulating

BATCH = 25
WITHIN = 5_000
"""Seeds in which a planted bug must be found."""


def _run_batch(work: tuple[range, tuple[Patch, ...]]) -> list[Outcome]:
    seeds, patches = work
    with simulating(*patches) as settings:
        return [simulate(seed, settings) for seed in seeds]


def outcomes(seeds: range, patches: tuple[Patch, ...]) -> Iterator[Outcome]:
    """In the order of the seeds, on every core."""
    batches = (range(start, min(start + BATCH, seeds.stop)) for start in range(seeds.start, seeds.stop, BATCH))
    with get_context("fork").Pool(os.cpu_count(), maxtasksperchild=40) as pool:
        for found in pool.imap(_run_batch, ((batch, patches) for batch in batches)):
            yield from found


def run(seeds: range) -> int:
    began, violated = perf_counter(), 0
    for outcome in outcomes(seeds, ()):
        if outcome.violations:
            violated += 1
            print(f"seed {outcome.seed}: {'; '.join(outcome.violations)}")
    minutes = (perf_counter() - began) / 60
    print(f"{len(seeds)} seeds, {len(seeds) / minutes:,.0f} a minute on {os.cpu_count()} cores; {violated} violated")
    return violated


def find(bug: Patch, start: int) -> bool:
    """Look for a planted bug, and say which seed found it."""
    for outcome in outcomes(range(start, start + WITHIN), (bug,)):
        if outcome.violations:
            print(f"{bug.name:26} found by seed {outcome.seed:5}: {outcome.violations[0]}", flush=True)
            return True
    print(f"{bug.name:26} NOT FOUND within {WITHIN} seeds", flush=True)
    return False


def tell(seed: int, patches: tuple[Patch, ...]) -> int:
    with simulating(*patches) as settings:
        outcome = simulate(seed, settings, tell=True)
    print("\n".join(outcome.story))
    print(f"seed {seed}: {'; '.join(outcome.violations) or 'nothing violated'}; {outcome.seconds:.0f} s of its own")
    return len(outcome.violations)


def chosen(name: str | None) -> Iterable[Patch]:
    found = [bug for bug in BUGS if name in (bug.name, "all")]
    if name is not None and not found:
        sys.exit(f"there is no bug {name!r}; there are: {', '.join(bug.name for bug in BUGS)}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2_000, help="how many worlds to live through")
    parser.add_argument("--start", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="live through one, and tell its story")
    parser.add_argument("--bug", help="plant a bug by its name, or each in turn with `all`, and look for it")
    given = parser.parse_args()
    bugs = chosen(given.bug)
    if given.seed is not None:
        return bool(tell(given.seed, tuple(bugs)))
    if given.bug is not None:
        found = [find(bug, given.start) for bug in bugs]
        return not all(found)
    return bool(run(range(given.start, given.start + given.seeds)))


if __name__ == "__main__":
    sys.exit(main())
