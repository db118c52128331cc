"""Which engines there are, as workers reported them; and what a job may ask of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from db import engine_reports
from domain.capabilities import AUTO, EngineReport
from domain.errors import UnknownEngine, UnknownModel, UnsupportedLanguage, UnsupportedOption
from domain.lifecycle import JobOptions
from domain.transcript import Notice
from services.platform import Platform

ALWAYS_KNOWN = ("asr", "whisperx")
"""Engines of the native contract: they can be named before any worker has reported them."""

NO_WORKER = "no worker has reported for a while"


async def record(platform: Platform, *, worker: str, reports: Sequence[EngineReport]) -> None:
    async with platform.sessions.begin() as session:
        await engine_reports.save(session, worker, reports)


async def known(platform: Platform) -> dict[str, EngineReport]:
    """Every engine by name, believed only while a worker vouches for it."""
    async with platform.sessions.alone() as session:
        found = await engine_reports.latest(session)
    reports = {report.engine: report if fresh else _stale(report) for report, fresh in found}
    for name in ALWAYS_KNOWN:
        reports.setdefault(name, EngineReport(engine=name, available=False, reason=_why_absent(name, platform)))
    return dict(sorted(reports.items()))


def _stale(report: EngineReport) -> EngineReport:
    return report.model_copy(update={"available": False, "reason": NO_WORKER})


def _why_absent(name: str, platform: Platform) -> str:
    setting, value = {
        "asr": ("RIVA_URI", platform.settings.engines.riva_uri),
        "whisperx": ("WHISPERX_SERVICE_URL", platform.settings.engines.whisperx_url),
    }[name]
    return NO_WORKER if value else f"{setting} is not set"


@dataclass(frozen=True, slots=True)
class Checked:
    """Options that the chosen engine can honour, and what had to be said about them."""

    options: JobOptions
    waits_for: str | None
    """Why no worker can begin now, or None where one can."""


def check(reports: dict[str, EngineReport], options: JobOptions) -> Checked:
    """Hold a job's options against what engines say of themselves.

    Raises UnknownEngine, UnknownModel, UnsupportedLanguage, UnsupportedOption.
    """
    if options.engine == AUTO:
        return Checked(options, _why_auto_waits(reports, options))
    report = reports.get(options.engine)
    if report is None:
        raise UnknownEngine(options.engine, [AUTO, *reports])
    if options.language and report.languages and not report.knows_language(options.language):
        raise UnsupportedLanguage(options.language, report.engine, list(report.languages))
    names = [model.name for model in report.models]
    if options.model and (report.models or report.available) and options.model not in names:
        raise UnknownModel(options.model, report.engine, names)
    waits_for = None if report.available else f"engine {report.engine!r} is not available: {report.reason}"
    return Checked(_waive(reports, report, options), waits_for)


def _why_auto_waits(reports: dict[str, EngineReport], options: JobOptions) -> str | None:
    able = [report for report in reports.values() if report.available]
    if not able:
        return "no engine is available: " + (NO_WORKER if reports else "none has been set up")
    if options.language and not any(report.knows_language(options.language) for report in able):
        return f"no available engine knows {options.language!r}"
    return None


def _waive(reports: dict[str, EngineReport], report: EngineReport, options: JobOptions) -> JobOptions:
    """Refuse what the engine cannot do; or, where the caller wishes for warnings instead, say so and go on."""
    if not report.available:
        return options  # what it can do is not known yet; the claim looks again
    asked = [name for name in ("min_speakers", "max_speakers") if getattr(options, name) is not None]
    asked += ["enable_diarization"] if options.enable_diarization else []
    unmet = [] if report.diarizes else asked
    unmet += ["context_id"] if options.context_id and not report.boosts_words else []
    for name in unmet:
        if options.on_unsupported == "fail":
            able = [other.engine for other in reports.values() if _can(other, name)]
            raise UnsupportedOption(name, report.engine, able)
    notices = [
        Notice(code="option_not_honoured", message=f"engine {report.engine!r} cannot honour {name!r}") for name in unmet
    ]
    kept = [notice.model_dump() for notice in notices]
    waived: dict[str, object] = dict.fromkeys(unmet)
    return options.model_copy(update={**waived, "warnings": (*options.warnings, *kept)})


def _can(report: EngineReport, option: str) -> bool:
    return report.boosts_words if option == "context_id" else report.diarizes


async def queue_depths(platform: Platform) -> dict[str, int]:
    """Jobs that wait, by the engine that was asked for."""
    async with platform.sessions.alone() as session:
        return await engine_reports.waiting(session)


async def any_worker(platform: Platform) -> bool:
    """Has any worker reported lately?"""
    async with platform.sessions.alone() as session:
        return any(fresh for _, fresh in await engine_reports.latest(session))
