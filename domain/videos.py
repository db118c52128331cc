"""A transcript shown in its own recording, as a video that is made on its own. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from domain.transcript import Notice


class VideoState(StrEnum):
    QUEUED = "queued"
    """Waits for its job's end, then for a worker."""
    PROCESSING = "processing"
    """One worker holds it by lease and fence; a crash leaves it to the sweeper."""
    COMPLETED = "completed"
    FAILED = "failed"
    """`error_details` has the public code and what to do."""


VideoMode = Literal["burned", "track"]
"""Cues drawn into the pictures, or beside them as a track that players turn on and off."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """What became of a rendering; `notices` may hold `font_missing`."""

    seconds: float
    width: int
    height: int
    notices: tuple[Notice, ...] = ()


RENDERER_CRASHED: dict[str, Any] = {
    "code": "worker_crashed",
    "message": "the workers that made this video died, so its recording may be at fault; export it again",
}
"""`error_details` of a video whose budget for crashes is spent."""
