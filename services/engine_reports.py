"""Which engines there are, as workers reported them; and what a job may ask of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from db import engine_reports
from db.session import EVERYBODY
from domain.capabilities import AUTO, EngineReport
from domain.errors import UnknownEngine
from domain.lifecycle import JobOptions
from domain.wishes import Fit, fits, refusal
from services.platform import Platform

ALWAYS_KNOWN = ("asr", "whisperx")
"""Engines of the native contract: they can be named before any worker has reported them."""

NO_WORKER = "no worker is there: none has reported for some seconds"
NO_LONGER = "no worker has it any more: it was uninstalled, or its worker has gone"


async def record(platform: Platform, *, worker: str, reports: Sequence[EngineReport]) -> None:
    """Keep what `worker` sees; it is believed for a few seconds, and for longer while the worker vouches for it."""
    async with platform.sessions.begin() as session:
        await engine_reports.save(session, worker, reports)


async def vouch(platform: Platform, *, worker: str) -> int:
    """Have what `worker` last recorded believed for longer; of how many engines that is."""
    async with platform.sessions.directly() as connection:
        return await engine_reports.vouch(connection, worker)


async def withdraw(platform: Platform, *, worker: str) -> None:
    """Believe `worker` no longer: it takes no more jobs."""
    async with platform.sessions.alone() as session:
        await engine_reports.withdraw(session, worker)


async def known(platform: Platform) -> dict[str, EngineReport]:
    """Every engine by name, those that are a stage of others' jobs too, each believed only while a worker vouches."""
    async with platform.sessions.alone() as session:
        found = await engine_reports.latest(session)
    return _believed(platform, found)


def _believed(platform: Platform, found: Sequence[tuple[EngineReport, bool]]) -> dict[str, EngineReport]:
    gone = NO_LONGER if any(fresh for _, fresh in found) else NO_WORKER
    reports = {report.engine: report if fresh else report.away(gone) for report, fresh in found}
    for name in ALWAYS_KNOWN:
        reports.setdefault(name, EngineReport(engine=name, available=False, reason=_why_absent(name, platform)))
    return dict(sorted(reports.items()))


@dataclass(frozen=True, slots=True)
class Overview:
    """All that there is to know of the engines at one moment."""

    engines: dict[str, EngineReport]
    """Those that can be asked for, by name."""
    diarizer: EngineReport | None
    """What tells speakers apart for engines that do not."""
    workers: int
    queued: dict[str, int]
    """Jobs that wait, by the engine that was asked for; `auto` is one of the names."""
    real_time_factors: dict[str, float]
    """By name; an engine that has ended no job yet has none."""


async def overview(platform: Platform) -> Overview:
    async with platform.sessions.begin(owner=EVERYBODY) as session:
        reports = _believed(platform, await engine_reports.latest(session))
        diarizers = [report for report in reports.values() if report.is_diarizer]
        return Overview(
            engines={name: report for name, report in reports.items() if report.transcribes},
            diarizer=next(iter(sorted(diarizers, key=lambda report: not report.available)), None),
            workers=await engine_reports.count_workers(session),
            queued=await engine_reports.waiting(session),
            real_time_factors=await engine_reports.real_time_factors(session, list(reports)),
        )


def _why_absent(name: str, platform: Platform) -> str:
    setting, value = {
        "asr": ("RIVA_URI", platform.settings.engines.riva_uri),
        "whisperx": ("WHISPERX_SERVICE_URL", platform.settings.engines.whisperx_url),
    }[name]
    return NO_WORKER if value else f"{setting} is not set"


@dataclass(frozen=True, slots=True)
class Checked:
    """Options that can be honoured, as far as anybody can say now; what is to be waived, the worker waives."""

    options: JobOptions
    waits_for: str | None
    """Why no worker can begin now, or None where one can."""


def check(reports: Mapping[str, EngineReport], options: JobOptions) -> Checked:
    """Hold a job's options against what engines say of themselves.

    An engine that is away may come back with more than it had, so its job waits. The claim looks again in any case.
    Raises UnknownEngine, UnsupportedOption and its kin.
    """
    found = fits(reports.values(), options)
    if options.engine == AUTO:
        return Checked(options, _why_auto_waits(found, options))
    fit = next((fit for fit in found if fit.report.engine == options.engine), None)
    if fit is None:
        raise UnknownEngine(options.engine, [AUTO, *sorted(fit.report.engine for fit in found)])
    if not fit.report.available:
        return Checked(options, f"engine {options.engine!r} is not available: {fit.report.reason}")
    if fit.unmet and options.on_unsupported == "fail":
        raise refusal(fit, found)
    return Checked(options, None)


async def is_away(platform: Platform, options: JobOptions) -> bool:
    """Whether no worker that is believed could begin a job that asks for this now.

    Raises UnsupportedOption and its kin where no engine that any worker has told of could ever honour it.
    """
    try:
        return check(await known(platform), options).waits_for is not None
    except UnknownEngine:  # it was there when the job was made, and may be again
        return True


def _why_auto_waits(found: Sequence[Fit], options: JobOptions) -> str | None:
    """Raises UnsupportedOption and its kin where no engine could ever honour all that is asked."""
    here = [fit for fit in found if fit.report.available]
    if not here:
        return "no engine is available: " + (NO_WORKER if found else "none has been set up")
    if options.on_unsupported == "warn" or any(not fit.unmet for fit in here):
        return None
    # Away and without a list of languages, an engine knows not every one of them: nobody knows which.
    away = [fit.report for fit in found if not fit.report.available and not fit.unmet]
    if able := sorted(report.engine for report in away if report.languages or not options.language):
        return f"what is asked takes an engine that is not available now: {' or '.join(able)}"
    raise refusal(here[0], found, nearest=True)


async def any_worker(platform: Platform) -> bool:
    """Has any worker reported lately?"""
    async with platform.sessions.alone() as session:
        return await engine_reports.count_workers(session) > 0
