"""The form fields of the three submit routes, each read into what the platform calls them."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import PureWindowsPath
from typing import Annotated, Any, ClassVar, Literal, Self
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema, field_validator

from domain.errors import Invalid
from domain.lanes import Lane
from domain.lifecycle import JobOptions
from domain.text import IS_PLAIN, plain
from services.submission import LONGEST_KEPT_SECONDS, Submission

LONGEST_FILENAME = 255
ROLE = re.compile(r"[a-z][a-z0-9_-]{0,31}")

LONGEST_NAME = 200
LONGEST_TEXT = 4_000
"""Characters; Whisper reads some 223 tokens of it, or about a quarter."""
LONGEST_OPTIONS = 16_384
DEEPEST_OPTIONS = 4
LONGEST_INTEGER = 15
"""Digits: beyond 2**53, JSON's readers differ (RFC 8259, section 6)."""


def read_object(said: str, *, deepest: int, such_as: str) -> dict[str, Any]:
    """A JSON object that can be kept and passed on as it is. Raises ValueError."""
    try:
        read = json.loads(said, object_pairs_hook=_without_doubles, parse_int=_small_integer)
    except (json.JSONDecodeError, RecursionError):
        read = None
    if not isinstance(read, dict):
        raise ValueError(f"it takes a JSON object, such as {such_as}")
    _refuse_odd(read, deepest=deepest)
    return read


def _read_options(said: object) -> object:
    if not isinstance(said, str):
        return said
    if len(said) > LONGEST_OPTIONS:
        raise ValueError(f"at most {LONGEST_OPTIONS:,} characters are taken")
    return read_object(said, deepest=DEEPEST_OPTIONS, such_as='{"hotwords": "metoprolol"}')


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name comes twice in one object")
    return found


def _small_integer(digits: str) -> int:
    if len(digits) > LONGEST_INTEGER:
        raise ValueError(f"whole numbers of at most {LONGEST_INTEGER} digits are taken")
    return int(digits)


def _refuse_odd(value: object, *, deepest: int, depth: int = 0) -> None:
    """Refuse what cannot be kept or passed on as it is."""
    if depth > deepest:
        raise ValueError(f"at most {deepest} objects or lists within one another are taken")
    match value:
        case str():
            plain(value)
        case float() if not math.isfinite(value):
            raise ValueError("numbers are finite")
        case list():
            for each in value:
                _refuse_odd(each, deepest=deepest, depth=depth + 1)
        case dict():
            for name, each in value.items():
                if len(plain(name)) > LONGEST_NAME:
                    raise ValueError(f"names of at most {LONGEST_NAME} characters are taken")
                _refuse_odd(each, deepest=deepest, depth=depth + 1)


