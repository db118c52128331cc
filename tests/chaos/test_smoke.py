"""A little of `make chaos`: every promise under its fault, the planted bugs that are caught soon, and that all fit."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import runs
from tests.chaos.campaign import Campaign
from tests.chaos.checkout import PATCHES, checkout
from tests.chaos.ground import Ground
from tests.chaos.mutants import MUTANTS, Mutant
from tests.conftest import require_services

SEED = 1


@pytest.mark.parametrize("kind", runs.chosen("smoke"), ids=lambda kind: f"{kind.promise} {kind.__name__}")
async def test_the_promise_is_kept(arena: Ground, kind: type[Campaign[Any]]) -> None:
    if (missing := kind.missing()) and not require_services():
        pytest.skip(missing)
    record = await kind(arena, kind.smoke, seed=SEED, timed=False).run()
    assert record.injected > 0
    assert [str(breach) for breach in record.breaches] == []


@pytest.mark.parametrize("mutant", [each for each in MUTANTS if each.quick], ids=lambda mutant: mutant.patch)
async def test_the_planted_bug_is_caught(mutant: Mutant) -> None:
    found = await runs.hunt(mutant, seed=SEED)
    assert found.caught, found.record


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.patch)
def test_the_planted_bug_still_fits_the_code(mutant: Mutant) -> None:
    with checkout(mutant.patch) as code:  # else DoesNotApply says what to do
        undefined = [sys.executable, "-m", "ruff", "check", "--isolated", "--quiet", "--select", "F821", str(code)]
        found = subprocess.run(undefined, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


def test_every_patch_is_a_planted_bug_that_is_hunted() -> None:
    assert {path.stem for path in Path(PATCHES).glob("*")} == {mutant.patch for mutant in MUTANTS}
