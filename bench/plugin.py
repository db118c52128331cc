"""Engines of a bench in the platform's own processes: a distribution made on the spot, found by its entry points."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent

ENTRY_POINTS = """\
[escriba.engines]
bench = {source}
[escriba.models]
bench-model = bench.stubs:StubModel
"""


@contextmanager
def installed(source: str) -> Iterator[dict[str, str]]:
    """The environment in which every process finds the engine source `module:Class`, and the model `bench-model`."""
    with tempfile.TemporaryDirectory(prefix="escriba-bench-") as folder:
        described = Path(folder) / "escriba_bench-1.dist-info"
        described.mkdir()
        (described / "METADATA").write_text("Metadata-Version: 2.1\nName: escriba-bench\nVersion: 1\n")
        (described / "entry_points.txt").write_text(ENTRY_POINTS.format(source=source))
        yield {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}


def replace(original: Callable[..., Any], by: Callable[..., Any]) -> None:
    """Put `by` wherever `original` was imported: for what has no seam for strangers, as the decoder has none."""
    name = original.__name__
    for module in list(sys.modules.values()):
        if vars(module).get(name) is original:
            vars(module)[name] = by
