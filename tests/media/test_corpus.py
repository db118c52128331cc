"""A corpus of hostile files and a crowd of mutations through the decoder, and what they got: nothing.

HOSTILE_MUTATIONS says how many; `make chaos` has ten thousand.
"""

import os
import resource
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from domain.errors import EscribaError
from media.decode import HEADER_BYTES, SAMPLE_RATE_HZ, DecodeLimits, decode
from tests.media.conftest import Canary
from tests.support import hostile_media
from tests.support.hostile_corpus import corpus

MUTATIONS = int(os.environ.get("HOSTILE_MUTATIONS", "90"))
SUFFIXES = ("wav", "mp3", "m4a", "ogg", "opus", "webm", "flac", "aac", "wma")

LIMITS = DecodeLimits(max_seconds=60, memory_bytes=1_073_741_824)
MOST_RESIDENT_MIB = 512
MOST_CPU_SECONDS = 60.0

Note = Callable[[str, object], None]


@dataclass
class Cost:
    """What files have had of the decoder, and of us."""

    files: int = 0
    decoded: int = 0
    sounds_of_others: list[str] = field(default_factory=list)
    deaths: list[str] = field(default_factory=list)
    longest_cpu_seconds: float = 0.0
    most_allowed_mib: float = field(default_factory=lambda: max(MOST_RESIDENT_MIB, resident_mib()))
    """What larger children have had before, as the tests of other folders start some, is no decoder's."""

    async def decode(self, folder: Path, name: str, body: bytes) -> None:
        source, target = folder / "source", folder / "sound.wav"
        source.write_bytes(body)
        target.unlink(missing_ok=True)
        before = cpu_seconds()
        try:
            decoded = await decode(source, target, LIMITS)
        except EscribaError:
            assert not target.exists()
        except Exception as error:
            self.deaths.append(f"{name}: {type(error).__name__}")
        else:
            self.decoded += 1
            assert decoded.seconds <= LIMITS.max_seconds
            if is_the_canary(target.read_bytes()[HEADER_BYTES:]):
                self.sounds_of_others.append(name)
        self.files += 1
        self.longest_cpu_seconds = max(self.longest_cpu_seconds, cpu_seconds() - before)


def is_the_canary(samples: bytes) -> bool:
    """Is it a tone of 440 Hz?"""
    heard = np.frombuffer(samples, "<i2").astype(float)
    power = np.abs(np.fft.rfft(heard - heard.mean())) ** 2
    pitch = np.fft.rfftfreq(heard.size, 1 / SAMPLE_RATE_HZ)
    return bool(power[abs(pitch - 440) < 10].sum() > 0.5 * power.sum() > 0)


def cpu_seconds() -> float:
    """Of all decoders that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def resident_mib() -> float:
    """Of the largest child that has ended. What it was before it became a decoder counts as well: no less is true."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


async def test_of_the_whole_corpus_no_file_gets_what_it_came_for(
    tmp_path: Path, canary: Canary, record_property: Note
) -> None:
    cost = Cost()
    for name, body in corpus(canary.folder, canary.url("").rstrip("/")):
        await cost.decode(tmp_path, name, body)
    note(record_property, cost, canary)
    record_property("files with another's sound", len(cost.sounds_of_others))
    assert cost.files >= 60
    assert cost.sounds_of_others == []
    assert_harmless(cost, canary)


async def test_mutations_of_every_kind_of_recording_do_no_harm(
    tmp_path: Path, canary: Canary, encode: Callable[..., bytes], record_property: Note
) -> None:
    cost = Cost()
    each, rest = divmod(MUTATIONS, len(SUFFIXES))
    for number, suffix in enumerate(SUFFIXES):
        whole = encode(suffix, seconds=0.5)
        for body in hostile_media.mutations(whole, each + (number < rest), seed=number):
            await cost.decode(tmp_path, suffix, body)
    note(record_property, cost, canary)
    assert cost.files == MUTATIONS
    assert cost.sounds_of_others, "which are their own here: or nothing would be found in the corpus either"
    assert_harmless(cost, canary)


def assert_harmless(cost: Cost, canary: Canary) -> None:
    assert canary.connections == 0
    assert cost.deaths == []
    assert cost.longest_cpu_seconds <= MOST_CPU_SECONDS
    assert resident_mib() <= cost.most_allowed_mib


def note(record_property: Note, cost: Cost, canary: Canary) -> None:
    """For the table of `make chaos`."""
    found: dict[str, Any] = {
        "files": cost.files,
        "of them decoded": cost.decoded,
        "outbound connects": canary.connections,
        "worker deaths": len(cost.deaths),
        "most resident, MiB": round(resident_mib()),
        "most CPU of a file, s": round(cost.longest_cpu_seconds, 1),
    }
    for what, figure in found.items():
        record_property(what, figure)
