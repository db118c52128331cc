"""A submission as the socket dialect words it: a model is named, and the engine is whichever has it."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import Depends
from pydantic import Field, field_validator

from api.forms import Name, SubmitForm
from api.intake import Intake
from api.schemas import JobAccepted
from domain.capabilities import AUTO, EngineReport, ModelState
from domain.lifecycle import JobOptions
from domain.transcript import Notice
from domain.wishes import fits
from services import engine_reports
from services.submission import Submission

DETECT = "auto"


class SocketForm(SubmitForm):
    language: str | None = Field(
        default=None,
        description="BCP 47 tag (en, en-US, pt-BR). `auto` or left out: the engine finds out, where it can.",
        examples=["auto", "es"],
    )
    model: Name | None = Field(
        default=None,
        description="A model that GET /engines lists; an engine that offers it takes the job, or it is refused. "
        "Left out, DEFAULT_MODEL is wished for.",
        examples=["medium"],
    )
    return_timestamps: bool = Field(
        default=True, description="false: the result that this dialect gives is the text alone, `segments` is empty."
    )

    @field_validator("language", mode="before")
    @classmethod
    def _detect(cls, said: object) -> object:
        return None if isinstance(said, str) and said.lower() == DETECT else said


class SocketIntake(Intake):
    async def take_job(self) -> JobAccepted:
        """Raises what submitting raises; UnknownModel where the caller names a model that no engine offers."""
        self._reports = await engine_reports.known(self._platform)
        return await self.take(SocketForm)

    def _read(self, kind: type[SubmitForm], fields: dict[str, str]) -> Submission:
        submission = super()._read(kind, fields)
        settings = self._platform.settings
        options = settle(
            submission.options, self._reports, wish=settings.sockets.default_model, offline=settings.engines.offline
        )
        return Submission(
            options=options,
            session_id=submission.session_id,
            delete_after_seconds=submission.delete_after_seconds,
            wait=submission.wait,
        )


SocketIntakeDep = Annotated[SocketIntake, Depends()]


def settle(options: JobOptions, reports: Mapping[str, EngineReport], *, wish: str | None, offline: bool) -> JobOptions:
    """Name the engine that has the model, as `auto` takes only what is there without a download.

    An engine that the operator has set as the default comes first. A model that the caller wrote and that nobody
    offers stays where it is, for the submission to be refused. A wish is met by that default engine, or by any where
    the default is `auto`; unmet, it becomes a warning.
    """
    if options.model is not None:
        return _at_its_engine(options, reports, offline=offline) or options
    if wish is None:
        return options
    met = _at_its_engine(options.model_copy(update={"model": wish}), reports, offline=offline)
    if met is not None and options.engine in (AUTO, met.engine):
        return met
    notice = Notice(
        code="default_model_not_offered",
        message=f"DEFAULT_MODEL is {wish!r}, which the engine does not offer here; it took its own default",
    )
    return options.model_copy(update={"warnings": (*options.warnings, notice.model_dump())})


def _at_its_engine(options: JobOptions, reports: Mapping[str, EngineReport], *, offline: bool) -> JobOptions | None:
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
