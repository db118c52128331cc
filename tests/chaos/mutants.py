"""Planted bugs: patches of `tests/mutants`, each with the campaign or the test that must see it."""

from dataclasses import dataclass
from typing import Any

from tests.chaos.announcing import Announcing
from tests.chaos.asking import Asking
from tests.chaos.campaign import Campaign
from tests.chaos.cancelling import Cancelling
from tests.chaos.draining import Draining
from tests.chaos.endings import Endings
from tests.chaos.forgetting import Forgetting
from tests.chaos.poison import Poison
from tests.chaos.recovery import Recovery, ShippedRecovery
from tests.chaos.streams import Streams
from tests.chaos.submissions import Submissions
from tests.chaos.tested import ADDRESSES, MEDIA, OWNERS, PATHS, TOKENS, Tested
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
    Asking,
    Streams,
)
"""In the order of the promises."""


@dataclass(frozen=True, slots=True)
class Mutant:
    patch: str
    hunter: type[Campaign[Any]] | Tested
    part: str
    """Of the campaign; or the name of the test."""
    quick: bool = False
    """Whether it is caught within seconds, and so in every test run."""


IDENTITIES = "tests/api/test_identities.py"

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
    Mutant("p9-acknowledged-before-it-is-kept", Asking, "before_it_is_kept"),
    Mutant("p9-done-before-it-is-confirmed", Asking, "before_it_is_confirmed"),
    Mutant("p10-no-repair", Streams, "all_is_lost"),
    Mutant("p10-snapshot-before-subscribe", Streams, "back_behind_the_end"),
    Mutant("p11-anybody-s-key", OWNERS, f"{IDENTITIES}::test_of_what_is_another_s_nobody_learns_even_that_it_is_there"),
    Mutant(
        "p11-no-owner-in-the-query",
        OWNERS,
        f"{IDENTITIES}::test_postgresql_hides_what_is_another_s_where_our_queries_would_not",
    ),
    Mutant("p11-no-row-security", OWNERS, "tests/db/test_row_security.py"),
    Mutant(
        "p12-any-format", MEDIA, "tests/media/test_hostile.py::test_each_whitelist_alone_stops_every_attack", quick=True
    ),
    Mutant(
        "p13-check-then-resolve-again",
        ADDRESSES,
        "tests/messaging/test_webhook_sender.py::test_a_name_is_resolved_once_for_a_connection",
        quick=True,
    ),
    Mutant(
        "p13-checked-then-opened-again",
        PATHS,
        "tests/rabbitmq/test_audio_files.py::test_ten_thousand_races_against_links_are_lost_by_none",
        quick=True,
    ),
    Mutant(
        "p13-resolves-again",
        ADDRESSES,
        "tests/messaging/test_audio_url.py::test_a_resolver_that_changes_its_mind_is_asked_once",
        quick=True,
    ),
    Mutant("p14-algorithm-of-the-header", TOKENS, "tests/api/accounts/test_tokens.py::test_no_forged_token_is_taken"),
)
