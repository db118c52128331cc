"""Whether provider and patient are told apart right, on labelled dialogues that know nothing of the rules.

    python -m bench.roles [--held-back]

Scores lines 1 to 20 of each file in tests/data/dialogues, which the rules were made with; --held-back scores lines 21
to 40, which are for the final measurement only. A dialogue is answered when anybody gets a role, and wrong when
anybody gets one that is not his: a companion called the patient as well, and any role outside of a clinic.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from rich import box
from rich.table import Table

from bench.measure import console
from domain.transcript import Segment
from workers.stages.roles import PATIENT, PROVIDER, Roles, assign

DIALOGUES = Path(__file__).parent.parent / "tests" / "data" / "dialogues"
LANGUAGES = ("en", "es", "pt", "fr")
HALF = 20

GOAL_RIGHT = 0.97
GOAL_LEFT_OUT = 0.25


@dataclass(frozen=True, slots=True)
class Answer:
    """One dialogue, its labels and what was made of it."""

    name: str
    language: str
    truth: dict[int, str]
    found: Roles

    @property
    def clinical(self) -> bool:
        return "none" not in self.truth.values()

    @property
    def answered(self) -> bool:
        return bool(self.found.roles)

    @property
    def wrong(self) -> bool:
        return any(self.truth[tag] != role for tag, role in self.found.roles.items())

    @property
    def swapped(self) -> bool:
        """A patient called provider, or a provider called patient."""
        return any({self.truth[tag], role} == {PROVIDER, PATIENT} for tag, role in self.found.roles.items())

    @property
    def in_part(self) -> bool:
        sought = {tag for tag, role in self.truth.items() if role in (PROVIDER, PATIENT)}
        return self.answered and bool(sought - self.found.roles.keys())


def answers(language: str, *, held_back: bool) -> Iterator[Answer]:
    lines = (HALF, 2 * HALF) if held_back else (0, HALF)
    with (DIALOGUES / f"{language}.jsonl").open(encoding="utf-8") as file:
        for line in islice(file, *lines):
            dialogue = json.loads(line)
            truth = {int(tag): role for tag, role in dialogue["roles"].items()}
            segments = [
                Segment(start=second, end=second + 1, text=turn["text"], speaker_tag=turn["speaker"])
                for second, turn in enumerate(dialogue["turns"])
            ]
            yield Answer(dialogue["id"], language, truth, assign(segments, language))


def row(name: str, scored: Sequence[Answer]) -> list[str]:
    clinical = [answer for answer in scored if answer.clinical]
    answered = [answer for answer in clinical if answer.answered]
    elsewhere = [answer for answer in scored if not answer.clinical]
    wrong = sum(answer.wrong for answer in answered)
    return [
        name,
        str(len(clinical)),
        str(len(answered)),
        f"{1 - wrong / len(answered):.3f}" if answered else "-",
        str(wrong),
        str(sum(answer.swapped for answer in answered)),
        str(sum(answer.in_part for answer in answered)),
        f"{1 - len(answered) / len(clinical):.3f}",
        f"{sum(answer.answered for answer in elsewhere)} of {len(elsewhere)}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--held-back", action="store_true", help="lines 21 to 40, for the final measurement")
    held_back = parser.parse_args().held_back
    scored = [answer for language in LANGUAGES for answer in answers(language, held_back=held_back)]

    half = "held back, lines 21–40" if held_back else "development, lines 1–20"
    drawn = Table(title=f"Provider and patient ({half})", title_justify="left", box=box.SIMPLE)
    for heading in ("", "clinical", "answered", "right", "wrong", "swapped", "in part", "left out", "given elsewhere"):
        drawn.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for language in LANGUAGES:
        drawn.add_row(*row(language, [answer for answer in scored if answer.language == language]))
    drawn.add_row(*row("all", scored))
    shown = console()
    shown.print(drawn)
    shown.print(f"goals: right ≥ {GOAL_RIGHT} of the answered, left out ≤ {GOAL_LEFT_OUT}, none given elsewhere")
    for title, chosen in (
        ("wrong", [answer for answer in scored if answer.wrong]),
        ("left out", [answer for answer in scored if answer.clinical and not answer.answered]),
        ("in part", [answer for answer in scored if answer.in_part]),
    ):
        shown.print(f"{title}: {' '.join(answer.name for answer in chosen) or 'none'}")


if __name__ == "__main__":
    main()
