"""Whether provider and patient are told apart right, on labelled dialogues that know nothing of the rules.

    python -m bench.roles [--held-back | --fit]

Scores the dialogues of tests/data/dialogues that the rules were made with, and those of its `elsewhere/`, which are
about other things than a consultation. --held-back scores `held-back/`, written by another hand, for the final
measurement only. A dialogue is answered when anybody gets a role, and wrong when anybody gets one that is not his: a
companion called the patient as well, and any role outside of a clinic.

--fit writes workers/stages/role_cues/weights.toml anew from the development dialogues, and shows what weights of three
languages make of the fourth.
"""

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from rich import box
from rich.table import Table

from bench.measure import console
from domain.transcript import Segment
from workers.stages import roles
from workers.stages.roles import PATIENT, PROVIDER, Roles, Talk, Voice, Weights, assign

Numbers = npt.NDArray[np.float64]

REPOSITORY = Path(__file__).parent.parent
DIALOGUES = REPOSITORY / "tests" / "data" / "dialogues"
WEIGHTS = REPOSITORY / "workers" / "stages" / "role_cues" / "weights.toml"
LANGUAGES = ("en", "es", "pt", "fr")

GOAL_RIGHT = 0.97
GOAL_LEFT_OUT = 0.25

EXPECTED_ROLE: Final = {
    **dict.fromkeys(roles.PROVIDER_CUES, 0.3),
    **dict.fromkeys(roles.PATIENT_CUES, -0.3),
    "you": 0.5,
    "question_mark": 0.2,
    "me": -0.3,
    "treatment": 0.2,
}
"""The weights before any dialogue is seen, and what a fit draws them back to; none may change its sign."""
EXPECTED_CONSULTATION: Final = {
    "bias": 0.0,
    "clinical": 1.0,
    "body": 0.6,
    "to_doctor": 1.0,
    "gap": 0.3,
    "elsewhere": -1.5,
    "friends": -1.2,
    "examines": 0.5,
    "doses": 0.7,
    "finds": 0.5,
    "welcomes": 0.3,
    "plans": 0.4,
    "advises": 0.4,
    "yours": 0.8,
}
DRAW_BACK_ROLE: Final = 8.0
DRAW_BACK_CONSULTATION: Final = 20.0
"""Its dialogues of elsewhere share a hand with the word lists, so they may move the weights little."""
STEPS: Final = 5000

