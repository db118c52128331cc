"""What settings are made of: a section, a field that names its environment variable, and the types that are read."""

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt, SecretStr


def env(name: str, doc: str, *, default: Any = ..., aliases: tuple[str, ...] = ()) -> Any:
    """A setting read from `name`; an alias may carry a factor to our unit, as in `"MAX_FILE_SIZE_MB*1000000"`."""
    return Field(default, description=doc, json_schema_extra={"env": name, "aliases": list(aliases)})


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _digits(value: object) -> object:
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _expand(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError("should not start with ~ where the user has no home folder: give the full path") from error


def _scheme(*schemes: str) -> AfterValidator:
    def check(url: SecretStr) -> SecretStr:
        if url.get_secret_value().partition("://")[0] not in schemes:
            raise ValueError(f"should start with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        return url

    return AfterValidator(check)


def _pair_up(value: object) -> object:
    parts = _split(value)
    if not isinstance(parts, tuple):
        return value
    if any("=" not in part for part in parts):
        raise ValueError("should be pairs such as en=/folder,es=/folder")
    return dict(part.split("=", 1) for part in parts)


Secrets = Annotated[tuple[SecretStr, ...], BeforeValidator(_split)]
Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
Folder = Annotated[Path, AfterValidator(_expand)]
Port = Annotated[int, Field(ge=0, le=65_535)]
Digits = BeforeValidator(_digits)
Ports = Annotated[tuple[Port, ...], BeforeValidator(_split)]
Counts = Annotated[tuple[PositiveInt, ...], BeforeValidator(_split)]
Folders = Annotated[dict[str, Folder], BeforeValidator(_pair_up)]
PostgresUrl = Annotated[SecretStr, _scheme("postgresql", "postgresql+asyncpg")]
RedisUrl = Annotated[SecretStr, _scheme("redis", "rediss", "unix")]
AmqpUrl = Annotated[SecretStr, _scheme("amqp", "amqps")]

AnyCase = BeforeValidator(_lower)
"""LOG_LEVEL=INFO and WHISPER_DEVICE=CPU are how many people write them."""


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


def is_loopback(host: str) -> bool:
    """Does `host`, an address or a name to listen on, stay on this machine?"""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
