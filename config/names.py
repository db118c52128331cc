"""Every name that a setting may have in the environment, and the names that are somebody else's."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic.fields import FieldInfo

from config.fields import Section
from config.settings import Settings

RESERVED = {
    "PYTHON_PATH": "models run under the Python that runs Escriba; there is no second one to find",
    "WORKER_SCRIPT": "there is no worker script: decoding is ffmpeg in a sandbox, models run in the engine server",
}
"""Settings of systems that Escriba replaces, accepted so that their `.env` files still start, without effect."""

ELSEWHERE = {
    "ESCRIBA_URL": "`escriba transcribe` and `escriba engines`, for where the platform is",
    "COMPOSE_FILE": "Docker Compose",
    "COMPOSE_PROFILES": "Docker Compose",
    "COMPOSE_PROJECT_NAME": "Docker Compose",
    "MINIO_ROOT_PASSWORD": "the S3 server's container",
    "MINIO_ROOT_USER": "the S3 server's container",
    "OTEL_RESOURCE_ATTRIBUTES": "OpenTelemetry",
    "OTEL_TRACES_SAMPLER": "OpenTelemetry",
    "OTEL_TRACES_SAMPLER_ARG": "OpenTelemetry",
    "POSTGRES_DB": "PostgreSQL's container",
    "POSTGRES_PASSWORD": "PostgreSQL's container",
    "POSTGRES_USER": "PostgreSQL's container",
    "PYTHONPATH": "Python",
    "RABBITMQ_DEFAULT_PASS": "RabbitMQ's container",
    "RABBITMQ_DEFAULT_USER": "RabbitMQ's container",
    "TMPDIR": "the system, for temporary files",
}
"""Names that stand in the same `.env` or environment for another reader, so neither unknown nor a slip of ours."""

OUR_PREFIXES = ("ESCRIBA_", "GRABADORA_", "RIVA_", "WHISPERX_", "WHISPER_")


@dataclass(frozen=True, slots=True)
class Alias:
    """Another name for a setting; its value times `factor` is in the setting's unit."""

    name: str
    factor: int


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting and where it lands: `Settings.<section>.<field>`, or `Settings.<field>` without a section."""

    name: str
    section: str | None
    field: str
    info: FieldInfo

    @property
    def path(self) -> tuple[str, ...]:
        """Its place in Settings, as pydantic spells it in the `loc` of an error."""
        return (self.field,) if self.section is None else (self.section, self.field)

    @property
    def aliases(self) -> tuple[Alias, ...]:
        spellings = (spelling.partition("*") for spelling in _extra(self.info)["aliases"])
        return tuple(Alias(name, int(factor or 1)) for name, _, factor in spellings)


def every_setting() -> Iterator[Setting]:
    """All settings, in the order in which `config.settings` writes them."""
    for name, info in Settings.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section):
            for field, inner in info.annotation.model_fields.items():
                yield Setting(_extra(inner)["env"], name, field, inner)
        else:
            yield Setting(_extra(info)["env"], None, name, info)


def _extra(info: FieldInfo) -> dict[str, Any]:
    extra = info.json_schema_extra
    assert isinstance(extra, dict), "every field of a section is made by config.fields.env"
    return extra
