"""The README's curl commands with both engines, recording by recording: `python -m bench.native`, about a minute.

`escriba up` with the shipped settings, the strict Riva of the tests as a process of its own that has been told what is
said in each recording, and WhisperX on small weights where `make whisperx` has installed it. Needs ../shared/data.

With --long also twenty minutes through `asr` and Riva's limit of 4 MiB a message, then the same with the stream
aborted twice: words lost, and the peak of the worker's memory beside that for four minutes.
"""

import argparse
import asyncio
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from cli.embedded import WHISPERX_PYTHON
from tests.support.by_curl import (
    CONSULTATION,
    NAMED,
    Outcome,
    Spoken,
    consultation,
    readable,
    recordings,
    script_of,
    send,
    table,
)
from tests.support.riva.reciting import Turn, reciting_riva, write_script
from tests.support.riva.speech import write_speech
from tests.support.servers import free_port
from tests.support.whisperx_engine import Models
from tests.support.whole import Whole, whole_platform

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
WIDTH = 160

FOUR_MINUTES, TWENTY_MINUTES = 218, 1091
"""Words, ten in eleven seconds."""

ABORTED_AT = (400.0, 900.0)
"""Seconds of audio."""


@dataclass(frozen=True, slots=True)
class Long:
    name: str
    outcome: Outcome
    peak_mib: float

    @property
    def lost(self) -> int:
        return sum(said != heard for said, heard in zip(self.outcome.spoken.words, self.outcome.words, strict=False))


async def whisperx_environ(folder: Path) -> dict[str, str]:
    """Small weights for every stage; nothing where WhisperX is not installed."""
    if not WHISPERX_PYTHON.exists():
        return {}
    folder.mkdir()
    models = DATA / "models"
    weights = Models(models / "whisper-micro-ct2", models / "wav2vec2-micro-en", folder / "diarizer")
    english, *_ = recordings(DATA)
    (wave,) = await english.decoded(folder)
    weights.made_by(WHISPERX_PYTHON, wave)
    return weights.environ(folder / "models")


def every_recording(whole: Whole, *, whisperx: bool) -> Iterator[Outcome]:
    for spoken in [*recordings(DATA), consultation()]:
        yield send(spoken, "transcribe/asr", url=whole.url, instead={"language=en-US": f"language={spoken.language}"})
    if whisperx:
        for spoken in recordings(DATA):
            yield send(spoken, "transcribe/whisperx", url=whole.url, instead=NAMED.get(spoken.folder))
    yield send(consultation(), "transcribe", url=whole.url)


def numbered(words: int, folder: Path) -> Spoken:
    """word1, word2, …: speech that the strict Riva understands by itself."""
    recording = write_speech(folder / f"{words}-words.wav", range(1, words + 1))
    text = " ".join(f"word{number}" for number in range(1, words + 1))
    return Spoken(recording.path, "en", recording.seconds, ((Turn(0, recording.seconds, text),),))


def hear_long(whole: Whole, name: str, spoken: Spoken) -> Long:
    """With the peak of the worker's memory while it was heard."""
    (worker,) = whole.processes("worker")
    process = Path(f"/proc/{worker.pid}")
    (process / "clear_refs").write_text("5")  # the peak counts from now: proc(5)
    outcome = send(spoken, "transcribe/asr", url=whole.url)
    peak = re.search(r"VmHWM:\s+(\d+) kB", (process / "status").read_text())
    assert peak is not None
    return Long(name, outcome, int(peak[1]) / 1024)


def hear_twenty_minutes(whole: Whole, address: str, script: Path, folder: Path) -> list[Long]:
    four, twenty = numbered(FOUR_MINUTES, folder), numbered(TWENTY_MINUTES, folder)
    with reciting_riva(script, address=address):
        found = [hear_long(whole, "4 minutes", four), hear_long(whole, "20 minutes", twenty)]
    with reciting_riva(script, address=address, breaks=ABORTED_AT):
        return [*found, hear_long(whole, "20 minutes, aborted twice", twenty)]


def long_table(found: Sequence[Long]) -> Table:
    drawn = Table(title="Long recordings through asr, 4 MiB a message at most", title_justify="left", box=box.SIMPLE)
    for heading in ("recording", "words said", "heard", "lost or changed", "wall", "worker's peak"):
        drawn.add_column(heading, justify="left" if heading == "recording" else "right")
    for each in found:
        said, heard = each.outcome.spoken.words, each.outcome.words
        changed = each.lost + abs(len(said) - len(heard))
        wall = f"{each.outcome.wall_seconds:.1f} s"
        drawn.add_row(each.name, str(len(said)), str(len(heard)), str(changed), wall, f"{each.peak_mib:.0f} MiB")
    return drawn


def bench(folder: Path, *, long: bool) -> bool:
    """Prints everything; answers whether no word was lost."""
    screen, address = Console(width=WIDTH), f"127.0.0.1:{free_port()}"
    script = write_script(asyncio.run(script_of([*recordings(DATA), consultation()], folder)), folder / "script.json")
    whisperx = asyncio.run(whisperx_environ(folder / "whisperx"))
    with whole_platform(folder / "home", RIVA_URI=address, WORKERS_COUNT="1", **whisperx) as whole:
        with reciting_riva(script, address=address, speakers=True):
            outcomes = list(every_recording(whole, whisperx=bool(whisperx)))
        screen.print(table(outcomes))
        told = next(each for each in outcomes if each.spoken.path == CONSULTATION)
        screen.print(readable(told.result), highlight=False)
        found = hear_twenty_minutes(whole, address, script, folder) if long else []
    if long:
        screen.print(long_table(found))
    heard = [each for each in outcomes if each.result["engine"] == "asr"] + [each.outcome for each in found]
    return all(each.words == each.spoken.words for each in heard)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", action="store_true", help="twenty minutes as well")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="escriba-bench-") as folder:
        return 0 if bench(Path(folder), long=options.long) else 1


if __name__ == "__main__":
    sys.exit(main())
