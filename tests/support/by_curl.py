"""Recordings whose words are known, and the README's commands with each of them: what its tests and its bench share."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from time import perf_counter
from typing import Any

from rich import box
from rich.table import Table

from domain.subtitles import to_text
from domain.transcript import Segment
from media.decode import DecodeLimits, decode
from tests.support import readme
from tests.support.riva.reciting import Script, Turn, fingerprint_of

ROOT = Path(__file__).parent.parent.parent
CONSULTATION = Path("samples/consultation.flac")
"""As the README names it, from the checkout's root."""

LIMITS = DecodeLimits(max_seconds=600, memory_bytes=2 << 30)

NAMED = {"fr": {"-F min_speakers": "-F language=fr -F min_speakers"}}
"""What to say to whisperx besides: by the speech alone, without the silence around it, the small network takes this
recording for Portuguese."""

Channels = tuple[tuple[Turn, ...], ...]
Answer = dict[str, Any]


@dataclass(frozen=True)
class Spoken:
    """A recording, and who says what when."""

    path: Path
    language: str
    seconds: float
    channels: Channels
    """One where all speak on one; else a speaker on each."""

    @property
    def folder(self) -> str:
        return self.path.parent.name

    @property
    def words(self) -> list[str]:
        """In the order in which they are said; sorted where channels speak at once."""
        said = [word for turns in self.channels for turn in turns for word in plain(turn.text)]
        return said if len(self.channels) == 1 else sorted(said)

    def turns(self, *roles: str) -> list[tuple[str, list[str]]]:
        """Who says what, one after the other: `roles` name the channels."""
        by_channel = zip(roles, self.channels, strict=True)
        said = sorted((turn.start, role, turn.text) for role, turns in by_channel for turn in turns)
        return [(role, plain(text)) for _, role, text in said]

    async def decoded(self, folder: Path) -> list[Path]:
        """What an engine is given of it: the recording, or each of its channels."""
        waves = [folder / f"{self.folder}-{self.path.stem}-{channel}.wav" for channel, _ in enumerate(self.channels)]
        for channel, wave in enumerate(waves):
            await decode(ROOT / self.path, wave, LIMITS, channel=channel if len(waves) > 1 else None)
        return waves


def recordings(data: Path) -> list[Spoken]:
    """A short one of each folder of ../shared/data."""
    alone = [
        ("en/riva_en-US_sample.wav", "en", 4.15),
        ("es/cheetah_es.wav", "es", 4.1),
        ("pt/lapsbm_0240.wav", "pt", 3.4),
        ("fr/cheetah_fr.wav", "fr", 5.0),
    ]
    one = [
        Spoken(data / name, tag, seconds, ((Turn(0, seconds, (data / name).with_suffix(".txt").read_text()),),))
        for name, tag, seconds in alone
    ]
    return [*one, _two_channels(data / "stereo" / "two-channels-two-speakers"), _dialogue(data / "multi")]


def _two_channels(stem: Path, seconds: float = 5.0) -> Spoken:
    said = json.loads(stem.with_suffix(".json").read_text())
    channels = tuple((Turn(0, seconds, said[side]),) for side in ("left", "right"))
    return Spoken(stem.with_suffix(".wav"), "en", seconds, channels)


def _dialogue(folder: Path, seconds: float = 19.8) -> Spoken:
    """The reference has the speaker of each word, and no times."""
    words = json.loads((folder / "leopard_dialogue.words.json").read_text())
    slot, turns, at = seconds / len(words), [], 0.0
    for tag, run in groupby(words, key=lambda word: int(word["speaker_tag"])):
        text = [str(word["word"]) for word in run]
        turns.append(Turn(at, at + slot * len(text), " ".join(text), tag=tag))
        at += slot * len(text)
    return Spoken(folder / "leopard_dialogue.wav", "en", seconds, (tuple(turns),))


def consultation() -> Spoken:
    """The sample that is shipped, a role on each channel; without the marks that end a turn, as Riva sets its own."""
    lines = [line.split(maxsplit=3) for line in (ROOT / CONSULTATION).with_suffix(".txt").read_text().splitlines()]
    turns = {
        role: tuple(Turn(float(start), float(end), text.rstrip(".?")) for start, end, who, text in lines if who == role)
        for role in ("provider", "patient")
    }
    return Spoken(CONSULTATION, "en", 59.2, tuple(turns.values()))


