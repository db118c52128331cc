"""Which engine shall hear a job: a pure function of what the engines report."""

from collections.abc import Sequence
from dataclasses import dataclass

from domain.capabilities import AUTO, EngineReport


@dataclass(frozen=True, slots=True)
class Pick:
    report: EngineReport
    reason: str
    """Plain words for the result: "the best engine that is ready"."""


@dataclass(frozen=True, slots=True)
class NoEngine:
    reason: str
    """What is wrong and what to do; shown as the message of the waiting job."""

    permanent: bool
    """Can no passing of time help, as the engine itself cannot do what is asked?"""


def pick(
    reports: Sequence[EngineReport], wanted: str, *, language: str | None = None, model: str | None = None
) -> Pick | NoEngine:
    """The engine for a job that names `wanted`, an engine or "auto", and perhaps a language (BCP 47) and a model."""
    if wanted == AUTO:
        return _pick_best(reports, language, model)
    report = next((report for report in reports if report.engine == wanted), None)
    if report is None:
        known = ", ".join(sorted(report.engine for report in reports)) or "none"
        return NoEngine(f"no worker has an engine called {wanted!r}; here now: {known}", permanent=False)
    return _pick_named(report, language, model)


def _pick_named(report: EngineReport, language: str | None, model: str | None) -> Pick | NoEngine:
    if not report.available:
        why = report.reason or "it gives no reason"
        return NoEngine(f"engine {report.engine!r} is not available: {why}", permanent=False)
    if language is not None and not report.knows_language(language):
        known = ", ".join(report.languages)
        return NoEngine(f"engine {report.engine!r} does not know {language!r}; it knows {known}", permanent=True)
    if not _offers(report, model):
        offers = ", ".join(offered.name for offered in report.models) or "no choice of models"
        return NoEngine(f"engine {report.engine!r} has no model {model!r}; it offers {offers}", permanent=True)
    return Pick(report, "the engine that was asked for")


def _pick_best(reports: Sequence[EngineReport], language: str | None, model: str | None) -> Pick | NoEngine:
    available = [report for report in reports if report.available]
    ready = [report for report in available if _ready(report, model)]
    able = [report for report in ready if language is None or report.knows_language(language)]
    if able:
        best = min(able, key=lambda report: (-report.quality, report.engine))
        return Pick(best, _why(able, ready, language))
    speakers = [report for report in available if language is None or report.knows_language(language)]
    absent = sorted(report.engine for report in speakers if _offers(report, model))
    if absent:
        return NoEngine(
            f"no engine is ready; {' or '.join(absent)} would be after a download: name it as the engine to start that",
            permanent=False,
        )
    if available and not speakers:
        return NoEngine(f"no engine here knows {language!r}", permanent=False)
    if model is not None and speakers:
        return NoEngine(f"no engine here has a model {model!r}", permanent=False)
    reasons = "; ".join(f"{report.engine}: {report.reason}" for report in reports if report.reason)
    return NoEngine(f"no engine is available ({reasons or 'none is set up'})", permanent=False)


def _why(able: list[EngineReport], ready: list[EngineReport], language: str | None) -> str:
    if len(ready) == 1:
        return "the only engine that is ready"
    if len(able) == 1:
        return f"the only ready engine that knows {language}"
    return f"the best engine that is ready and knows {language}" if language else "the best engine that is ready"


def _offers(report: EngineReport, model: str | None) -> bool:
    return model is None or any(offered.name == model for offered in report.models)


def _ready(report: EngineReport, model: str | None) -> bool:
    if model is None:
        return report.ready
    return any(offered.name == model and offered.state == "ready" for offered in report.models)
