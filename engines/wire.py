"""What the engine server and its clients say to each other.

A client posts a Hearing as one line of JSON, then the WAV; in the body, as a vocabulary can outgrow any header. The
server answers with events, one JSON object a line.

Three of them tell of time passing and not of speech: `queued` while other jobs are before this one, `started` once the
model is in memory, and `working` between the two and whenever the engine is silent. One line comes at least every
PULSE_SECONDS, so a connection without any is dead; how long an engine may be silent, the client decides.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, TypeAdapter

from domain.errors import EngineBusy, EngineCrashed, EngineFailed, EngineOutOfMemory, EngineSilent, ModelMissing
from domain.transcript import Detected, Heard, Notice, Progress, Segment, StageReached, TermsUsed, Value

PULSE_SECONDS = 5.0
"""The longest that the engine server is silent on a connection."""

LONGEST_LINE = 64 << 20
"""Bytes of one line, either way: a text of 400,000 words with their times, more than anybody says in a day."""


class Queued(Value):
    event: Literal["queued"] = "queued"
    ahead: int


class Working(Value):
    """It is this job's turn and the child lives; whether the engine gets anywhere, this does not say."""

    event: Literal["working"] = "working"


class Started(Value):
    event: Literal["started"] = "started"


class Said(Value):
    """Something that the engine yields."""

    event: Literal["segment", "progress", "detected", "notice", "terms", "reached"]
    value: Heard

    @classmethod
    def of(cls, heard: Heard) -> Self:
        match heard:
            case Segment():
                return cls(event="segment", value=heard)
            case Progress():
                return cls(event="progress", value=heard)
            case Detected():
                return cls(event="detected", value=heard)
            case Notice():
                return cls(event="notice", value=heard)
            case TermsUsed():
                return cls(event="terms", value=heard)
            case StageReached():
                return cls(event="reached", value=heard)


class Done(Value):
    event: Literal["done"] = "done"


_ERRORS = {error.code: error for error in (EngineBusy, EngineCrashed, EngineOutOfMemory, EngineSilent, ModelMissing)}


class Failure(Value):
    event: Literal["error"] = "error"
    code: str
    message: str
    retryable: bool

    @classmethod
    def of(cls, error: EngineFailed) -> Self:
        return cls(code=error.code, message=str(error), retryable=error.retryable)

    def to_error(self) -> EngineFailed:
        return _ERRORS.get(self.code, EngineFailed)(self.message, retryable=self.retryable)


Event = Queued | Working | Started | Said | Done | Failure

_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])


def parse_event(line: bytes | str) -> Event:
    """Raises pydantic.ValidationError for a line that is no event."""
    return _EVENT.validate_json(line)


def encode(message: Value) -> bytes:
    return message.model_dump_json(exclude_none=True).encode() + b"\n"
