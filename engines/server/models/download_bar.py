"""Turns the progress bars of the Hugging Face hub's client into numbers."""

import inspect
import sys
import threading
from typing import Any

from huggingface_hub import hf_hub_download
from tqdm import tqdm

from engines.server.contract import OnDownload


def bar_class(on_download: OnDownload) -> type[tqdm]:
    """A bar that draws nothing, and tells how many bytes are there, never falling.

    The client keeps several bars for one download (bytes received, bytes written, files), moved by several threads: the
    furthest of those that count bytes is what is told. Every move is told, as a bar draws some of them only, and the
    last one before a line stands still could be among the others.
    """
    furthest = (0, 0)
    telling = threading.Lock()

    class Bar(tqdm):  # type: ignore[misc]  # tqdm has no types
        def update(self, n: float | None = 1) -> Any:
            nonlocal furthest
            drawn = super().update(n)
            with telling:
                now = (int(self.n), int(self.total or 0))
                if self.unit == "B" and now > furthest:
                    furthest = (now[0], max(now))
                    on_download(*furthest)
            return drawn

        def display(self, *_args: Any, **_kwargs: Any) -> None:
            """There is no screen."""

    return Bar


def draw_files_with(bar: type[tqdm]) -> None:
    """Make a client of before 1.0, which WhisperX asks for, draw each file's bar by `bar`, as newer ones do anyway."""
    if "tqdm_class" in inspect.signature(hf_hub_download).parameters:
        return

    class FileBar(bar):  # type: ignore[misc]  # tqdm has no types
        def __init__(self, *args: Any, **options: Any) -> None:
            options.pop("name")  # the client's own
            # A bar that is disabled, as where there is no terminal, does not count.
            super().__init__(*args, **{**options, "disable": False})

    sys.modules["huggingface_hub.utils.tqdm"].tqdm = FileBar  # type: ignore[attr-defined]
