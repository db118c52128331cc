"""Models by name, where a caller knows no engines: whichever has the model takes the job."""

from collections.abc import Mapping

from domain.capabilities import AUTO, EngineReport, ModelState
from domain.lifecycle import JobOptions
from domain.transcript import Notice
from domain.wishes import fits


def settle(
    options: JobOptions, reports: Mapping[str, EngineReport], *, wish: str | None, setting: str, offline: bool
) -> JobOptions:
    """Name the engine that has the model, as `auto` takes only what is there without a download.

    An engine that the operator has set as the default comes first. A model that the caller wrote and that nobody
    offers stays where it is, for the submission to be refused. A wish is met by that default engine, or by any where
    the default is `auto`; unmet, it becomes a warning that names the `setting` it came from.
    """
    if options.model is not None:
        return at_its_engine(options, reports, offline=offline) or options
    if wish is None:
        return options
    met = at_its_engine(options.model_copy(update={"model": wish}), reports, offline=offline)
    if met is not None and options.engine in (AUTO, met.engine):
        return met
    notice = Notice(
        code="default_model_not_offered",
        message=f"{setting} is {wish!r}, which the engine does not offer here; it took its own default",
    )
    return options.model_copy(update={"warnings": (*options.warnings, notice.model_dump())})


def at_its_engine(options: JobOptions, reports: Mapping[str, EngineReport], *, offline: bool) -> JobOptions | None:
    """The options with an engine that offers their model, one that has it before one that would fetch it; or None."""
    found = fits(reports.values(), options.model_copy(update={"engine": AUTO}))
    states = {fit.report.engine: _state(fit.report, options.model) for fit in found if fit.report.available}
    able = [engine for engine, state in states.items() if state and not (offline and state == "absent")]
    if not able:
        return None
    engine = options.engine if options.engine in able else min(able, key=lambda name: states[name] != "ready")
    return options.model_copy(update={"engine": engine})


def _state(report: EngineReport, model: str | None) -> ModelState | None:
    return next((offered.state for offered in report.models if offered.name == model), None)