async def script_of(spoken: Sequence[Spoken], folder: Path) -> Script:
    """What Riva is to say of each of them."""
    heard = [zip(await each.decoded(folder), each.channels, strict=True) for each in spoken]
    return {fingerprint_of(wave): list(turns) for pairs in heard for wave, turns in pairs}


def plain(text: str) -> list[str]:
    """The words, without what an engine may write in its own way."""
    return re.sub(r"[^\w\s']", " ", text.lower()).split()


@dataclass(frozen=True)
class Outcome:
    """What came of one submission."""

    spoken: Spoken
    route: str
    wall_seconds: float
    result: Answer

    @property
    def words(self) -> list[str]:
        said = plain(str(self.result["text"]))
        return said if len(self.spoken.channels) == 1 else sorted(said)

    @property
    def speakers(self) -> set[int]:
        return {segment["speaker_tag"] for segment in self.result["segments"]} - {None}

    @property
    def turns(self) -> list[tuple[str, list[str]]]:
        """Who says what, one after the other."""
        roles = self.result["speaker_roles"]
        said = [(roles[str(segment["speaker_tag"])], plain(segment["text"])) for segment in self.result["segments"]]
        runs = groupby(said, key=lambda each: each[0])
        return [(role, [word for _, words in run for word in words]) for role, run in runs]

    @property
    def warnings(self) -> list[str]:
        return [warning["code"] for warning in self.result["warnings"]]


def send(spoken: Spoken, route: str, *, url: str, instead: Mapping[str, str] | None = None) -> Outcome:
    """The README's commands for a route, with another recording, and with other fields as `instead` says."""
    block = readme.block_with(f"$jobs/{route} |")
    block = block.replace("?format=vtt", "")
    named = re.search(r"file=@\S+", block)
    assert named is not None
    began = perf_counter()
    (said,) = readme.run([block], url=url, instead={named[0]: f"file=@{spoken.path}", **(instead or {})})
    wall = perf_counter() - began
    return Outcome(spoken, route, wall, result_in(said))


def result_in(said: str) -> Answer:
    """A result is the last thing that a block prints. Fails where the job has none."""
    return answers_in(said)[-1]


def answers_in(said: str) -> list[Answer]:
    """The answers in JSON that a block prints behind the events of a job, which has to have been completed."""
    *events, rest = re.split(r"\r?\n", said)
    told = [json.loads(line.removeprefix("data: ")) for line in events if line.startswith("data: ")]
    assert told[-1]["status"] == "completed", told[-1]
    answers, at = [], 0
    while at < len(rest):
        answer, at = json.JSONDecoder().raw_decode(rest, at)
        answers.append(answer)
    return answers


def table(outcomes: Sequence[Outcome]) -> Table:
    drawn = Table(title="The README's commands, recording by recording", title_justify="left", box=box.SIMPLE)
    for heading in ("recording", "route", "engine", "audio", "wall", "segments", "speakers", "roles", "warnings"):
        drawn.add_column(heading, justify="right" if heading in ("audio", "wall", "segments", "speakers") else "left")
    for each in outcomes:
        drawn.add_row(*_cells(each))
    return drawn


def _cells(each: Outcome) -> Iterator[str]:
    result = each.result
    yield f"{each.spoken.folder}/{each.spoken.path.stem}"
    yield each.route
    yield str(result["engine"])
    yield f"{result['duration']:.1f} s"
    yield f"{each.wall_seconds:.1f} s"
    yield str(len(result["segments"]))
    yield str(len(each.speakers))
    yield ", ".join(result["speaker_roles"].values())
    yield ", ".join(each.warnings)


def readable(result: Answer) -> str:
    """A consultation as a person reads it, and what became of its vocabulary."""
    names = {int(tag): role for tag, role in result["speaker_roles"].items()}
    lines = to_text([Segment.model_validate(segment) for segment in result["segments"]], names=names)
    vocabulary = result["vocabulary"]
    if vocabulary is None:
        return lines
    left_out = [term["text"] for term in vocabulary["left_out"]]
    return f"{lines}\nterms used: {vocabulary['used']}; matched: {vocabulary['matched']}; left out: {left_out}\n"
