"""Lanes: what is begun before what, whoever it belongs to. Within one, owners take turns (`db.lanes`)."""

from enum import StrEnum


class Lane(StrEnum):
    """In the order in which they go."""

    INTERACTIVE = "interactive"
    """Somebody waits for it; takes a scope of its own."""
    NORMAL = "normal"
    BULK = "bulk"
    """A backlog, that is done when there is room."""


LOWER = (Lane.NORMAL, Lane.BULK)

ROUND = 5
"""Of so many jobs that a worker begins, one is of a lower lane where one waits there and none is in hand."""


def favoured(begun: int) -> Lane | None:
    """The lane that goes first for once, where nothing of it is in hand; `begun` jobs after its worker started.

    The lower lanes have it by turns. So each moves on under any load of those above it, and gets no more than one place
    of the whole platform by it, however long its jobs are.
    """
    rounds, place = divmod(begun, ROUND)
    return LOWER[rounds % len(LOWER)] if place == ROUND - 1 else None
