"""What campaigns and hunts found: a table for people, JSON for everything else."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.markup import escape
from rich.table import Table

from tests.chaos.campaign import Record
from tests.chaos.runs import Hunt


def table(records: Sequence[Record], hunts: Sequence[Hunt]) -> Table:
    found = Table("promise", "fault", "times", "counted", "verdict", "planted bug, and the line that caught it")
    for number, record in enumerate(records):
        first = record.promise not in {earlier.promise for earlier in records[:number]}
        own = [hunt for hunt in hunts if first and hunt.record.promise == record.promise]
        found.add_row(
            f"{record.promise} {record.title}",
            record.fault,
            str(record.injected),
            escape(_counted(record)),
            _verdict(record),
            "\n".join(_caught(hunt) for hunt in own) or "-",
            end_section=True,
        )
    for hunt in hunts:
        if hunt.record.promise not in {record.promise for record in records}:
            row = (hunt.record.promise, hunt.record.fault, str(hunt.record.injected), "", "", _caught(hunt))
            found.add_row(*row, end_section=True)
    return found


def _counted(record: Record) -> str:
    figures = [f"{what}: {number}" for what, number in record.counted.items() if number]
    nothing = [what for what, number in record.counted.items() if not number]
    return "\n".join([*figures, *([f"0 of {len(nothing)} kinds: {', '.join(nothing)}"] if nothing else [])])


def _verdict(record: Record) -> str:
    if record.kept:
        return f"[green]kept[/] ({record.seconds:.0f} s)"
    return "[red]BROKEN[/]\n" + "\n".join(escape(str(breach)) for breach in record.breaches[:5])


def _caught(hunt: Hunt) -> str:
    if not hunt.caught:
        return f"[red]{hunt.mutant.patch} NOT CAUGHT[/]"
    breach = hunt.record.breaches[0]
    return f"[green]{hunt.mutant.patch}[/]: {escape(f'{breach.what} {breach.found}')}\n  {escape(breach.line)}"


def as_json(scale: str, seed: int, records: Sequence[Record], hunts: Sequence[Hunt]) -> dict[str, Any]:
    return {
        "scale": scale,
        "seed": seed,
        "promises": [asdict(record) | {"kept": record.kept} for record in records],
        "planted": [
            {"patch": hunt.mutant.patch, "part": hunt.mutant.part, "caught": hunt.caught} | asdict(hunt.record)
            for hunt in hunts
        ],
    }
