"""Whose lane goes first for once."""

from domain.lanes import LOWER, ROUND, Lane, favoured


def test_of_every_round_the_last_is_a_lower_lane_s_by_turns() -> None:
    found = [favoured(begun) for begun in range(2 * ROUND * len(LOWER))]
    assert [lane for lane in found if lane] == [*LOWER, *LOWER]
    assert [n for n, lane in enumerate(found, start=1) if lane] == [ROUND, 2 * ROUND, 3 * ROUND, 4 * ROUND]


def test_lanes_stand_in_the_order_in_which_they_go() -> None:
    assert list(Lane) == ["interactive", "normal", "bulk"]
