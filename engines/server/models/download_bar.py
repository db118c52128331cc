"""Turns the progress bars of the Hugging Face hub's client into numbers."""

from typing import Any

from tqdm import tqdm

from engines.server.contract import OnDownload


def bar_class(on_download: OnDownload) -> type[tqdm]:
    """A bar that draws nothing, and tells how many bytes are there, never falling.

    The client keeps several bars for one download (bytes received, bytes written, files): the furthest of those that
    count bytes is what is told.
    """
    furthest = (0, 0)

    class Bar(tqdm):  # type: ignore[misc]  # tqdm has no types
        def display(self, *_args: Any, **_kwargs: Any) -> None:
            nonlocal furthest
            now = (int(self.n), int(self.total or 0))
            if self.unit == "B" and now > furthest:
                furthest = (now[0], max(now))
                on_download(*furthest)

    return Bar
