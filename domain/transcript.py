"""What an engine heard, in one shape for every engine, store and format.

Times are seconds from the start of the recording. A `speaker_tag` counts speakers from 0 in the order in which they
first speak, or is the number of the channel where channels were heard apart; None: nobody told speakers apart. A
`confidence` is 0 to 1, and None where the engine has none of that meaning.
"""

from collections.abc import Iterable
from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from domain.text import Told

FORMAT_VERSION = 1

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Confidence = Annotated[float, Field(ge=0, le=1)]
SpeakerTag = Annotated[int, Field(ge=0)]


class Value(BaseModel):
    """A frozen value; an unknown field is a mistake, not an extension."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Span(Value):
    start: Seconds
    end: Seconds
    text: Told

    @model_validator(mode="after")
    def _runs_forward(self) -> Self:
        if self.end < self.start:
            raise ValueError(f"ends at {self.end} before it starts at {self.start}")
        return self


class Word(Span):
    confidence: Confidence | None = None
    speaker_tag: SpeakerTag | None = None


class Segment(Span):
    """A stretch of speech by one speaker, with its words in time order where the engine has them."""

    confidence: Confidence | None = None
    speaker_tag: SpeakerTag | None = None
    words: tuple[Word, ...] = ()


class Progress(Value):
    """How much audio an engine has dealt with in a stage. Never a guess: engines report it, or stay silent."""

    stage: Told
    done: Seconds
    total: Seconds


class Detected(Value):
    """The language that an engine settled on (BCP 47), with its own probability for it."""

    language: Told
    probability: Confidence | None = None


class Notice(Value):
    """Something that the reader of the transcript should know; `code` is public and stable."""

    code: Told
    message: Told


class Flag(Value):
    """A stretch of a transcript that a reader should look at; `code` is public and stable."""

    code: str
    start: Seconds
    end: Seconds
    message: str


class LeftOutTerm(Value):
    text: Told
    reason: Told


class TermsUsed(Value):
    """What an engine made of the vocabulary that it was given: the terms it listened for, and those it could not."""

    used: tuple[Told, ...] = ()
    left_out: tuple[LeftOutTerm, ...] = ()


class StageReached(Value):
    """The whole text as it stands after a stage. Kept, so that nothing before it need be done again."""

    stage: str = Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")
    language: Told | None = None
    segments: tuple[Segment, ...] = ()
    engine: str | None = None
    model: str | None = None
    terms: TermsUsed | None = None
    notices: tuple[Notice, ...] = ()
    """Who heard it, and what had been said until then. The platform fills in these four, for a job that goes on."""


Heard = Segment | Progress | Detected | Notice | TermsUsed | StageReached


class Vocabulary(Value):
    """What became of the context that a job was submitted with."""

    context_id: UUID
    version: int
    used: tuple[str, ...] = ()
    left_out: tuple[LeftOutTerm, ...] = ()
    matched: tuple[str, ...] = ()
    """The terms that stand in the transcript."""


class Transcript(Value):
    """The transcript that an engine produced. It is never changed: corrections live beside it."""

    format_version: int = FORMAT_VERSION
    language: str | None
    duration: Seconds
    engine: str
    engine_reason: str
    model: str | None = None
    segments: tuple[Segment, ...] = ()
    speakers_from: str | None = None
    """Who told the speakers apart: "channels", or the name of an engine; None where nobody did."""
    speaker_roles: dict[str, str] = Field(default_factory=dict)
    vocabulary: Vocabulary | None = None
    warnings: tuple[Notice, ...] = ()
    flags: tuple[Flag, ...] = ()

    @property
    def text(self) -> str:
        return join_text(segment.text for segment in self.segments)


def join_text(parts: Iterable[str]) -> str:
    return " ".join(stripped for part in parts if (stripped := part.strip()))
