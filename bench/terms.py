"""Vocabulary in PocketSphinx: its terms before and after, on the English recordings of the test data.

    python -m bench.terms [--data FOLDER] [--boost 20]

The vocabulary has terms that are said in the recordings and terms that are not, as one in use would. Both were chosen
by reading the references, before anything was recognised; how strong a boost is, was chosen with these recordings, too.
A false alarm is a term heard more often than it was said.
"""

import argparse
import asyncio
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jiwer
from rich import box
from rich.table import Table

from bench.measure import console, progress_bar
from config.load import load_section
from config.settings import EngineSettings
from domain.capabilities import Term
from domain.transcript import Segment
from engines.contract import Hearing
from engines.server.models.sphinx import Sphinx
from media.decode import DecodeLimits, decode

DATA = Path(__file__).parent.parent.parent / "shared" / "data" / "en"
LIMITS = DecodeLimits(max_seconds=600, memory_bytes=2_147_483_648)

SAID = """
    medicine, symptoms, poisoning, suicide, Hebrews, Lincoln, apostle, gospel, Quilter, eunuch, poetry, affliction,
    Dashwood, cutter, amiable, statement, natural language processing
"""
SPELT = Term(text="Zau al Makan", sounds_like=("zoo all mac on",))
"""Said once; in no dictionary. A first spelling had a word that is in no dictionary either."""

NOT_SAID = """
    aspirin, insulin, diabetes, hypertension, pneumonia, asthma, migraine, penicillin, antibiotic, cholesterol, biopsy,
    fracture, allergy, dosage, nausea, fever, infection, diagnosis, prescription, referral
"""

WORST_WER_CHANGE = 0.02
"""What the terms may cost the other words at most."""


@dataclass(frozen=True, slots=True)
class Spoken:
    audio: Path
    seconds: float
    reference: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one term: how often it was said, heard where it was said, and heard where it was not."""

    said: int
    heard: int
    false_alarms: int


def vocabulary(boost: float | None) -> tuple[Term, ...]:
    named = [text.strip() for text in (SAID + "," + NOT_SAID).split(",")]
    terms = (*(Term(text=" ".join(text.split())) for text in named), SPELT)
    return tuple(term.model_copy(update={"boost": boost}) for term in terms)


async def prepare(folder: Path, data: Path) -> list[Spoken]:
    found = []
    for reference in sorted(data.glob("*.txt")):
        (source,) = (path for path in data.glob(f"{reference.stem}.*") if path.suffix != ".txt")
        target = folder / f"{reference.stem}.wav"
        decoded = await decode(source, target, LIMITS)
        found.append(Spoken(target, decoded.seconds, plain(reference.read_text())))
    return found


def recognise(model: Sphinx, recordings: Sequence[Spoken], terms: tuple[Term, ...], title: str) -> list[str]:
    texts = []
    with progress_bar() as bar:
        task = bar.add_task(title, total=sum(recording.seconds for recording in recordings))
        for recording in recordings:
            hearing = Hearing(audio_seconds=recording.seconds, terms=terms)
            heard = model.transcribe(recording.audio, hearing)
            texts.append(plain(" ".join(item.text for item in heard if isinstance(item, Segment))))
            bar.advance(task, recording.seconds)
    return texts


def outcome(term: Term, references: Sequence[str], texts: Sequence[str]) -> Outcome:
    pairs = [(count(term, reference), count(term, text)) for reference, text in zip(references, texts, strict=True)]
    return Outcome(
        said=sum(said for said, _ in pairs),
        heard=sum(min(said, heard) for said, heard in pairs),
        false_alarms=sum(max(0, heard - said) for said, heard in pairs),
    )


def count(term: Term, text: str) -> int:
    return len(re.findall(rf"(?<![\w']){re.escape(plain(term.text))}(?![\w'])", text))


def plain(text: str) -> str:
    return re.sub(r"[^a-z' ]+", " ", text.lower()).strip()


def total(outcomes: Sequence[Outcome]) -> Outcome:
    return Outcome(
        sum(each.said for each in outcomes),
        sum(each.heard for each in outcomes),
        sum(each.false_alarms for each in outcomes),
    )


def table(terms: Sequence[Term], before: Sequence[Outcome], after: Sequence[Outcome]) -> Table:
    drawn = Table(title="PocketSphinx with and without vocabulary", title_justify="left", box=box.SIMPLE)
    drawn.add_column("term")
    for heading in ("said", "heard before", "after", "false alarms before", "after"):
        drawn.add_column(heading, justify="right")
    rows = zip(terms, before, after, strict=True)
    shown = [row for row in rows if row[1].said or row[1].false_alarms or row[2].false_alarms]
    lines = [(term.text, one, other) for term, one, other in shown]
    for text, one, other in (*lines, (f"all {len(terms)}", total(before), total(after))):
        figures = (one.said, one.heard, other.heard, one.false_alarms, other.false_alarms)
        drawn.add_row(text, *(str(figure) for figure in figures))
    return drawn


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of recordings, each with its text as NAME.txt")
    parser.add_argument("--boost", type=float, default=None, help="of every term; the engine's own where not given")
    options = parser.parse_args()
    terms = vocabulary(options.boost)
    model = Sphinx.load(load_section(EngineSettings, {}), None, lambda *_: None)
    with tempfile.TemporaryDirectory(prefix="escriba-bench-") as folder:
        recordings = asyncio.run(prepare(Path(folder), options.data))
        without = recognise(model, recordings, (), "without terms")
        with_terms = recognise(model, recordings, terms, f"with {len(terms)} terms")
    references = [recording.reference for recording in recordings]
    before = [outcome(term, references, without) for term in terms]
    after = [outcome(term, references, with_terms) for term in terms]
    wer, wer_after = jiwer.wer(references, without), jiwer.wer(references, with_terms)
    screen = console()
    screen.print(table(terms, before, after))
    screen.print(f"word error rate: {wer:.3f} before, {wer_after:.3f} after; goal: at most {WORST_WER_CHANGE} more")
    gained = total(after).heard > total(before).heard
    screen.print(f"recall of the terms: {'higher' if gained else 'no higher'} with them; goal: higher")
    return 0 if gained and wer_after - wer <= WORST_WER_CHANGE else 1


if __name__ == "__main__":
    sys.exit(main())
