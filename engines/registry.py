"""Finds engine adapters by entry point (`escriba.engines`), asks them how they are, and chooses one for a job."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Self, TypeVar

from config.settings import Settings
from domain.capabilities import EngineReport
from domain.errors import EscribaError
from domain.lifecycle import JobOptions
from domain.wishes import Unmet
from engines.choice import NoEngine, pick
from engines.contract import Engine, EngineSource

logger = logging.getLogger(__name__)

GROUP = "escriba.engines"

PATIENCE_SECONDS = 2.0
"""The longest that one adapter may hold up the report on all."""

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
"""What the submit form can ask for."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Choice:
    engine: Engine
    report: EngineReport
    reason: str
    unmet: tuple[Unmet, ...] = ()
    """What the engine cannot honour of the job's options: to be waived, with a warning for each."""


class Registry:
    """All engines that this process can reach. Make it with `Registry.load`, end it with `close`."""

    def __init__(self, sources: Mapping[str, EngineSource], broken: Sequence[EngineReport] = ()) -> None:
        self._sources = sources
        self._broken = tuple(broken)

    @classmethod
    def load(cls, settings: Settings) -> Self:
        """An adapter that cannot be loaded or made is logged and stays in the reports, as unavailable."""
        sources: dict[str, EngineSource] = {}
        broken: list[EngineReport] = []
        for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
            try:
                sources[entry.name] = entry.load()(settings)
            except Exception as error:  # a stranger's module may raise anything, and must not take the others along
                logger.exception("engine adapter %s cannot be used", entry.name)
                why = str(error) if isinstance(error, EscribaError) else type(error).__name__
                broken.append(_unavailable(entry.name, f"its adapter cannot be loaded ({why})"))
        return cls(sources, broken)

    async def reports(self) -> list[EngineReport]:
        """How every engine is now, by name. Never raises; one that says nothing for two seconds is unavailable."""
        return await self._reports(await self._engines())

    async def engine(self, name: str) -> Engine | None:
        return (await self._engines()).get(name)

    async def choose(self, options: JobOptions, *, passed_over: frozenset[str] = frozenset()) -> Choice | NoEngine:
        """The engine for a job: see `engines.choice.pick`."""
        engines = await self._engines()
        picked = pick(await self._reports(engines), options, passed_over=passed_over)
        if isinstance(picked, NoEngine):
            return picked
        return Choice(engines[picked.report.engine], picked.report, picked.reason, picked.unmet)

    async def diarizer(self) -> Choice | None:
        """What tells speakers apart in what other engines have heard, if it is there now."""
        engines = await self._engines()
        found = (report for report in await self._reports(engines) if report.available and report.is_diarizer)
        report = next(found, None)
        return None if report is None else Choice(engines[report.engine], report, "the engine that was asked has none")

    async def close(self) -> None:
        for name, source in self._sources.items():
            try:
                await source.close()
            except Exception:  # the process is ending; the others shall be closed too
                logger.exception("engine adapter %s did not close", name)

    async def _engines(self) -> dict[str, Engine]:
        """Engines by name; where two sources have the same name, the source that sorts first has it."""
        found = await asyncio.gather(*(_within_patience(source.engines()) for source in self._sources.values()))
        engines: dict[str, Engine] = {}
        for name, listed in zip(self._sources, found, strict=True):
            if isinstance(listed, BaseException):
                logger.warning("engine adapter %s does not list its engines", name, exc_info=listed)
                continue
            for engine in listed:
                if not NAME.fullmatch(engine.name):
                    logger.warning("an engine of adapter %s has a name that nobody could ask for", name)
                    continue
                if engines.setdefault(engine.name, engine) is not engine:
                    logger.warning("engine %s is offered twice; adapter %s is left out", engine.name, name)
        return engines

    async def _reports(self, engines: Mapping[str, Engine]) -> list[EngineReport]:
        reports = await asyncio.gather(*(self._report(engine) for engine in engines.values()))
        broken = (report for report in self._broken if report.engine not in engines)
        return sorted((*reports, *broken), key=lambda report: report.engine)

    async def _report(self, engine: Engine) -> EngineReport:
        report = await _within_patience(engine.report())
        if isinstance(report, TimeoutError):
            return _unavailable(engine.name, f"it did not answer within {PATIENCE_SECONDS:g} seconds")
        if isinstance(report, BaseException):
            logger.warning("engine %s does not report", engine.name, exc_info=report)
            return _unavailable(engine.name, f"its adapter failed ({type(report).__name__})")
        return report.model_copy(update={"engine": engine.name})


async def _within_patience(answer: Awaitable[T]) -> T | Exception:
    """What an adapter answers, or what it raised: these are strangers' modules, and any error is theirs alone."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await answer
    except Exception as error:
        return error


def _unavailable(engine: str, reason: str) -> EngineReport:
    return EngineReport(engine=engine, available=False, reason=reason)
