"""What a job asks of an engine, and what of it the engine cannot do: one rule for doors, for workers and for `auto`.

Pure. An option that cannot be honoured is refused (`refusal`), or waived with a warning (`waive`), never forgotten.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from domain.capabilities import AUTO, EngineReport
from domain.errors import UnknownModel, UnsupportedLanguage, UnsupportedOption
from domain.lifecycle import JobOptions
from domain.transcript import Notice

SPEAKER_HINTS = ("num_speakers", "min_speakers", "max_speakers")
SPEAKER_WISHES = ("enable_diarization", *SPEAKER_HINTS)

OWN_OPTIONS = "options"
"""What doors call `JobOptions.engine_options`; one of them is `options.<name>`."""

MOST_NAMED = 20
"""Languages that a message lists; Whisper knows a hundred."""

LONGEST_LIMIT = 100
"""Characters that a message quotes of a schema's rule."""

_NOT_HONOURED: dict[str, type[UnsupportedOption]] = {"language": UnsupportedLanguage, "model": UnknownModel}


@dataclass(frozen=True, slots=True)
class Unmet:
    """An option that an engine cannot honour."""

    option: str
    """As the caller knows it: `language`, `num_speakers`, `options.hotwords`."""

    why: str
    """Said of the engine, in plain words, without the caller's text: "it tells no speakers apart"."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How an engine fits a job, whether or not it is there now."""

    report: EngineReport
    unmet: tuple[Unmet, ...]

    def honours(self, option: str) -> bool:
        return all(missing.option != option for missing in self.unmet)


def fits(reports: Iterable[EngineReport], options: JobOptions) -> list[Fit]:
    """Every engine that could be meant, that which comes nearest to what is asked first; of equals the best one."""
    every = list(reports)
    diarizer = next((report for report in every if report.available and report.is_diarizer), None)
    meant = [report for report in every if report.transcribes and (report.auto or options.engine != AUTO)]
    found = [Fit(report, unmet(report, options, diarizer=diarizer)) for report in meant]
    return sorted(found, key=_distance)


def _distance(fit: Fit) -> tuple[bool, int, int, str]:
    """The language first: in one that it does not know, whatever else an engine can do is worth nothing."""
    return not fit.honours("language"), len(fit.unmet), -fit.report.quality, fit.report.engine


def unmet(report: EngineReport, options: JobOptions, *, diarizer: EngineReport | None = None) -> tuple[Unmet, ...]:
    """What the engine cannot honour of `options`, going by what it says of itself.

    `diarizer` is the platform's own: where it is available, it tells speakers apart for engines that cannot. Channels
    with a role each are heard apart with every engine. Of its own options an engine honours those that are named in
    its schema's `properties`, as one that it does not name would be dropped in silence.
    """
    return (
        *_unmet_language(report, options),
        *_unmet_model(report, options),
        *_unmet_speakers(report, options, diarizer),
        *_unmet_vocabulary(report, options),
        *_unmet_own(report.options, options.engine_options),
    )


def waive(options: JobOptions, engine: str, missing: Sequence[Unmet]) -> JobOptions:
    """The options without what `engine` cannot honour, and with a warning for each in its place."""
    names = {each.option for each in missing}
    without: dict[str, Any] = {name: None for name in names if name in JobOptions.model_fields}
    if names & {"context_id", "keywords"}:
        without |= {"context_version": None, "terms": ()}
    own = {
        name: value
        for name, value in options.engine_options.items()
        if OWN_OPTIONS not in names and f"{OWN_OPTIONS}.{name}" not in names
    }
    notices = [
        Notice(code="option_not_honoured", message=f"engine {engine!r} cannot honour {each.option!r}: {each.why}")
        for each in missing
    ]
    warnings = (*options.warnings, *(notice.model_dump() for notice in notices))
    return options.model_copy(update={**without, "engine_options": own, "warnings": warnings})


