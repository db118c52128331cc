"""Planted bugs: patches of `tests/mutants`, each with the campaign, and the part of it, that must see it."""

from dataclasses import dataclass
from typing import Any

from tests.chaos.announcing import Announcing
from tests.chaos.campaign import Campaign
from tests.chaos.cancelling import Cancelling
from tests.chaos.draining import Draining
from tests.chaos.endings import Endings
from tests.chaos.forgetting import Forgetting
from tests.chaos.poison import Poison
from tests.chaos.recovery import Recovery, ShippedRecovery
from tests.chaos.streams import Streams
from tests.chaos.submissions import Submissions
from tests.chaos.zombies import Zombies

CAMPAIGNS: tuple[type[Campaign[Any]], ...] = (
    Submissions,
    Endings,
    Zombies,
    Forgetting,
    Recovery,
    ShippedRecovery,
    Poison,
    Cancelling,
    Draining,
    Announcing,
    Streams,
)
"""In the order of the promises."""


@dataclass(frozen=True, slots=True)
class Mutant:
    patch: str
    campaign: type[Campaign[Any]]
    part: str
    quick: bool = False
    """Whether it is caught within seconds, and so in every test run."""


MUTANTS = (
    Mutant("p1-reply-before-commit", Submissions, "while_the_commit_is_held_up", quick=True),
    Mutant("p2-swallowed-rings-count-as-waiting", Endings, "rings_are_swallowed"),
    Mutant("p2-retry-ignores-the-cancel", Endings, "wishes_meet_a_crash"),
    Mutant("p3-no-fence", Zombies, "while_another_works", quick=True),
    Mutant("p4-no-sweeper", Forgetting, "flushes"),
    Mutant("p5-heartbeat-with-the-engine", Recovery, "spins"),
    Mutant("p6-no-quarantine", Poison, "poison"),
    Mutant("p7-cancel-only-by-pubsub", Cancelling, "held_jobs"),
    Mutant("p8-arq-handles-signals", Draining, "drains"),
    Mutant("p9-told-before-it-is-sent", Announcing, "under_way"),
    Mutant("p10-no-repair", Streams, "all_is_lost"),
    Mutant("p10-snapshot-before-subscribe", Streams, "storm"),
)
