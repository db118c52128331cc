"""How the cues of a real transcript stand to the rules of two profiles, cue by cue.

    python -m bench.subtitles [--recording FILE | --result FILE] [--profiles default,broadcast] [--all]

Hears a recording (by default 199 seconds of the test data) with PocketSphinx, or reads what GET /result answered, cuts
the text into cues by each profile, and says which cue breaks which rule, by how much. Also checks that every word of
the transcript is in the cues once and in order, and that no two cues overlap; ends with 1 where that is not so.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from rich import box
from rich.table import Table

from bench.measure import console, progress_bar
from config.load import load_section
from config.settings import EngineSettings
from domain.cues import Cue, to_cues
from domain.profiles import PROFILES, Profile
from domain.subtitle_rules import CueReport, validate
from domain.transcript import Progress, Segment
from engines.contract import Hearing
from engines.server.models.sphinx import Sphinx
from media.decode import DecodeLimits, decode

RECORDING = Path(__file__).parent.parent.parent / "shared" / "data" / "long" / "columbia.wma"
LIMITS = DecodeLimits(max_seconds=3600, memory_bytes=2_147_483_648)


def heard(recording: Path) -> list[Segment]:
    with tempfile.TemporaryDirectory() as folder, progress_bar() as bar:
        target = Path(folder) / "sound.wav"
        decoded = asyncio.run(decode(recording, target, LIMITS))
        task = bar.add_task("hearing", total=decoded.seconds)
        model = Sphinx.load(load_section(EngineSettings, {}), None, lambda *_: None)
        segments = []
        for item in model.transcribe(target, Hearing(audio_seconds=decoded.seconds)):
            if isinstance(item, Segment):
                segments.append(item)
            elif isinstance(item, Progress):
                bar.update(task, completed=item.done)
    return segments


def read(result: Path) -> list[Segment]:
    """The segments of an answer, of which a reader may know more than a transcript holds."""
    kept = Segment.model_fields.keys()
    segments = json.loads(result.read_text())["segments"]
    return [Segment.model_validate({name: each[name] for name in kept & each.keys()}) for each in segments]


def is_whole(segments: Sequence[Segment], cues: Sequence[Cue], profile: Profile) -> bool:
    """Are all words there once and in order, and no cues on the screen together?"""
    bare = to_cues(segments, profile.model_copy(update={"speaker_style": "none"}))
    said = [word for segment in segments for word in segment.text.split()]
    shown = [word for cue in bare for line in cue.lines for word in line.split()]
    return said == shown and all(one.end <= other.start for one, other in pairwise(cues))


def report(name: str, reports: Sequence[CueReport], *, everything: bool) -> Table:
    broken = Counter(breach.rule for cue in reports for breach in cue.breaches)
    good = sum(not cue.breaches for cue in reports)
    drawn = Table(
        title=f"{name}: {len(reports)} cues, {good} keep every rule",
        caption=", ".join(f"{rule} {count}" for rule, count in sorted(broken.items())) or None,
        title_justify="left",
        box=box.SIMPLE,
    )
    for heading in ("cue", "start", "seconds", "lines", "widest", "chars/s", "gap"):
        drawn.add_column(heading, justify="right")
    drawn.add_column("rules broken")
    for cue in reports:
        if cue.breaches or everything:
            figures = (cue.number, f"{cue.start:.3f}", f"{cue.end - cue.start:.3f}", cue.lines, cue.widest_line)
            rules = (f"{breach.rule} {breach.found:g} of {breach.allowed:g}" for breach in cue.breaches)
            drawn.add_row(*map(str, (*figures, cue.cps, cue.gap)), ", ".join(rules))
    return drawn


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recording", type=Path, default=RECORDING)
    parser.add_argument("--result", type=Path, help="what GET /api/transcribe/jobs/result/{id} answered")
    parser.add_argument("--profiles", default="default,broadcast", help=f"of {', '.join(PROFILES)}")
    parser.add_argument("--all", action="store_true", help="show the cues that break no rule as well")
    options = parser.parse_args()
    segments = read(options.result) if options.result else heard(options.recording)
    whole = True
    for name in options.profiles.split(","):
        cues = to_cues(segments, PROFILES[name])
        whole &= is_whole(segments, cues, PROFILES[name])
        console().print(report(name, validate(cues, PROFILES[name]), everything=options.all))
    console().print("every word once and in order, no overlap" if whole else "words lost or moved, or cues overlap")
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
