"""What the engine server and its children say to each other: one JSON object a line, as in `engines.wire`."""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from config.settings import EngineSettings, LogSettings
from domain.transcript import Value
from engines.contract import Hearing
from engines.wire import Done, Failure, Said

OUT_OF_MEMORY = "out of memory: choose a smaller model, or give the engine server more memory"


class Setup(Value):
    """The first line that a child reads."""

    engine: str
    model: str | None = None
    settings: EngineSettings
    log: LogSettings


class Job(Value):
    """To a child: hear this file. Numbers grow, so that a late Cancel cannot hit the next job."""

    order: Literal["job"] = "job"
    number: int
    audio: str
    hearing: Hearing


class Cancel(Value):
    """To a child: drop job `number` if you are still at it."""

    order: Literal["cancel"] = "cancel"
    number: int


Order = Job | Cancel

_ORDER: TypeAdapter[Order] = TypeAdapter(Annotated[Order, Field(discriminator="order")])


def parse_order(line: bytes) -> Order:
    return _ORDER.validate_json(line)


class Ready(Value):
    """The model is in memory."""

    event: Literal["ready"] = "ready"


class Stopped(Value):
    """It is done with a job that was cancelled or has failed, and can take another."""

    event: Literal["stopped"] = "stopped"


ChildEvent = Ready | Said | Done | Failure | Stopped

_CHILD_EVENT: TypeAdapter[ChildEvent] = TypeAdapter(Annotated[ChildEvent, Field(discriminator="event")])


def parse_child_event(line: bytes) -> ChildEvent:
    """Raises pydantic.ValidationError for a line that is no event."""
    return _CHILD_EVENT.validate_json(line)
