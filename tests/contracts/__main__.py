"""`python -m tests.contracts`: every table, documented beside answered."""

from rich import box
from rich.console import Console
from rich.table import Table

from tests.contracts.tables import tables

COLUMNS = ("seed", "kind", "element", "documented", "answered", "test", "note")


def main() -> None:
    console = Console(width=None if Console().is_terminal else 240)
    for table in tables():
        drawn = Table(title=f"{table.seed}: {table.title}", title_justify="left", box=box.SIMPLE)
        for name in COLUMNS:
            drawn.add_column(name, overflow="fold")
        for row in table.rows:
            test = row.test.rpartition("::")[2]
            drawn.add_row(table.seed, row.kind, row.element, row.documented, row.answered, test, row.note)
        console.print(drawn)


if __name__ == "__main__":
    main()
