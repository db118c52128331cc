"""The platform's own code, lived through under many seeds: nothing is lost, doubled or overwritten.

A smoke of what `python -m tests.simulation` does by the thousand.
"""

import pytest

from tests.simulation.bugs import BUGS
from tests.simulation.patches import Patch
from tests.simulation.run import simulate, simulating

SMOKE = 250

QUICKLY_FOUND = 40
"""Seeds in which a planted bug of the smoke is found; the rarer ones take thousands."""

COMMON = {
    "no-new-number",
    "sweeper-off",
    "publish-before-commit",
    "snapshot-first",
    "no-repair",
    "late-key",
}


def test_nothing_is_violated_in_any_world() -> None:
    with simulating() as settings:
        for seed in range(SMOKE):
            outcome = simulate(seed, settings)
            assert not outcome.violations, "\n".join((*outcome.story, f"python -m tests.simulation --seed {seed}"))


def test_a_seed_tells_the_same_story_twice() -> None:
    with simulating() as settings:
        for seed in range(20):
            assert simulate(seed, settings).digest == simulate(seed, settings).digest


@pytest.mark.parametrize("bug", [bug for bug in BUGS if bug.name in COMMON], ids=lambda bug: bug.name)
def test_a_planted_bug_is_found(bug: Patch) -> None:
    with simulating(bug) as settings:
        assert any(simulate(seed, settings).violations for seed in range(QUICKLY_FOUND))


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_every_bug_can_be_planted(bug: Patch) -> None:
    assert bug.fits(), f"{bug.where} no longer says {bug.old!r}"
