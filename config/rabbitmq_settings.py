"""The RabbitMQ door: where the broker is, and which folders requests may name files of."""

from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import BeforeValidator, PositiveFloat, PositiveInt, SecretStr

from config.fields import AmqpUrl, AnyCase, Section, env
from domain.access import LOCAL_OWNER


class Root(NamedTuple):
    """A folder whose files requests may name, and whose jobs they become."""

    path: Path
    owner: str


def _read_roots(value: object) -> object:
    if not isinstance(value, str):
        return value
    return tuple(_read_root(part.strip()) for part in value.split(",") if part.strip())


def _read_root(text: str) -> Root:
    path, separator, owner = text.rpartition("=")
    root = Root(Path(path), owner) if separator else Root(Path(text), LOCAL_OWNER)
    if not root.path.is_absolute() or ".." in root.path.parts or not root.owner:
        raise ValueError("should be absolute folders such as /srv/audio, or /srv/audio=OWNER")
    return root


Roots = Annotated[tuple[Root, ...], BeforeValidator(_read_roots)]


class RabbitMQSettings(Section):
    """RabbitMQ."""

    url: AmqpUrl = env(
        "RABBITMQ_URL",
        "The broker, as amqp://user:password@host:port/vhost. `escriba up` starts the door where it is set.",
        default=SecretStr("amqp://guest:guest@localhost:5672/"),
    )
    queue_type: Annotated[Literal["classic", "quorum"], AnyCase] = env(
        "RABBITMQ_QUEUE_TYPE",
        "What queues are declared as; one that is there already is used as it is.",
        default="classic",
    )
    audio_roots: Roots = env(
        "AUDIO_FILE_ROOTS",
        "Folders whose files requests may name, as /srv/audio or /srv/audio=OWNER, whose jobs they then become; "
        "without one, every request is refused.",
        default=(),
    )
    delete_audio: bool = env(
        "AUDIO_FILE_DELETE",
        "Delete a file once its request has succeeded, before the result is published.",
        default=False,
    )
    confirm_timeout_seconds: PositiveFloat = env(
        "RABBITMQ_CONFIRM_TIMEOUT_SEC", "How long the broker may take to confirm a result.", default=10.0
    )
    connect_attempts: PositiveInt = env(
        "RABBITMQ_CONNECT_ATTEMPTS",
        "Tries to reach the broker at the start, before the process gives up; once connected, it tries for ever.",
        default=10,
    )
    connect_wait_seconds: PositiveFloat = env(
        "RABBITMQ_CONNECT_WAIT_SEC", "Time between two tries to reach the broker.", default=5.0
    )
