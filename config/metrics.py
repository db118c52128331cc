"""What processes measure, and how it is shown: Prometheus's text, of this process or of all on this machine.

    metrics.STAGE_SECONDS.labels("decode").observe(0.4)

A label is a word of a short list: a route's template, an engine's name, an outcome. Never an id, an owner, or anything
else that a caller chose. Every metric has labels, as nothing must be kept before `open_for` has said where.

What the platform as a whole stands at (jobs that wait, engines that are ready) is not measured but looked up when it is
asked for: `services.vitals`. Counts only grow; what happens now and then is a histogram; `_open` is how many there are.
"""

import hmac
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from threading import Thread
from time import perf_counter
from typing import Any
from wsgiref.simple_server import make_server

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import ThreadingWSGIServer, _SilentHandler, generate_latest
from prometheus_client.metrics_core import Metric

from config.shared_metrics import Folder
from config.telemetry_settings import TelemetrySettings
from domain.errors import BadSettings

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

SHORT = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
LONG = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0)
FACTORS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

REGISTRY = CollectorRegistry()
disable_created_metrics()  # a second series for each, which nothing here asks for


def counter(name: str, what: str, *labels: str) -> Counter:
    return Counter(f"escriba_{name}", what, labels, registry=REGISTRY)


def histogram(name: str, what: str, *labels: str, buckets: tuple[float, ...]) -> Histogram:
    return Histogram(f"escriba_{name}", what, labels, registry=REGISTRY, buckets=buckets)


HTTP_REQUESTS = counter("http_requests", "Requests answered, or given up by the client", "method", "route", "status")
HTTP_SECONDS = histogram("http_seconds", "Seconds to the first byte of the answer", "method", "route", buckets=SHORT)
UPLOADED_BYTES = counter("uploaded_bytes", "Bytes of recordings that were stored", "route")
STREAMS_OPEN = Gauge(
    "escriba_streams_open",
    "Clients that follow a job now",
    ("kind",),
    registry=REGISTRY,
    multiprocess_mode="livesum",
)

WAIT_SECONDS = histogram("job_wait_seconds", "From when a job could begin to its first attempt", "engine", buckets=LONG)
JOB_SECONDS = histogram(
    "job_seconds", "The same, to its transcript; less the first wait where it was tried again", "engine", buckets=LONG
)
ATTEMPTS = counter("attempts", "Attempts that ended", "engine", "outcome")
FAILURES = counter("attempt_failures", "Attempts that failed, by the code of the error", "code")
STAGE_SECONDS = histogram("stage_seconds", "Stages of attempts that came to their end", "stage", buckets=LONG)
REAL_TIME_FACTOR = histogram(
    "real_time_factor", "Seconds of work of the engine for each of audio", "engine", buckets=FACTORS
)
AUDIO_SECONDS = counter("audio_seconds", "Seconds of audio of completed jobs", "engine")

MESSAGES = counter("message_requests", "Requests by message that were kept", "outcome")

DELIVERIES = counter("delivery_attempts", "Tries to tell another system", "destination", "outcome")
DELIVERY_SECONDS = histogram("delivery_seconds", "Seconds of such a try", "destination", buckets=SHORT)

_shared: Folder | None = None


def open_for(settings: TelemetrySettings) -> None:
    """From here on, keep what is measured where the settings say, and show it on METRICS_PORT where that is set.

    Raises BadSettings.
    """
    global _shared
    if settings.metrics_dir is not None:
        try:
            _shared = Folder(settings.metrics_dir)
            _shared.take_slot()
        except OSError as error:
            raise BadSettings(
                f"METRICS_DIR {settings.metrics_dir} cannot be used ({error.strerror}): make it ours to write"
            ) from error


def serve(settings: TelemetrySettings) -> None:
    """Show this process's metrics on METRICS_PORT, in a thread, for a process without an HTTP door.

    Raises BadSettings.
    """
    if settings.metrics_port is None:
        return
    token = settings.metrics_token.get_secret_value() if settings.metrics_token else None
    try:
        server = make_server(
            settings.metrics_host,
            settings.metrics_port,
            _page(token),
            server_class=ThreadingWSGIServer,
            handler_class=_SilentHandler,
        )
    except OSError as error:
        raise BadSettings(
            f"METRICS_PORT {settings.metrics_port} of {settings.metrics_host} cannot be listened on "
            f"({error.strerror}): every worker of a machine needs its own"
        ) from error
    Thread(target=server.serve_forever, daemon=True).start()


def _page(token: str | None) -> Callable[[dict[str, Any], Any], Iterable[bytes]]:
    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if token is not None and not is_shown(token, environ.get("HTTP_AUTHORIZATION", "").partition(" ")[2]):
            start_response("401 Unauthorized", [("WWW-Authenticate", "Bearer")])
            return [b"METRICS_TOKEN is asked for\n"]
        start_response("200 OK", [("Content-Type", CONTENT_TYPE)])
        return [exposition()]

    return answer


def is_shown(token: str, credential: str) -> bool:
    return hmac.compare_digest(token.encode(), credential.strip().encode())


def exposition(*also: Metric) -> bytes:
    """What was measured, in Prometheus's text format, and `also`."""
    return generate_latest(_Collected(chain(REGISTRY.collect() if _shared is None else _shared.collect(), also)))


class _Collected:
    """What generate_latest takes: something that collects."""

    def __init__(self, found: Iterable[Metric]) -> None:
        self._found = found

    def collect(self) -> Iterable[Metric]:
        return self._found


@contextmanager
def counted(gauge: Gauge) -> Iterator[None]:
    """One more for as long as this lasts."""
    gauge.inc()
    try:
        yield
    finally:
        gauge.dec()


@contextmanager
def timed(seconds: Histogram) -> Iterator[None]:
    """How long it took, where it came to its end: what breaks off early would make things look fast."""
    began = perf_counter()
    yield
    seconds.observe(perf_counter() - began)
