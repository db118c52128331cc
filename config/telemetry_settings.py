"""What a process shows of itself: metrics to Prometheus, traces to a collector."""

from pydantic import SecretStr, ValidationInfo, field_validator

from config.account_settings import check_key
from config.fields import Folder, Port, Section, env, is_loopback


class TelemetrySettings(Section):
    """Metrics and traces."""

    metrics_token: SecretStr | None = env(
        "METRICS_TOKEN",
        "What a scraper shows as a bearer token, at least 32 bytes; without it `GET /metrics` is the administrator's.",
        default=None,
    )
    metrics_dir: Folder | None = env(
        "METRICS_DIR",
        "Folder of this machine's own in which its processes add up what they measure, so that any API process shows "
        "all of it; `escriba up` brings one. Each process shows its own where it is not set.",
        default=None,
    )
    metrics_port: Port | None = env(
        "METRICS_PORT",
        "Port on which a process without an HTTP door (a worker) shows its own metrics; none where not set.",
        default=None,
    )
    metrics_host: str = env(
        "METRICS_HOST",
        "Address for METRICS_PORT. Anything but loopback needs METRICS_TOKEN.",
        default="127.0.0.1",
    )
    traces_endpoint: str | None = env(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "Collector that traces are sent to by OTLP over HTTP, as http://host:4318; none are made where not set.",
        default=None,
    )
    traces_headers: SecretStr | None = env(
        "OTEL_EXPORTER_OTLP_HEADERS", "Headers for the collector, as name=value,name=value.", default=None
    )

    @field_validator("metrics_token")
    @classmethod
    def _is_long(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None:
            check_key(token)
        return token

    @field_validator("metrics_port")
    @classmethod
    def _is_not_shown_twice(cls, port: int | None, info: ValidationInfo) -> int | None:
        if port is not None and info.data.get("metrics_dir") is not None:
            raise ValueError(
                "goes with no METRICS_DIR, which `escriba up` sets: there the API's /metrics has what workers measure; "
                "leave METRICS_PORT out"
            )
        return port

    @field_validator("metrics_host")
    @classmethod
    def _asks_strangers_for_a_token(cls, host: str, info: ValidationInfo) -> str:
        # A malformed METRICS_TOKEN is missing from `info.data` and has its own complaint.
        if not is_loopback(host) and info.data.get("metrics_token", host) is None:
            raise ValueError(
                "is not loopback, so the network could read the metrics unasked: set METRICS_TOKEN as well"
            )
        return host

    @field_validator("traces_endpoint")
    @classmethod
    def _is_a_url(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("http://", "https://")):
            raise ValueError("should start with http:// or https://")
        return url
