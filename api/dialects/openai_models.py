"""Models as OpenAI's clients name them: OpenAI's own names, and what GET /engines knows. Names have no slashes."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from api.model_wishes import at_its_engine
from api.schemas import View
from domain.capabilities import AUTO, EngineReport
from domain.errors import ModelNotFound
from domain.lifecycle import JobOptions

DIARIZES = "gpt-4o-transcribe-diarize"
ALIASES = ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-transcribe", DIARIZES)
"""Each is the operator's default engine, for clients that know no other names."""
DATE = re.compile(r"-\d{4}-\d{2}-\d{2}$", re.ASCII)
"""OpenAI names a snapshot by its date."""


class ModelView(View):
    id: str
    object: str = "model"
    created: int = 0
    """Nobody knows when."""
    owned_by: str
    """The engine, or `escriba` where the platform chooses one."""


class ModelList(View):
    object: str = "list"
    data: list[ModelView]


@dataclass(frozen=True, slots=True)
class Offered:
    """What a name stands for."""

    name: str
    engine: str | None = None
    """None: the default one."""
    model: str | None = None
    available: bool = True

    def view(self) -> ModelView:
        return ModelView(id=self.name, owned_by=self.engine or "escriba")


def offered(reports: Mapping[str, EngineReport]) -> dict[str, Offered]:
    """By name; of two things with one name the first."""
    found: dict[str, Offered] = {}
    for each in _every(reports):
        found.setdefault(each.name, each)
    return found


def listed(reports: Mapping[str, EngineReport]) -> dict[str, ModelView]:
    """What can be had now, by name."""
    return {name: each.view() for name, each in offered(reports).items() if each.available}


def _every(reports: Mapping[str, EngineReport]) -> Iterator[Offered]:
    yield from (Offered(alias) for alias in ALIASES)
    yield Offered(AUTO, AUTO)
    engines = [report for report in reports.values() if report.transcribes]
    for report in engines:
        yield Offered(report.engine, report.engine, None, report.available)
    for report in engines:
        for model in report.models:
            name = f"{report.engine}-{model.name}".replace("/", "-")
            yield Offered(name, report.engine, model.name, report.available)


def settle(options: JobOptions, reports: Mapping[str, EngineReport], *, offline: bool) -> JobOptions:
    """The options with the engine and the model that the client's name for a model stands for.

    A name that GET /engines lists as a model takes whichever engine offers it. Raises ModelNotFound.
    """
    asked = options.model or ""
    name = DATE.sub("", asked) if DATE.sub("", asked) in ALIASES else asked
    every = offered(reports)
    if name in every:
        meant = every[name]
        diarizes = True if name == DIARIZES else options.enable_diarization
        engine = meant.engine or options.engine
        return options.model_copy(update={"engine": engine, "model": meant.model, "enable_diarization": diarizes})
    if any(model.name == asked for report in reports.values() for model in report.models):
        return at_its_engine(options, reports, offline=offline) or options
    raise ModelNotFound(asked, list(listed(reports)))