def refusal(fit: Fit, all_fits: Iterable[Fit], *, nearest: bool = False) -> UnsupportedOption:
    """Why `fit`'s engine shall not hear the job: the first thing that it cannot honour, and which engines could.

    `nearest`: it was not asked for, but comes nearest to what was.
    """
    first = fit.unmet[0]
    able = [other.report.engine for other in all_fits if other.report.available and other.honours(first.option)]
    name = repr(fit.report.engine)
    who = f"the engine that comes nearest, {name}," if nearest else f"engine {name}"
    return _NOT_HONOURED.get(first.option, UnsupportedOption)(first.option, who, first.why, sorted(able))


def _unmet_language(report: EngineReport, options: JobOptions) -> Iterator[Unmet]:
    if options.language is not None and not report.knows_language(options.language):
        count = len(report.languages)
        knows = ", ".join(report.languages) if count <= MOST_NAMED else f"{count} others"
        yield Unmet("language", f"it does not know {options.language!r}; it knows {knows}")


def _unmet_model(report: EngineReport, options: JobOptions) -> Iterator[Unmet]:
    names = [model.name for model in report.models]
    if options.model is not None and options.model not in names:
        offers = f"it offers {', '.join(names)}" if names else "it offers no choice of models"
        yield Unmet("model", f"it has no model {options.model!r}; {offers}")


def _unmet_speakers(report: EngineReport, options: JobOptions, diarizer: EngineReport | None) -> Iterator[Unmet]:
    if report.diarizes:
        for name in SPEAKER_HINTS:
            if getattr(options, name) and name not in report.speaker_hints:
                yield Unmet(name, f"of the number of speakers it can only be told {' or '.join(report.speaker_hints)}")
        return
    if diarizer is not None and diarizer.available:
        return
    for name in SPEAKER_WISHES:
        if getattr(options, name):
            yield Unmet(name, "it tells no speakers apart")


def _unmet_vocabulary(report: EngineReport, options: JobOptions) -> Iterator[Unmet]:
    if (options.context_id or options.terms) and not report.boosts_words:
        yield Unmet("context_id" if options.context_id else "keywords", "it cannot be told which words to expect")


def _unmet_own(schema: dict[str, Any], given: Mapping[str, Any]) -> Iterator[Unmet]:
    if not given:
        return
    kind = validator_for(schema, default=Draft202012Validator)
    try:
        kind.check_schema(schema)
        known = schema.get("properties", {})
        # An empty registry: a schema of a stranger's shall not make us fetch what it refers to.
        misfits = list(_misfits(kind(schema, registry=Registry()), known, given))
    except (SchemaError, Unresolvable):
        yield Unmet(OWN_OPTIONS, "what it says of its options is no JSON Schema that can be used")
        return
    has = f"it has {', '.join(sorted(known))}" if known else "it has none of its own"
    for name in sorted(given.keys() - known.keys()):
        yield Unmet(f"{OWN_OPTIONS}.{name}", f"it has no such option; {has}")
    yield from misfits


def _misfits(validator: Validator, known: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[Unmet]:
    """Of the options that the engine knows, those with a value that it does not take."""
    named = {name: value for name, value in given.items() if name in known}
    faults: dict[str, ValidationError] = {}
    for fault in validator.iter_errors(named):
        if fault.absolute_path:
            faults.setdefault(str(fault.absolute_path[0]), fault)
    for name, fault in sorted(faults.items()):
        about = known[name].get("description") if isinstance(known[name], dict) else None
        yield Unmet(f"{OWN_OPTIONS}.{name}", _rule(fault) + (f" ({about})" if about else ""))
    rest = {name: value for name, value in named.items() if name not in faults}
    if rest and (broken := next(validator.iter_errors(rest), None)):
        yield Unmet(OWN_OPTIONS, f"together, {_rule(broken)}")


def _rule(fault: ValidationError) -> str:
    """What was broken, in the schema's words: those of the library quote the caller's."""
    limit = str(fault.validator_value)
    return f"it wants {fault.validator}" + (f" {limit}" if len(limit) <= LONGEST_LIMIT else "")
