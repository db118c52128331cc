"""Which engine shall hear a job: a pure function of what the engines report."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from domain.capabilities import AUTO, EngineReport
from domain.lifecycle import JobOptions
from domain.wishes import SPEAKER_WISHES, Fit, Unmet, fits, refusal

LIKE_QUALITY = 10
"""Points of quality within which `auto` goes by load: one step of our own scale. `whisper` and `whisperx` stand that
far apart and have the same words from the same models, so that waiting in line costs more than the step."""


@dataclass(frozen=True, slots=True)
class Pick:
    report: EngineReport
    reason: str
    """Plain words for the result: "the best engine that is ready"."""

    unmet: tuple[Unmet, ...] = ()
    """What the engine cannot honour, where the caller wishes for warnings; else nothing."""


@dataclass(frozen=True, slots=True)
class NoEngine:
    reason: str
    """What is wrong and what to do; shown as the message of the waiting job."""

    permanent: bool
    """Can no passing of time help, as the engine itself cannot do what is asked?"""


def pick(
    reports: Sequence[EngineReport], options: JobOptions, *, passed_over: frozenset[str] = frozenset()
) -> Pick | NoEngine:
    """The engine for a job, by what these engines say of themselves; their order says nothing.

    `passed_over` are engines that were tried for this job and did not answer. For `auto` no answer is permanent, as
    another worker may have an engine that this one has not.
    """
    found = fits(reports, options)
    if options.engine == AUTO:
        return _pick_best(found, reports, options, passed_over)
    fit = next((fit for fit in found if fit.report.engine == options.engine), None)
    if fit is None:
        known = ", ".join(sorted(fit.report.engine for fit in found)) or "none"
        return NoEngine(f"no worker has an engine called {options.engine!r}; here now: {known}", permanent=False)
    return _pick_named(fit, found, options, passed_over)


def _pick_named(fit: Fit, found: list[Fit], options: JobOptions, passed_over: frozenset[str]) -> Pick | NoEngine:
    name = fit.report.engine
    if name in passed_over:
        return NoEngine(f"engine {name!r} did not answer", permanent=False)
    if not fit.report.available:
        why = fit.report.reason or "it gives no reason"
        return NoEngine(f"engine {name!r} is not available: {why}", permanent=False)
    if fit.unmet and options.on_unsupported == "fail":
        return NoEngine(str(refusal(fit, found)), permanent=True)
    return Pick(fit.report, "the engine that was asked for", fit.unmet)


def _pick_best(
    found: list[Fit], reports: Sequence[EngineReport], options: JobOptions, passed_over: frozenset[str]
) -> Pick | NoEngine:
    here = [fit for fit in found if fit.report.available and fit.report.engine not in passed_over]
    ready = [fit for fit in here if _is_ready(fit, options.model)]
    able = [fit for fit in ready if not fit.unmet]
    after = f", after {_listed(sorted(passed_over))}, which did not answer" if passed_over else ""
    if able:
        chosen = _least_busy(able)
        return Pick(chosen.report, _why(chosen, able, len(ready), options) + after)
    if ready and options.on_unsupported == "warn":
        return Pick(ready[0].report, f"the ready engine that comes nearest to what was asked{after}", ready[0].unmet)
    return NoEngine(_why_none(found, here, reports, passed_over), permanent=False)


def _is_ready(fit: Fit, model: str | None) -> bool:
    """Could the job start without a download?"""
    states = {offered.name: offered.state for offered in fit.report.models}
    return states[model] == "ready" if model in states else fit.report.ready


def _least_busy(able: list[Fit]) -> Fit:
    best = able[0].report.quality
    like = [fit for fit in able if best - fit.report.quality <= LIKE_QUALITY]
    return min(like, key=lambda fit: (fit.report.load, -fit.report.quality, fit.report.engine))


def _why(chosen: Fit, able: list[Fit], ready: int, options: JobOptions) -> str:
    abilities = _abilities(options)
    if ready == 1:
        return "the only engine that is ready"
    if len(able) == 1:
        return f"the only ready engine that {_listed(abilities)}"
    best = able[0].report
    praise = f"the best engine that {_listed(['is ready', *abilities])}"
    if chosen.report == best:
        return praise
    busy = f"has {_jobs(best.load)} in line, while {chosen.report.engine}, which comes close, has"
    return f"{best.engine}, {praise}, {busy} {_jobs(chosen.report.load)}"


def _abilities(options: JobOptions) -> list[str]:
    """What the job asks for, said of an engine that can."""
    asked = [
        (options.language, f"knows {options.language}"),
        (options.model, f"has model {options.model}"),
        (any(getattr(options, name) for name in SPEAKER_WISHES), "tells speakers apart"),
        (options.context_id or options.terms, "can be told which words to expect"),
        (options.engine_options, f"takes {_listed(sorted(options.engine_options))}"),
    ]
    return [ability for is_asked, ability in asked if is_asked]


def _jobs(count: int) -> str:
    return "none" if count == 0 else "1 job" if count == 1 else f"{count} jobs"


def _listed(words: Sequence[str]) -> str:
    """ "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def _why_none(found: list[Fit], here: list[Fit], reports: Iterable[EngineReport], passed_over: frozenset[str]) -> str:
    if absent := sorted(fit.report.engine for fit in here if not fit.unmet):
        return (
            f"no engine is ready; {' or '.join(absent)} would be after a download: name it as the engine to start that"
        )
    if here:
        return str(refusal(here[0], found, nearest=True))
    reasons = [f"{name}: it did not answer" for name in sorted(passed_over)]
    reasons += sorted(
        f"{report.engine}: {report.reason}" for report in reports if report.reason and report.engine not in passed_over
    )
    return f"no engine is available ({'; '.join(reasons) or 'none is set up'})"
