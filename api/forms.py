"""The form fields of the three submit routes, each read into what the platform calls them."""

import re
from pathlib import PureWindowsPath
from typing import Any, ClassVar, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from domain.errors import Invalid
from domain.lifecycle import JobOptions
from services.submission import Submission

LONGEST_FILENAME = 255
ROLE = re.compile(r"[a-z][a-z0-9_-]{0,31}")


class SubmitForm(BaseModel):
    """Fields that every submit route takes. A field that is empty counts as left out; one we do not know is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    engine_name: ClassVar[str | None] = None

    session_id: UUID | None = Field(default=None, description="Groups jobs; filter the list of jobs by it.")
    language: str | None = Field(
        default=None,
        description="BCP 47 tag (en, en-US, pt-BR). Left out: the engine's default for `asr`, detection elsewhere.",
        examples=["en-US"],
    )
    channel_roles: tuple[str, ...] = Field(
        default=(),
        max_length=8,
        description="Who speaks on each channel of a recording, in order: provider,patient.",
        examples=["provider,patient"],
    )
    wait: bool = Field(default=True, description="false: answer 503 at once where the engine is not there.")
    on_unsupported: Literal["fail", "warn"] = Field(
        default="fail", description="warn: an option that the engine cannot honour becomes a warning in the result."
    )

    @field_validator("channel_roles", mode="before")
    @classmethod
    def _split(cls, said: object) -> object:
        roles = tuple(role.strip().lower() for role in said.split(",")) if isinstance(said, str) else said
        if isinstance(roles, tuple) and not all(ROLE.fullmatch(str(role)) for role in roles):
            raise ValueError("names like provider,patient: one for each channel, of letters, digits, - and _")
        return roles

    @classmethod
    def read(cls, fields: dict[str, str]) -> Self:
        """Raises Invalid, naming the first field at fault."""
        try:
            return cls.model_validate({name: value for name, value in fields.items() if value != ""})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = str(first["loc"][0])
            if first["type"] == "extra_forbidden":
                known = ", ".join(["file", *cls.model_fields])
                raise Invalid(f"there is no field {name!r} here; the form takes {known}", field=name) from error
            raise Invalid(f"{name}: {first['msg']}", field=name) from error

    def submission(self, default_engine: str) -> Submission:
        chosen = self.model_dump(exclude={"session_id", "wait"}, exclude_none=True)
        options = JobOptions.model_validate({"engine": self.engine_name or default_engine, **chosen})
        return Submission(options=options, session_id=self.session_id, wait=self.wait)


class AsrForm(SubmitForm):
    engine_name = "asr"

    context_id: UUID | None = Field(default=None, description="A vocabulary whose terms are boosted.")


class WhisperXForm(SubmitForm):
    engine_name = "whisperx"

    model: str | None = Field(default=None, description="tiny, base, small, medium, large-v2 or large-v3.")
    enable_diarization: bool = Field(default=True, description="Tell speakers apart; a wish, met or warned about.")
    min_speakers: int | None = Field(default=None, ge=1, le=64)
    max_speakers: int | None = Field(default=None, ge=1, le=64)


class AnyEngineForm(SubmitForm):
    engine: str | None = Field(default=None, description="One of GET /engines, or `auto` for the best that is ready.")
    model: str | None = None
    context_id: UUID | None = None
    enable_diarization: bool | None = None
    min_speakers: int | None = Field(default=None, ge=1, le=64)
    max_speakers: int | None = Field(default=None, ge=1, le=64)

    @field_validator("engine")
    @classmethod
    def _in_lower_case(cls, engine: str | None) -> str | None:
        return engine.lower() if engine else engine


def bare_name(filename: str | None) -> str | None:
    """The last part of a name, whatever system wrote it, without control characters."""
    if filename is None:
        return None
    name = "".join(character for character in PureWindowsPath(filename).name if character.isprintable())
    return name[:LONGEST_FILENAME] or None


def openapi_body(form: type[SubmitForm]) -> dict[str, Any]:
    """The request body as OpenAPI sees it: the routes read it from the socket themselves."""
    schema = form.model_json_schema()
    properties = {
        "file": {"type": "string", "format": "binary", "description": "The recording."},
        **schema["properties"],
    }
    body = {"type": "object", "required": ["file"], "properties": properties}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": body}}}}
