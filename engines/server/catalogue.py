"""The local models that this server hosts, found by entry point (`escriba.models`)."""

import logging
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Self

from config.settings import EngineSettings
from domain.capabilities import EngineReport
from domain.errors import EscribaError
from engines.server.contract import LocalModel

logger = logging.getLogger(__name__)

GROUP = "escriba.models"


def load_model_class(engine: str) -> type[LocalModel]:
    """The class behind `engine`; whatever its module raises passes through."""
    (entry,) = entry_points(group=GROUP, name=engine)
    loaded: type[LocalModel] = entry.load()
    return loaded


class Catalogue:
    def __init__(self, settings: EngineSettings, classes: Mapping[str, type[LocalModel] | Exception]) -> None:
        self._settings = settings
        self._classes = classes

    @classmethod
    def find(cls, settings: EngineSettings) -> Self:
        """A model whose module cannot be imported is logged and listed, as unavailable."""
        classes: dict[str, type[LocalModel] | Exception] = {}
        for engine in sorted({entry.name for entry in entry_points(group=GROUP)}):
            try:
                classes[engine] = load_model_class(engine)
            except Exception as error:  # a stranger's module may raise anything, and must not take the others along
                logger.exception("model %s cannot be used", engine)
                classes[engine] = error
        return cls(settings, classes)

    def reports(self) -> list[EngineReport]:
        return [self._report(engine) for engine in self._classes]

    def report(self, engine: str) -> EngineReport | None:
        return self._report(engine) if engine in self._classes else None

    def _report(self, engine: str) -> EngineReport:
        model = self._classes[engine]
        if isinstance(model, Exception):
            return _unavailable(engine, model)
        try:
            return model.report(self._settings).model_copy(update={"engine": engine})
        except Exception as error:  # as above
            logger.exception("model %s does not report", engine)
            return _unavailable(engine, error)


def _unavailable(engine: str, error: Exception) -> EngineReport:
    why = str(error) if isinstance(error, EscribaError) else type(error).__name__
    reason = f"it cannot be used ({why}); the engine server's log has the details"
    return EngineReport(engine=engine, available=False, reason=reason)