EXCERPT_TURNS: Final = 5
STEP_TURNS: Final = 3


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Segments and the truth about who speaks."""

    name: str
    language: str
    truth: dict[int, str]
    segments: list[Segment]

    @property
    def clinical(self) -> bool:
        return "none" not in self.truth.values()

    def excerpts(self) -> Iterator[list[Segment]]:
        for start in range(0, max(len(self.segments) - EXCERPT_TURNS, 1), STEP_TURNS):
            yield self.segments[start : start + EXCERPT_TURNS]


@dataclass(frozen=True, slots=True)
class Answer:
    """One dialogue, and what was made of it."""

    dialogue: Dialogue
    found: Roles

    @property
    def name(self) -> str:
        return self.dialogue.name

    @property
    def clinical(self) -> bool:
        return self.dialogue.clinical

    @property
    def answered(self) -> bool:
        return bool(self.found.roles)

    @property
    def wrong(self) -> bool:
        return any(self.dialogue.truth[tag] != role for tag, role in self.found.roles.items())

    @property
    def swapped(self) -> bool:
        """A patient called provider, or a provider called patient."""
        return any({self.dialogue.truth[tag], role} == {PROVIDER, PATIENT} for tag, role in self.found.roles.items())

    @property
    def in_part(self) -> bool:
        sought = {tag for tag, role in self.dialogue.truth.items() if role in (PROVIDER, PATIENT)}
        return self.answered and bool(sought - self.found.roles.keys())


def dialogues(folder: Path, language: str) -> list[Dialogue]:
    """Those of one language in a folder, in the order of its file."""
    lines = (folder / f"{language}.jsonl").read_text(encoding="utf-8").splitlines()
    return [_dialogue(json.loads(line), language) for line in lines]


def _dialogue(line: Mapping[str, object], language: str) -> Dialogue:
    told, turns = line["roles"], line["turns"]
    assert isinstance(told, dict) and isinstance(turns, list)
    segments = [
        Segment(start=second, end=second + 1, text=turn["text"], speaker_tag=turn["speaker"])
        for second, turn in enumerate(turns)
    ]
    return Dialogue(str(line["id"]), language, {int(tag): role for tag, role in told.items()}, segments)


def answers(folder: Path, language: str) -> list[Answer]:
    return [Answer(dialogue, assign(dialogue.segments, language)) for dialogue in dialogues(folder, language)]


@dataclass(frozen=True, slots=True)
class Examples:
    """Rows of evidence, each with the answer 1 or 0 and how much it counts."""

    rows: Numbers
    truth: Numbers
    count: Numbers


def role_examples(made_of: Iterable[Dialogue], cues: Sequence[str]) -> Examples:
    """The difference of every provider to every patient, in whole dialogues and in excerpts."""
    rows = [
        _differ(provider, patient, cues)
        for dialogue in made_of
        if dialogue.clinical
        for segments in (dialogue.segments, *dialogue.excerpts())
        for provider, patient in _pairs(dialogue, segments)
    ]
    return Examples(np.array(rows), np.ones(len(rows)), np.ones(len(rows)))


def _pairs(dialogue: Dialogue, segments: Sequence[Segment]) -> Iterator[tuple[Voice, Voice]]:
    voices = roles.listen(segments, dialogue.language)
    for one, other in product(voices, voices):
        if (dialogue.truth[one.tag], dialogue.truth[other.tag]) == (PROVIDER, PATIENT):
            yield one, other


def _differ(one: Voice, other: Voice, cues: Sequence[str]) -> list[float]:
    marks, others = one.marks(cues), other.marks(cues)
    return [marks[cue] - others[cue] for cue in cues]


def consultation_examples(made_of: Sequence[Dialogue], cues: Sequence[str], weights: Weights) -> Examples:
    """Consultations, and other talk, which is rarer here and counts for as much."""
    evidence = [Talk(roles.listen(one.segments, one.language), weights).evidence for one in made_of]
    truth = np.array([float(dialogue.clinical) for dialogue in made_of])
    elsewhere = truth.sum() / (len(truth) - truth.sum())
    rows = np.array([[marks[cue] for cue in cues] for marks in evidence])
    return Examples(rows, truth, np.where(truth == 1, 1.0, elsewhere))


def descend(examples: Examples, expected: Numbers, draw_back: Numbers) -> Numbers:
    """Logistic regression, drawn back to the `expected` weights, whose signs it keeps; 0 is free."""
    weights = expected.copy()
    steepest = np.linalg.norm(examples.rows * np.sqrt(examples.count / 4)[:, None], 2) ** 2 + draw_back.max()
    for _ in range(STEPS):
        surprise = (1 / (1 + np.exp(-examples.rows @ weights)) - examples.truth) * examples.count
        weights = weights - (examples.rows.T @ surprise + draw_back * (weights - expected)) / steepest
        weights = np.where(weights * expected < 0, 0.0, weights)
    return weights


def fit(made_of: Sequence[Dialogue]) -> Weights:
    """Both sums; the gap that the first one gives is evidence in the second."""
    cues = list(EXPECTED_ROLE)
    expected = np.array(list(EXPECTED_ROLE.values()))
    learnt = descend(role_examples(made_of, cues), expected, np.full(len(cues), DRAW_BACK_ROLE))
    role = dict(zip(cues, learnt.tolist(), strict=True))

    cues = list(EXPECTED_CONSULTATION)
    expected = np.array(list(EXPECTED_CONSULTATION.values()))
    draw_back = np.where(expected == 0, 0.0, DRAW_BACK_CONSULTATION)
    learnt = descend(consultation_examples(made_of, cues, Weights(role, {})), expected, draw_back)
    return Weights(role, dict(zip(cues, learnt.tolist(), strict=True)))


def write(weights: Weights) -> None:
    text = "# Written by python -m bench.roles --fit\n"
    for name, table in (("role", weights.role), ("consultation", weights.consultation)):
        text += f"\n[{name}]\n" + "".join(f"{cue} = {weight:.2f}\n" for cue, weight in table.items())
    WEIGHTS.write_text(text, encoding="utf-8")
    roles.shipped_weights.cache_clear()


def development(languages: Iterable[str]) -> list[Dialogue]:
    folders = (DIALOGUES, DIALOGUES / "elsewhere")
    return [dialogue for language in languages for folder in folders for dialogue in dialogues(folder, language)]


def strangers() -> tuple[list[Answer], list[tuple[float, bool]]]:
    """Each language answered by weights of the other three; and of all pairs in excerpts, the gap and whether right."""
    scored: list[Answer] = []
    gaps: list[tuple[float, bool]] = []
    for language in LANGUAGES:
        weights = fit(development(other for other in LANGUAGES if other != language))
        for dialogue in development([language]):
            scored.append(Answer(dialogue, assign(dialogue.segments, language, weights)))
            for segments in dialogue.excerpts() if dialogue.clinical else ():
                for provider, patient in _pairs(dialogue, segments):
                    gap = Talk((provider, patient), weights).gap(provider, patient)
                    gaps.append((abs(gap), gap > 0))
    return scored, gaps


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
        f"{1 - len(answered) / len(clinical):.3f}" if clinical else "-",
        f"{sum(answer.answered for answer in elsewhere)} of {len(elsewhere)}",
    ]


def show(title: str, scored: Sequence[Answer]) -> None:
    drawn = Table(title=f"Provider and patient ({title})", title_justify="left", box=box.SIMPLE)
    for heading in ("", "clinical", "answered", "right", "wrong", "swapped", "in part", "left out", "given elsewhere"):
        drawn.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for language in LANGUAGES:
        drawn.add_row(*row(language, [answer for answer in scored if answer.dialogue.language == language]))
    drawn.add_row(*row("all", scored))
    shown = console()
    shown.print(drawn)
    shown.print(f"goals: right ≥ {GOAL_RIGHT} of the answered, left out ≤ {GOAL_LEFT_OUT}, none given elsewhere")
    for name, chosen in (
        ("wrong", [answer for answer in scored if answer.wrong and answer.clinical]),
        ("left out", [answer for answer in scored if answer.clinical and not answer.answered]),
        ("in part", [answer for answer in scored if answer.in_part]),
        ("given elsewhere", [answer for answer in scored if answer.answered and not answer.clinical]),
    ):
        shown.print(f"{name}: {' '.join(answer.name for answer in chosen) or 'none'}")


def show_gaps(gaps: Sequence[tuple[float, bool]]) -> None:
    drawn = Table(title="Pairs in excerpts of five turns", title_justify="left", box=box.SIMPLE)
    for heading in ("gap", "pairs", "right", "logistic"):
        drawn.add_column(heading, justify="right")
    edges = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, np.inf)
    for low, high in pairwise(edges):
        chosen = [(gap, right) for gap, right in gaps if low <= gap < high]
        if chosen:
            right = np.mean([right for _, right in chosen])
            said = np.mean([1 / (1 + np.exp(-gap)) for gap, _ in chosen])
            drawn.add_row(f"{low} to {high}", str(len(chosen)), f"{right:.3f}", f"{said:.3f}")
    console().print(drawn)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--held-back", action="store_true", help="for the final measurement")
    chosen.add_argument("--fit", action="store_true", help="fit the weights anew")
    options = parser.parse_args()
    if options.fit:
        scored, gaps = strangers()
        show("each language by weights of the other three", scored)
        show_gaps(gaps)
        write(fit(development(LANGUAGES)))
    folders = [DIALOGUES / "held-back"] if options.held_back else [DIALOGUES, DIALOGUES / "elsewhere"]
    scored = [answer for folder in folders for language in LANGUAGES for answer in answers(folder, language)]
    show("held back" if options.held_back else "development", scored)


if __name__ == "__main__":
    main()
