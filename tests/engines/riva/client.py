"""Ways to drive the engine, and to look at what it said."""

from collections.abc import Sequence
from typing import TypeVar

from config.load import load_settings
from domain.transcript import Heard, Notice, Progress, Segment
from engines.riva import RivaEngine
from tests.engines.contract_suite import Recording
from tests.engines.harness import INFRASTRUCTURE, hear
from tests.support.riva.server import RivaServer

T = TypeVar("T", Segment, Notice, Progress)


def engine_for(server: RivaServer, **environ: str) -> RivaEngine:
    return RivaEngine(load_settings({**INFRASTRUCTURE, "RIVA_URI": server.uri, **environ}))


def engine_without_server(**environ: str) -> RivaEngine:
    return RivaEngine(load_settings({**INFRASTRUCTURE, **environ}))


async def hear_all(
    server: RivaServer, recording: Recording, *, environ: dict[str, str] | None = None, **hearing: object
) -> list[Heard]:
    wanted = recording.hearing.model_copy(update=hearing)
    return await hear(engine_for(server, **environ or {}), recording.path, wanted)


def only(kind: type[T], heard: Sequence[Heard]) -> list[T]:
    return [item for item in heard if isinstance(item, kind)]


def words_of(heard: Sequence[Heard]) -> list[str]:
    """In lower case and without marks: what was said."""
    return [word.strip(".,").lower() for segment in only(Segment, heard) for word in segment.text.split()]


def notices_of(heard: Sequence[Heard]) -> list[str]:
    return [notice.code for notice in only(Notice, heard)]


def numbered(last: int) -> list[str]:
    return [f"word{number}" for number in range(1, last + 1)]
