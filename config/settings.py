"""What a process must know before it starts: one frozen model per section, units in the names.

Every field names the environment variable that sets it, and says what it is for: `docs/reference/settings.md` is
made from these by `config.reference`. Nothing here reads the environment: `config.load` does, for doors and workers.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from config.account_settings import AccountSettings
from config.audio_url_settings import AudioUrlSettings
from config.dialect_settings import OpenAISettings, SocketSettings, SubtitleSettings
from config.engine_settings import EngineSettings as EngineSettings  # engines, those of others too, take it from here
from config.fields import (
    AnyCase,
    Digits,
    Folder,
    Names,
    Port,
    PostgresUrl,
    RedisUrl,
    Section,
    env,
    is_loopback,
)
from config.rabbitmq_settings import RabbitMQSettings
from config.render_settings import RenderSettings
from config.telemetry_settings import TelemetrySettings
from config.upload_settings import UploadSettings
from config.webhook_settings import WebhookSettings


class ApiSettings(Section):
    """The HTTP door."""

    auth: Annotated[Literal["off", "required"], AnyCase] = env(
        "AUTH",
        "`required` asks every caller who they are; `off` serves one owner.",
        default="off",
    )
    insecure_no_auth: bool = env(
        "INSECURE_NO_AUTH",
        "Serve a network without asking who calls; every caller is the owner `public`.",
        default=False,
    )
    host: str = env(
        "API_HOST",
        "Address to listen on. Anything but loopback needs AUTH=required or INSECURE_NO_AUTH=1.",
        default="127.0.0.1",
    )
    port: Port = env("API_PORT", "Port to listen on; 0 takes a free one.", default=8000)
    workers: PositiveInt = env("API_WORKERS", "API processes that share the port.", default=1)
    allowed_hosts: Names = env(
        "ALLOWED_HOSTS", "Host names, besides loopback and plain IP addresses, that requests may name.", default=()
    )
    allowed_origins: Names = env(
        "ALLOWED_ORIGINS", "Origins of web pages, besides our own, that may use the API.", default=()
    )
    trusted_proxies: Names = env(
        "TRUSTED_PROXIES",
        "Addresses of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed: without it, all who come "
        "through one count as one address, and cookies are not kept to HTTPS.",
        default=(),
    )
    max_file_size_bytes: PositiveInt = env(
        "MAX_FILE_SIZE",
        "Largest recording, in bytes of the file part.",
        default=100_000_000,
        aliases=("MAX_FILE_SIZE_MB*1000000",),
    )
    shutdown_grace_seconds: PositiveFloat = env(
        "API_SHUTDOWN_GRACE_SEC", "Time that open requests get to end on shutdown.", default=5.0
    )

    @field_validator("host")
    @classmethod
    def _is_meant(cls, host: str, info: ValidationInfo) -> str:
        # What is malformed is missing from `info.data` and has its own complaint.
        open_door = info.data.get("auth", "required") == "off" and not info.data.get("insecure_no_auth", True)
        if open_door and not is_loopback(host):
            raise ValueError(
                "is not loopback, so the network could reach every recording unasked: say AUTH=required, keep "
                "127.0.0.1, or say INSECURE_NO_AUTH=1 if that is what you want"
            )
        return host


class DatabaseSettings(Section):
    """PostgreSQL."""

    url: PostgresUrl = env(
        "DATABASE_URL",
        "PostgreSQL 17 or later: postgresql://user:password@host:port/name. `escriba up` brings its own where not set.",
        aliases=("GRABADORA_DATABASE_URL",),
    )
    migration_url: PostgresUrl | None = env(
        "DATABASE_MIGRATION_URL", "The owner of the schema, for migrations; DATABASE_URL where not set.", default=None
    )
    pool_size: PositiveInt = env(
        "DATABASE_POOL_SIZE",
        "Connections a process keeps open at most; a worker has 2 × MAX_CONCURRENT_JOBS + 5 where that is more.",
        default=8,
    )


class RedisSettings(Section):
    """Redis."""

    url: RedisUrl = env(
        "REDIS_URL",
        "Redis, as redis://[:password@]host:port/db. `escriba up` brings its own where it is not set.",
        aliases=("GRABADORA_REDIS_URL",),
    )
    job_ttl_seconds: PositiveInt = env(
        "REDIS_JOB_TTL",
        "How long the key job:{id}:status outlives its last update. Jobs themselves never expire from the queue.",
        default=3600,
    )


class StorageSettings(Section):
    """Recordings and results."""

    root: Folder | None = env("STORAGE_DIR", "Folder for objects, where no S3 is named.", default=None)
    endpoint: str | None = env(
        "MINIO_ENDPOINT",
        "S3 server as host:port or URL; objects go to a folder where it is not set.",
        default=None,
        aliases=("S3_ENDPOINT", "S3_ENDPOINT_URL", "GRABADORA_S3_ENDPOINT_URL"),
    )
    public_endpoint: str | None = env(
        "MINIO_PUBLIC_ENDPOINT",
        "The same S3 server as browsers reach it: links are signed for this host.",
        default=None,
        aliases=("S3_PUBLIC_ENDPOINT",),
    )
    access_key: SecretStr | None = env(
        "MINIO_ACCESS_KEY", "S3 access key.", default=None, aliases=("S3_ACCESS_KEY", "GRABADORA_S3_ACCESS_KEY")
    )
    secret_key: SecretStr | None = env(
        "MINIO_SECRET_KEY", "S3 secret key.", default=None, aliases=("S3_SECRET_KEY", "GRABADORA_S3_SECRET_KEY")
    )

    @field_validator("access_key", "secret_key")
    @classmethod
    def _goes_with_the_server(cls, key: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if key is None and info.data.get("endpoint") is not None:
            raise ValueError("should be set where MINIO_ENDPOINT is")
        return key

    bucket: str = env(
        "MINIO_BUCKET_NAME",
        "S3 bucket; made where it is not there.",
        default="transcriptions",
        aliases=("S3_BUCKET", "GRABADORA_S3_BUCKET"),
    )
    use_ssl: bool = env(
        "MINIO_USE_SSL",
        "Speak TLS to an endpoint given without http:// or https://.",
        default=False,
        aliases=("S3_USE_SSL",),
    )
    region: str = env("S3_REGION", "S3 region that requests are signed for.", default="us-east-1")
    link_ttl_seconds: PositiveInt = env("LINK_TTL_SEC", "How long a link to a recording works.", default=3600)
    link_secret: SecretStr | None = env(
        "LINK_SECRET", "Key that signs links to objects in a folder; made and kept by `escriba up`.", default=None
    )


class MediaSettings(Section):
    """Decoding."""

    max_duration_seconds: Annotated[PositiveInt, Field(le=129_600)] = env(
        "MAX_AUDIO_DURATION_SEC",
        "Longest recording; at most 36 hours, as a WAV file of 16 kHz ends at 37.",
        default=36_000,
    )
    sample_rate_hz: Annotated[Literal[16_000], Digits] = env(
        "AUDIO_SAMPLE_RATE",
        "Samples a second that recordings are decoded to; the models know no other rate.",
        default=16_000,
    )
    work_dir: Folder | None = env(
        "TMP_DIR", "Folder for recordings while they are being worked on; the system's where not set.", default=None
    )
    decode_memory_bytes: PositiveInt = env(
        "DECODE_MEMORY_BYTES", "Address space of the decoding child.", default=2_147_483_648
    )


class WorkerSettings(Section):
    """Workers."""

    count: PositiveInt = env("WORKERS_COUNT", "Worker processes that `escriba up` starts.", default=2)
    max_concurrent_jobs: PositiveInt = env(
        "MAX_CONCURRENT_JOBS", "Jobs that one worker process attends to at once.", default=3
    )
    lease_seconds: PositiveFloat = env(
        "JOB_LEASE_SEC", "How long a worker may be silent before its jobs are given to others.", default=15.0
    )
    grace_seconds: PositiveFloat = env(
        "WORKER_GRACE_SEC",
        "Time that running jobs get to end on shutdown, before they go back to the queue.",
        default=10.0,
    )
    max_retries: NonNegativeInt = env("JOB_MAX_RETRIES", "Tries after an engine's transient failure.", default=3)
    deadline_floor_seconds: PositiveFloat = env(
        "JOB_DEADLINE_FLOOR_SEC", "The least time an attempt is given.", default=900.0
    )
    deadline_per_audio_second: PositiveFloat = env(
        "JOB_DEADLINE_PER_AUDIO_SEC", "Further seconds that an attempt is given for each second of audio.", default=10.0
    )


class RetentionSettings(Section):
    """How long things stay."""

    audio_hours: PositiveFloat = env(
        "AUDIO_RETENTION_HOURS", "How long a recording stays after its job ended well or was cancelled.", default=24.0
    )
    failed_audio_hours: PositiveFloat = env(
        "FAILED_AUDIO_RETENTION_HOURS",
        "How long the recording of a failed job stays, so that it can be run again.",
        default=168.0,
    )
    result_hours: PositiveFloat | None = env(
        "RESULT_RETENTION_HOURS",
        "After which an ended job is erased, transcript and all; left out: never.",
        default=None,
    )
    tombstone_hours: PositiveFloat = env(
        "TOMBSTONE_RETENTION_HOURS",
        "How long ids, times and hashes of an erased job stay, and with them its receipt.",
        default=8760.0,
    )
    orphan_hours: PositiveFloat = env("ORPHAN_RETENTION_HOURS", "How long an object without a job stays.", default=24.0)


class LogSettings(Section):
    """Logs."""

    level: Annotated[Literal["debug", "info", "warning", "error"], AnyCase] = env(
        "LOG_LEVEL", "Least level that is logged.", default="info"
    )


class Settings(Section):
    """The platform as a whole."""

    home: Folder = env(
        "ESCRIBA_HOME",
        "Folder of the embedded platform: database, objects, secrets, models.",
        default=Path("~/.local/share/escriba"),
    )
    api: ApiSettings
    accounts: AccountSettings
    database: DatabaseSettings
    redis: RedisSettings
    storage: StorageSettings
    uploads: UploadSettings
    audio_urls: AudioUrlSettings
    media: MediaSettings
    rendering: RenderSettings
    engines: EngineSettings
    workers: WorkerSettings
    retention: RetentionSettings
    webhooks: WebhookSettings
    rabbitmq: RabbitMQSettings
    sockets: SocketSettings
    subtitles: SubtitleSettings
    openai: OpenAISettings
    log: LogSettings
    telemetry: TelemetrySettings

    @model_validator(mode="after")
    def _callers_can_be_known(self) -> Self:
        if self.api.auth == "required" and self.api.insecure_no_auth:
            raise ValueError("AUTH=required and INSECURE_NO_AUTH=1 contradict each other: leave one out")
        if self.api.auth == "required" and self.accounts.jwt_key is None:
            raise ValueError("AUTH=required needs JWT_SECRET_KEY: at least 32 random bytes, the same for every process")
        return self

    @property
    def worker_connections(self) -> int:
        """Connections of one worker to PostgreSQL: a job in hand heartbeats while it writes; duties take the rest."""
        return max(self.database.pool_size, 2 * self.workers.max_concurrent_jobs + 5)
