"""A run as the subtitles dialect words it: what is to come out, and a model that may be an engine's name as well."""

from collections.abc import Mapping
from typing import Annotated, Self

from fastapi import Depends
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from api.dialects.subtitles_views import Uploaded
from api.forms import Name, bare_name
from api.intake import Intake
from api.model_wishes import settle
from config import telemetry
from domain.capabilities import AUTO, EngineReport
from domain.errors import Invalid
from domain.lifecycle import JobOptions
from domain.profiles import PROFILES, profile_named
from domain.subtitles import Format
from domain.videos import VideoMode
from services import engine_reports, submission, uploads, usage
from services.platform import Platform
from services.runs import Output, OutputType
from services.submission import Submission

DETECT = "auto"

FOR = {"format": ("subtitle",), "mode": ("video",), "profile": ("subtitle", "video")}
"""The outputs that a field is for: where it would change nothing, it is refused."""


class RunBody(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, json_schema_extra={"examples": [{"output_type": "subtitle"}]}
    )

    output_type: OutputType = Field(description="What GET /jobs/{job_id}/result is to answer.")
    model_name: Name | None = Field(
        default=None,
        description="A model that GET /engines lists, an engine, or both as in whisper-base. Left out, "
        "TRANSCRIPTION_MODEL is wished for; of a recording that has been heard, its transcript is taken.",
    )
    engine: Name | None = Field(default=None, description="An engine of GET /engines, `auto` for the best.")
    language: Name | None = Field(default=None, description="BCP 47 tag. `auto` or left out: the engine finds out.")
    format: Format | None = Field(default=None, description="Of subtitles; srt where left out.")
    profile: Name | None = Field(default=None, description=f"Rules of the cues: {', '.join(PROFILES)}.")
    mode: VideoMode | None = Field(
        default=None, description="Of a video: cues `burned` in (left out), or as a `track`."
    )

    @field_validator("language", mode="before")
    @classmethod
    def _detect(cls, said: object) -> object:
        return None if isinstance(said, str) and said.lower() == DETECT else said

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for name, outputs in FOR.items():
            if getattr(self, name) is not None and self.output_type not in outputs:
                raise Invalid(f"{name} is for output_type {' or '.join(outputs)}; leave it out", field=name)
        profile_named(self.profile or "default")
        return self

    @property
    def output(self) -> Output:
        return Output(self.output_type, self.format or "srt", self.profile or "default", self.mode or "burned")

    def named(self, reports: Mapping[str, EngineReport]) -> JobOptions:
        """What the caller has said in so many words."""
        engine, model = _read_model(self.model_name, reports)
        said = self.engine.lower() if self.engine else engine
        return JobOptions(engine=said or AUTO, model=model, language=self.language)


def _read_model(name: str | None, reports: Mapping[str, EngineReport]) -> tuple[str | None, str | None]:
    """Engine and model of a name that may be one, the other, or both: whisper-base is the model `base` of `whisper`."""
    if name is None:
        return None, None
    models = {engine: {model.name for model in report.models} for engine, report in reports.items()}
    if any(name in offered for offered in models.values()):
        return None, name
    engine, _, model = name.partition("-")
    if name.lower() in models:
        return name.lower(), None
    if model in models.get(engine.lower(), ()):
        return engine.lower(), model
    return None, name


async def read_run(platform: Platform, body: RunBody) -> tuple[JobOptions, Submission]:
    """What was named, and what a job is submitted with where one is needed."""
    reports, settings = await engine_reports.known(platform), platform.settings
    named = body.named(reports)
    wished, wish = _read_model(settings.subtitles.transcription_model, reports)
    if named.engine != AUTO or body.engine or named.model:
        wished = wish = None
    default = named.engine if named.engine != AUTO or body.engine else wished or settings.engines.default_engine
    options = settle(
        named.model_copy(update={"engine": default}),
        reports,
        wish=wish,
        setting="TRANSCRIPTION_MODEL",
        offline=settings.engines.offline,
    )
    return named, Submission(options)


class UploadIntake(Intake):
    async def take_upload(self) -> Uploaded:
        """Raises what submitting raises, but for what is said at a run."""
        form = await self._begin()
        await usage.refuse_early(self._platform, self._caller, besides=None)
        kept = await self._store(form)
        async with submission.discarding(self._platform, self._caller, kept):
            for name in form.fields:
                raise Invalid(f"there is no field {name!r} here; it is said with POST /jobs/JOB_ID/run", field=name)
            receipt = await uploads.receive(
                self._platform, self._caller, kept, filename=bare_name(form.filename), key=self._key
            )
        telemetry.note(job_id=str(receipt.job_id))
        if receipt.replayed:
            self._response.headers["Idempotent-Replayed"] = "true"
        return Uploaded(job_id=receipt.job_id, size_bytes=kept.stored.size_bytes)


UploadIntakeDep = Annotated[UploadIntake, Depends()]
