"""How campaigns are run: on a copy of the code, with or without a planted bug."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from tests.chaos import tested
from tests.chaos.campaign import Campaign, Record, Scale
from tests.chaos.checkout import TESTS, checkout
from tests.chaos.ground import ground
from tests.chaos.mutants import CAMPAIGNS, MUTANTS, Mutant
from tests.chaos.tested import TESTED, Tested

Tick = Callable[[], None]
OnStart = Callable[[str, int | None], Tick]
"""Told what begins, and how many faults there will be; gives what is to be called with each of them."""


@dataclass(frozen=True, slots=True)
class Hunt:
    """What became of a planted bug."""

    mutant: Mutant
    record: Record

    @property
    def caught(self) -> bool:
        """By what was counted: a platform that only does not work any more is none of the bugs that were meant."""
        return any(not breach.vain for breach in self.record.breaches)


def chosen(scale: Scale, promises: Sequence[str] = ()) -> list[type[Campaign[Any]]]:
    return [each for each in CAMPAIGNS if getattr(each, scale) and (not promises or each.promise in promises)]


def tried(scale: Scale, promises: Sequence[str] = ()) -> list[Tested]:
    """Promises that tests keep; in smoke the tests are run by themselves."""
    return [each for each in TESTED if each.promise in promises or (scale == "full" and not promises)]


def planted(scale: Scale, promises: Sequence[str] = ()) -> list[Mutant]:
    wanted = [mutant for mutant in MUTANTS if not promises or mutant.hunter.promise in promises]
    return [mutant for mutant in wanted if mutant.quick or scale == "full" or promises]


async def keep(
    campaigns: Sequence[type[Campaign[Any]]], scale: Scale, *, seed: int, on_start: OnStart
) -> AsyncIterator[tuple[type[Campaign[Any]], Record]]:
    """Run campaigns against the code as it is. In smoke they share a platform, as starting one takes its time."""
    with checkout() as code:
        alike = groupby(campaigns, key=lambda each: (dict(each.environ), "" if scale == "smoke" else each.__name__))
        for (environ, _), group in alike:
            async with ground(code, **environ) as shared:
                for kind in group:
                    size = getattr(kind, scale)
                    tick = on_start(f"{kind.promise} {kind.title}", kind.planned(size))
                    campaign = kind(shared, size, seed=seed, tick=tick)
                    yield kind, await campaign.run()


async def try_out(promises: Sequence[Tested], *, on_start: OnStart) -> AsyncIterator[tuple[Tested, Record]]:
    """Run the tests of promises against the code as it is."""
    with checkout(None, *TESTS) as code:
        for promise in promises:
            tick = on_start(f"{promise.promise} {promise.title}", 1)
            yield promise, await tested.run(promise, code)
            tick()


async def hunt(mutant: Mutant, *, seed: int, on_start: OnStart = lambda *_: lambda: None) -> Hunt:
    """Plant a bug and run the part of the campaign, or the test, that must see it. Raises DoesNotApply."""
    kind = mutant.hunter
    if isinstance(kind, Tested):
        on_start(mutant.patch, None)
        with checkout(mutant.patch, *TESTS) as code:
            return Hunt(mutant, await tested.run(kind, code, mutant.part))
    with checkout(mutant.patch) as code:
        async with ground(code, **kind.environ) as wounded:
            campaign = kind(wounded, kind.smoke, seed=seed, hunting=True, tick=on_start(mutant.patch, None))
            record = await campaign.run(mutant.part)
    return Hunt(mutant, record)
