"""Who spoke when: the platform's own diarizer on recordings with several speakers, mixed down to one channel.

    python -m bench.diarize [--data FOLDER] [--choose]

Diarization error rate (DER), overlaps included, with a collar of 0.25 s and without, of segments whose words come from
PocketSphinx, and of words laid over the reference's own speech. Beside it, on the same words: everybody is one
speaker, and the least that anyone could have who gives each word to one speaker. A pyannote pipeline would be the
better anchor, but its weights are not to be had without asking for them. --choose shows, on dialogues that are put
together from other people's recordings, how far apart two speakers must be: `APART` was taken from that.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np
from rich import box
from rich.table import Table

from bench.dialogues import PEOPLE, make_dialogues
from bench.diarization_error import Turn, errors, read_rttm
from bench.measure import console, progress_bar
from config.load import load_section
from config.settings import EngineSettings
from domain.transcript import Notice, Segment, Span, StageReached, Word
from engines.contract import Hearing
from engines.server.contract import LocalModel
from engines.server.models.diarizer import Diarizer
from engines.server.models.diarizer_clusters import Speakers
from engines.server.models.diarizer_voices import VoiceEncoder, find_weights
from engines.server.models.speakers import SaidBy, tell_apart
from engines.server.models.sphinx import Sphinx
from media.decode import DecodeLimits, decode

ROOT = Path(__file__).parent.parent
DATA = ROOT.parent / "shared" / "data"
RECORDINGS = ("multi/libri_3spk.flac", "multi/ami_trn08.wav", "multi/ami_tst00.wav", "stereo/libri_call.wav")
LIMITS = DecodeLimits(max_seconds=600, memory_bytes=2_147_483_648)

COLLAR_SECONDS = 0.25
WORD_SECONDS = 0.3
"""Of the words that are laid over the reference."""

GOAL = 0.2
"""DER with the collar, that the median recording may have at most, its number of speakers unknown."""

DISTANCES = (0.30, 0.32, 0.34, 0.36, 0.37, 0.38, 0.40, 0.42)
DIALOGUES = 24

Heard = Callable[[Path, float], tuple[Segment, ...]]


@dataclass(frozen=True, slots=True)
class Recording:
    name: str
    audio: Path
    seconds: float
    turns: list[Turn]

    @property
    def speakers(self) -> int:
        return len({turn.speaker for turn in self.turns})


@dataclass(frozen=True, slots=True)
class Outcome:
    """One recording with one kind of words. Rates by collar."""

    recording: Recording
    words: str
    one: Mapping[float, float]
    unknown: Mapping[float, float]
    known: Mapping[float, float]
    least: Mapping[float, float]
    found: int
    warned: bool
    seconds: float


async def prepare(folder: Path, data: Path) -> list[Recording]:
    found = []
    for name in RECORDINGS:
        audio = folder / f"{Path(name).stem}.wav"
        decoded = await decode(data / name, audio, LIMITS)
        found.append(Recording(audio.stem, audio, decoded.seconds, read_rttm((data / name).with_suffix(".rttm"))))
    audio = folder / "consultation.wav"
    decoded = await decode(ROOT / "samples" / "consultation.flac", audio, LIMITS)
    lines = [line.split() for line in (ROOT / "samples" / "consultation.txt").read_text().splitlines()]
    turns = [Turn(float(start), float(end), speaker) for start, end, speaker, *_ in lines]
    return [*found, Recording(audio.stem, audio, decoded.seconds, turns)]


def recognised(model: LocalModel, recording: Recording) -> tuple[Segment, ...]:
    heard = model.transcribe(recording.audio, Hearing(audio_seconds=recording.seconds))
    return tuple(item for item in heard if isinstance(item, Segment))


def laid_over(turns: Sequence[Turn]) -> tuple[Segment, ...]:
    """Words wherever the reference has speech: a segment for each stretch without a pause, whoever speaks in it."""
    return tuple(spoken(start, end) for start, end in stretches(turns))


def stretches(turns: Sequence[Turn]) -> Iterator[tuple[float, float]]:
    since, until = turns[0].start, turns[0].end
    for turn in sorted(turns):
        if turn.start > until:
            yield since, until
            since = turn.start
        until = max(until, turn.end)
    yield since, until


def spoken(start: float, end: float) -> Segment:
    edges = np.linspace(start, end, 1 + max(1, round((end - start) / WORD_SECONDS))).tolist()
    words = tuple(Word(start=since, end=until, text="word") for since, until in pairwise(edges))
    return Segment(start=start, end=end, text=" ".join(word.text for word in words), words=words)


def diarized(
    model: Diarizer, recording: Recording, segments: tuple[Segment, ...], exactly: int | None
) -> tuple[list[Turn], bool]:
    """The turns, and whether a warning came with them."""
    given = StageReached(stage="transcribe", segments=segments)
    hearing = Hearing(audio_seconds=recording.seconds, num_speakers=exactly, given=given)
    heard = list(model.transcribe(recording.audio, hearing))
    return turns_of(item for item in heard if isinstance(item, Segment)), any(
        isinstance(item, Notice) for item in heard
    )


def turns_of(segments: Iterator[Segment] | Sequence[Segment]) -> list[Turn]:
    return [Turn(segment.start, segment.end, str(segment.speaker_tag)) for segment in segments]


def ideal(turns: Sequence[Turn], segments: Sequence[Segment]) -> list[Turn]:
    """Each word to whom the reference has speaking most of it."""

    def speaker(span: Span) -> str | None:
        shares: dict[str, float] = {}
        for turn in turns:
            share = min(span.end, turn.end) - max(span.start, turn.start)
            if share > 0:
                shares[turn.speaker] = shares.get(turn.speaker, 0.0) + share
        return max(shares, key=shares.__getitem__, default=None)

    labels = (SaidBy(speaker(segment), tuple(map(speaker, segment.words))) for segment in segments)
    return turns_of(tell_apart(segments, labels))


def rates(recording: Recording, found: Sequence[Turn]) -> dict[float, float]:
    return {collar: errors(recording.turns, found, collar=collar).rate for collar in (COLLAR_SECONDS, 0.0)}


def measure(model: Diarizer, recording: Recording, words: str, segments: tuple[Segment, ...]) -> Outcome:
    began = time.perf_counter()
    unknown, warned = diarized(model, recording, segments, None)
    seconds = time.perf_counter() - began
    known, _ = diarized(model, recording, segments, recording.speakers)
    return Outcome(
        recording,
        words,
        one=rates(recording, turns_of(segments)),
        unknown=rates(recording, unknown),
        known=rates(recording, known),
        least=rates(recording, ideal(recording.turns, segments)),
        found=len({turn.speaker for turn in unknown}),
        warned=warned,
        seconds=seconds,
    )


def table(outcomes: Sequence[Outcome], collar: float) -> Table:
    drawn = Table(title=f"DER, collar {collar} s", title_justify="left", box=box.SIMPLE)
    for heading in (
        "recording",
        "words",
        "speakers",
        "found",
        "warned",
        "one speaker",
        "ours",
        "number known",
        "least",
    ):
        drawn.add_column(heading, justify="left" if heading in ("recording", "words") else "right", no_wrap=True)
    for outcome in outcomes:
        counts = (str(outcome.recording.speakers), str(outcome.found), "yes" if outcome.warned else "")
        figures = (outcome.one, outcome.unknown, outcome.known, outcome.least)
        drawn.add_row(outcome.recording.name, outcome.words, *counts, *(f"{figure[collar]:.3f}" for figure in figures))
    for name, gather in (("median", median), ("worst", max)):
        columns = zip(
            *((o.one[collar], o.unknown[collar], o.known[collar], o.least[collar]) for o in outcomes), strict=True
        )
        drawn.add_row(name, "", "", "", "", *(f"{gather(column):.3f}" for column in columns))
    return drawn


def compare(data: Path) -> int:
    diarizer = Diarizer.load(load_section(EngineSettings, {}), None, lambda *_: None)
    sphinx = Sphinx.load(load_section(EngineSettings, {}), None, lambda *_: None)
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="escriba-bench-") as folder, progress_bar() as bar:
        recordings = asyncio.run(prepare(Path(folder), data))
        for recording in bar.track(recordings, description="recordings"):
            for words, segments in (
                ("sphinx", recognised(sphinx, recording)),
                ("reference", laid_over(recording.turns)),
            ):
                outcomes.append(measure(diarizer, recording, words, segments))
    screen = console()
    for collar in (COLLAR_SECONDS, 0.0):
        screen.print(table(outcomes, collar))
    spent = sum(outcome.seconds for outcome in outcomes) / sum(outcome.recording.seconds for outcome in outcomes)
    screen.print(f"computing: {60 * spent:.1f} s for a minute of recording")
    ours = median(outcome.unknown[COLLAR_SECONDS] for outcome in outcomes)
    screen.print(f"median DER {ours:.3f}; goal: at most {GOAL}")
    return 0 if ours <= GOAL else 1


async def decode_people(folder: Path, data: Path) -> dict[str, Path]:
    targets = {name: folder / f"{Path(name).stem}.wav" for parts in PEOPLE.values() for name in parts}
    for name, target in targets.items():
        await decode(data / name, target, LIMITS)
    return targets


def choose(data: Path) -> int:
    weights = find_weights()
    assert weights is not None, "install requirements/core.txt"
    encoder = VoiceEncoder.open(weights)
    drawn = Table(title=f"{DIALOGUES} dialogues of other people", title_justify="left", box=box.SIMPLE)
    for heading in ("apart", "mean DER", "number right", "too few", "too many"):
        drawn.add_column(heading, justify="right")
    with tempfile.TemporaryDirectory(prefix="escriba-bench-") as folder, progress_bar() as bar:
        dialogues = make_dialogues(asyncio.run(decode_people(Path(folder), data)), DIALOGUES)
        tracked = bar.track(dialogues, description="dialogues", total=DIALOGUES)
        heard = [(dialogue, encoder.hear(dialogue.samples, since=0)) for dialogue in tracked]
    for apart in DISTANCES:
        wrong, more = [], []
        for dialogue, voices in heard:
            speakers = Speakers.among(voices, apart=apart)
            segments = laid_over(dialogue.turns)
            found = turns_of(tell_apart(segments, map(speakers.label, segments)))
            wrong.append(errors(dialogue.turns, found, collar=COLLAR_SECONDS).rate)
            more.append(len({turn.speaker for turn in found}) - dialogue.speakers)
        counts = (more.count(0), sum(number < 0 for number in more), sum(number > 0 for number in more))
        drawn.add_row(f"{apart:.2f}", f"{sum(wrong) / DIALOGUES:.3f}", *map(str, counts))
    console().print(drawn)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of test recordings")
    parser.add_argument("--choose", action="store_true", help="show how far apart two speakers must be")
    options = parser.parse_args()
    return choose(options.data) if options.choose else compare(options.data)


if __name__ == "__main__":
    sys.exit(main())
