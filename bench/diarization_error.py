"""Diarization error rate, as NIST's md-eval counts it: who spoke when, against who was said to have."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment


class Turn(NamedTuple):
    start: float
    end: float
    speaker: str


@dataclass(frozen=True, slots=True)
class Errors:
    """Seconds of speaker: a second in which two speak counts twice."""

    spoken: float
    missed: float
    false_alarm: float
    confused: float

    @property
    def rate(self) -> float:
        return (self.missed + self.false_alarm + self.confused) / self.spoken


def errors(reference: Sequence[Turn], found: Sequence[Turn], *, collar: float = 0.0) -> Errors:
    """What `found` gets wrong, its speakers matched with those of `reference` in the best way there is.

    Nothing is counted within `collar` seconds of where a turn of the reference starts or ends. Overlaps are counted.
    """
    names, labels = _speakers(reference), _speakers(found)
    together = np.zeros((len(names), len(labels)))
    spoken = missed = false_alarm = attributed = 0.0
    for start, end in _stretches(reference, found, collar):
        middle, seconds = (start + end) / 2, end - start
        true, said = _at(middle, reference), _at(middle, found)
        spoken += seconds * len(true)
        missed += seconds * max(0, len(true) - len(said))
        false_alarm += seconds * max(0, len(said) - len(true))
        attributed += seconds * min(len(true), len(said))
        for name in true:
            for label in said:
                together[names.index(name), labels.index(label)] += seconds
    matched = together[linear_sum_assignment(-together)].sum()
    return Errors(spoken, missed, false_alarm, max(0.0, attributed - float(matched)))


def read_rttm(path: Path) -> list[Turn]:
    fields = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    return [Turn(float(field[3]), float(field[3]) + float(field[4]), field[7]) for field in fields]


def _stretches(reference: Sequence[Turn], found: Sequence[Turn], collar: float) -> list[tuple[float, float]]:
    """Between any two moments at which something changes, without what the collar takes out."""
    edges = [moment for turn in reference for moment in (turn.start, turn.end)]
    moments = {*edges, *(moment for turn in found for moment in (turn.start, turn.end))}
    if collar:
        moments |= {edge + side for edge in edges for side in (-collar, collar)}
    stretches = list(pairwise(sorted(moments)))
    return [span for span in stretches if all(abs(sum(span) / 2 - edge) >= collar for edge in edges)]


def _at(moment: float, turns: Sequence[Turn]) -> set[str]:
    return {turn.speaker for turn in turns if turn.start <= moment < turn.end}


def _speakers(turns: Sequence[Turn]) -> list[str]:
    return sorted({turn.speaker for turn in turns})
