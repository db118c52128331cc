"""Dialogues put together from recordings of single people, with who speaks when.

Nobody who speaks in `bench.diarize` speaks here, so that what is chosen on these can be measured there. They are easier
than life: each voice comes with the microphone and the room that it was recorded with, and nobody interrupts.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from faster_whisper.vad import VadOptions, get_speech_timestamps

from bench.diarization_error import Turn
from engines.contract import SAMPLE_RATE_HZ
from engines.server.models.samples import Samples, read_samples

PEOPLE = {
    "arctic": ["en/arctic_a0024.wav"],
    "kennedy": ["en/jfk.flac"],
    "austen": ["en/librivox-austen-0870.wav", "en/librivox-austen-0880.wav", "en/librivox-austen-0920.wav"],
    "7902": ["en/ls-7902-96591-0000.flac"],
    "quilter": ["en/quilter.wav"],
    "riva": ["en/riva_en-US_sample.wav"],
    "cheetah-es": ["es/cheetah_es.wav"],
    "fleurs-es": ["es/fleurs_es_419_000896.wav"],
    "riva-es": ["es/riva_es-US_sample.wav"],
    "cheetah-fr": ["fr/cheetah_fr.wav"],
    "leopard-fr": ["fr/leopard_fr.wav"],
    "falabrasil": ["pt/falabrasil.wav"],
    "lapsbm-240": ["pt/lapsbm_0240.wav"],
    "lapsbm-385": ["pt/lapsbm_0385.wav"],
    "lapsbm-618": ["pt/lapsbm_0618.wav"],
    "leopard-pt": ["pt/leopard_pt.wav"],
    "bush": ["long/columbia.wma"],
    "dickens": ["long/two_cities_16k.wav"],
}
"""Recordings of ../shared/data, by who speaks in them."""

HOW_MANY = (1, 2, 2, 2, 3, 3, 4, 5)
"""Speakers of a dialogue, each as likely as the others."""

TURN_SECONDS = (1.2, 2.0, 3.0)
PAUSE_SECONDS = (0.0, 0.05, 0.2, 0.4, 0.8)
MOST_TURNS = 8
SHORTEST_SECONDS = 10
LOUDNESS_DB, SPREAD_DB, NOISE_DB = -26, 6, -60
SEED = 7


@dataclass(frozen=True, slots=True)
class Dialogue:
    samples: Samples
    turns: list[Turn]

    @property
    def speakers(self) -> int:
        return len({turn.speaker for turn in self.turns})


def make_dialogues(recordings: Mapping[str, Path], count: int) -> Iterator[Dialogue]:
    """The same ones each time. `recordings` has a decoded WAV for each name in PEOPLE's lists."""
    pieces = {name: [piece for part in parts for piece in _speech(recordings[part])] for name, parts in PEOPLE.items()}
    alone = [name for name, said in pieces.items() if _seconds(said) > SHORTEST_SECONDS]
    random = np.random.default_rng(SEED)
    made = 0
    while made < count:
        how_many = random.choice(HOW_MANY)
        chosen = random.choice(alone if how_many == 1 else list(pieces), how_many, replace=False)
        turns = [(name, turn) for name in chosen for turn in _turns(pieces[name], random)]
        if _seconds([turn for _, turn in turns]) >= SHORTEST_SECONDS:
            made += 1
            yield _perform(turns, random)


def _speech(recording: Path) -> list[Samples]:
    samples = read_samples(recording)
    options = VadOptions(min_silence_duration_ms=200, speech_pad_ms=50, min_speech_duration_ms=600)
    pieces = [samples[span["start"] : span["end"]] for span in get_speech_timestamps(samples, options)]
    return [piece * np.float32(10 ** (LOUDNESS_DB / 20) / np.sqrt(np.mean(piece**2))) for piece in pieces]


def _turns(pieces: list[Samples], random: np.random.Generator) -> list[Samples]:
    said = [
        turn
        for at in random.permutation(len(pieces))
        for turn in np.array_split(pieces[at], max(1, round(_seconds([pieces[at]]) / random.choice(TURN_SECONDS))))
    ]
    return said[:MOST_TURNS]


def _perform(turns: list[tuple[str, Samples]], random: np.random.Generator) -> Dialogue:
    gains = {name: 10 ** (random.uniform(-SPREAD_DB, SPREAD_DB) / 20) for name, _ in turns}
    spoken, schedule = [_silence(0.5)], []
    for at in random.permutation(len(turns)):
        name, turn = turns[at]
        start = _seconds(spoken)
        schedule.append(Turn(start, start + _seconds([turn]), name))
        spoken += [turn * np.float32(gains[name]), _silence(random.choice(PAUSE_SECONDS))]
    samples = np.concatenate([*spoken, _silence(0.5)])
    noise = random.normal(0, 10 ** (NOISE_DB / 20), samples.size)
    return Dialogue(np.clip(samples + noise, -1, 1).astype(np.float32), schedule)


def _silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * SAMPLE_RATE_HZ), np.float32)


def _seconds(pieces: list[Samples]) -> float:
    return sum(piece.size for piece in pieces) / SAMPLE_RATE_HZ
