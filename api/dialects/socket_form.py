"""A submission as the socket dialect words it: a model is named, and the engine is whichever has it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from fastapi import Depends
from pydantic import Field, field_validator

from api.forms import Name, SubmitForm
from api.intake import Intake
from api.model_wishes import settle
from api.schemas import JobAccepted
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

    def _read(self, kind: type[SubmitForm], fields: Mapping[str, Any]) -> Submission:
        submission = super()._read(kind, fields)
        settings = self._platform.settings
        options = settle(
            submission.options,
            self._reports,
            wish=settings.sockets.default_model,
            setting="DEFAULT_MODEL",
            offline=settings.engines.offline,
        )
        return replace(submission, options=options)


SocketIntakeDep = Annotated[SocketIntake, Depends()]