Name = Annotated[str, Field(max_length=LONGEST_NAME), IS_PLAIN]
FreeText = Annotated[str, Field(max_length=LONGEST_TEXT), IS_PLAIN]
Options = Annotated[dict[str, Any], BeforeValidator(_read_options)]
Count = Annotated[int, Field(ge=1, le=64)]
OneOfLanes = Annotated[Lane, WithJsonSchema({"type": "string", "enum": [str(lane) for lane in Lane]})]
"""Spelt out, as a form's properties stand in the document without what they would refer to."""


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
    delete_after_seconds: int | None = Field(
        default=None,
        ge=1,
        le=LONGEST_KEPT_SECONDS,
        description="Erase the job, its recording and its transcript so long after its end; a receipt stays.",
    )
    lane: OneOfLanes | None = Field(
        default=None,
        description="Which jobs it goes before: `interactive`, for what somebody waits for (takes the scope "
        "`jobs:interactive`), `normal`, or `bulk`, for a backlog. Left out: `normal`; in a batch `bulk`.",
    )
    wait: bool = Field(default=True, description="false: answer 503 at once where the engine is not there.")
    on_unsupported: Literal["fail", "warn"] = Field(
        default="fail", description="warn: an option that the engine cannot honour becomes a warning in the result."
    )

    @field_validator("channel_roles", mode="before")
    @classmethod
    def _split(cls, said: object) -> object:
        said = said.split(",") if isinstance(said, str) else said
        if not isinstance(said, list):
            return said
        roles = tuple(role.strip().lower() if isinstance(role, str) else role for role in said)
        if not all(ROLE.fullmatch(str(role)) for role in roles):
            raise ValueError("names like provider,patient: one for each channel, of letters, digits, - and _")
        return roles

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> Self:
        """The fields of a form, or the members of a JSON object. Raises Invalid, naming the first field at fault."""
        try:
            return cls.model_validate({name: value for name, value in fields.items() if value not in ("", None)})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = str(first["loc"][0])
            if first["type"] == "extra_forbidden":
                known = ", ".join(["file", *(field.alias or name for name, field in cls.model_fields.items())])
                raise Invalid(f"there is no field {name!r} here; the form takes {known}", field=name) from error
            raise Invalid(f"{name}: {first['msg']}", field=name) from error

    def submission(self, default_engine: str) -> Submission:
        """Raises Invalid where two fields contradict each other.

        A default that the caller did not write is no wish of theirs, for which a job could be refused: it is left to
        the engine.
        """
        kept = set(JobOptions.model_fields) & self.model_fields_set
        chosen = {"engine": self.engine_name or default_engine, **self.model_dump(include=kept)}
        options = JobOptions.model_validate({**chosen, "engine_options": self.engine_options()})
        return Submission(
            options=options,
            session_id=self.session_id,
            delete_after_seconds=self.delete_after_seconds,
            wait=self.wait,
            lane=self.lane,
        )

    def engine_options(self) -> dict[str, Any]:
        """What is for the engine alone. Raises Invalid."""
        return {}


class AsrForm(SubmitForm):
    engine_name = "asr"

    context_id: UUID | None = Field(default=None, description="A vocabulary whose terms are boosted.")


class ModelForm(SubmitForm):
    """Fields of engines that have models to choose from, tell speakers apart, or take a prompt."""

    model: Name | None = Field(default=None, description="One of the engine's models, as GET /engines lists them.")
    context_id: UUID | None = Field(default=None, description="A vocabulary whose terms the engine listens for.")
    num_speakers: Count | None = Field(default=None, description="Exactly so many speak.")
    min_speakers: Count | None = Field(default=None, description="At least so many speak.")
    max_speakers: Count | None = Field(default=None, description="At most so many speak.")
    hotwords: FreeText | None = Field(
        default=None,
        description="Words to listen for, parted by commas; short for the engine's own option of that name.",
        examples=["metoprolol, Dr. Okafor"],
    )
    initial_prompt: FreeText | None = Field(
        default=None,
        description="Text that the engine takes for what was said before; short for its own option of that name.",
    )

    def engine_options(self) -> dict[str, Any]:
        said = {"hotwords": self.hotwords, "initial_prompt": self.initial_prompt}
        return {name: text for name, text in said.items() if text is not None}


class WhisperXForm(ModelForm):
    engine_name = "whisperx"

    enable_diarization: bool = Field(
        default=True, description="Tell speakers apart. Left out, it is a wish, met or warned about."
    )


class AnyEngineForm(ModelForm):
    engine: str | None = Field(
        default=None, max_length=64, description="One of GET /engines, or `auto` for the best that is ready."
    )
    enable_diarization: bool | None = Field(
        default=None, description="Tell speakers apart. Left out, the engine does as it does by itself."
    )
    options: Options | None = Field(
        default=None,
        description=f"The engine's own options, a JSON object that fits its schema in GET /engines; at most "
        f"{LONGEST_OPTIONS:,} characters, {DEEPEST_OPTIONS} levels deep.",
        examples=['{"initial_prompt": "Minutes of the board:"}'],
    )

    @field_validator("engine")
    @classmethod
    def _in_lower_case(cls, engine: str | None) -> str | None:
        return engine.lower() if engine else engine

    def engine_options(self) -> dict[str, Any]:
        short, own = super().engine_options(), self.options or {}
        if twice := sorted(name for name in short.keys() & own.keys() if short[name] != own[name]):
            raise Invalid(f"{twice[0]} says one thing as a field and another in `options`", field=twice[0])
        return {**own, **short}


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
    body = {"type": "object", "required": ["file", *schema.get("required", ())], "properties": properties}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": body}}}}
