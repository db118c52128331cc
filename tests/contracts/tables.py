"""What of each contract is promised, element by element, and the test that holds it: `python -m tests.contracts`.

The contracts are the seeds' and OpenAI's.
"""

import ast
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from tests.conftest import ROOT

HERE = Path(__file__).parent

Kind = Literal["endpoint", "field", "event", "message", "setting", "default", "limit", "state", "header", "retry"]
KINDS = frozenset(get_args(Kind))


@dataclass(frozen=True, slots=True)
class Row:
    kind: str
    element: str
    documented: str
    """As its document has it."""
    answered: str
    """As Escriba has it; the same words where there is no difference."""
    test: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    seed: str
    title: str
    rows: tuple[Row, ...]


def tables() -> list[Table]:
    """Of every file here. A row's `answered` is left out where it is `documented` word for word."""
    return [_read(path) for path in sorted(HERE.glob("*.toml"))]


def _read(path: Path) -> Table:
    said = tomllib.loads(path.read_text(encoding="utf-8"))
    rows = [Row(**{"answered": row["documented"], **row}) for row in said["row"]]
    return Table(said["seed"], said["title"], tuple(rows))


def names_of_tests(path: str) -> set[str]:
    """The names of the tests of a file of the project."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {function.name for function in functions if function.name.startswith("test_")}
