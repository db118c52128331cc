"""Spans by OpenTelemetry, over OTLP/HTTP. Imported only where a collector is set (`config.traces`)."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.metadata import version
from urllib.parse import unquote
from uuid import UUID

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from config.telemetry_settings import TelemetrySettings

TRACES_PATH = "/v1/traces"
"""Behind the collector's address. https://opentelemetry.io/docs/specs/otlp/#otlphttp-request"""

SEND_SECONDS = 2.0
"""For all tries to send what has been gathered; at the end of a process it is waited for."""

logging.getLogger("opentelemetry").setLevel(logging.ERROR)  # every try with a collector that is away is a warning

_beginning: ContextVar[UUID | None] = ContextVar("beginning", default=None)


class JobIds(RandomIdGenerator):
    """A trace that is begun for a job has the job's id, which is as long."""

    def generate_trace_id(self) -> int:
        job_id = _beginning.get()
        return super().generate_trace_id() if job_id is None else job_id.int


class OtlpSpan:
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def note(self, **attributes: str | float) -> None:
        self._span.set_attributes({f"escriba.{name}": value for name, value in attributes.items()})


class OtlpSpans:
    def __init__(self, settings: TelemetrySettings, *, process: str) -> None:
        assert settings.traces_endpoint is not None
        about = {SERVICE_NAME: f"escriba-{process}", SERVICE_VERSION: version("escriba")}
        provider = TracerProvider(resource=Resource.create(about), id_generator=JobIds())
        headers = settings.traces_headers.get_secret_value() if settings.traces_headers else ""
        address = settings.traces_endpoint.rstrip("/") + TRACES_PATH
        exporter = OTLPSpanExporter(address, headers=_pairs(headers), timeout=SEND_SECONDS)
        provider.add_span_processor(BatchSpanProcessor(exporter))
        self.close = provider.shutdown
        self._tracer = provider.get_tracer("escriba")
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def span(self, name: str, *, job_id: UUID | None = None, parent: str | None = None) -> Iterator[OtlpSpan]:
        within = None if parent is None else self._propagator.extract({"traceparent": parent}, Context())
        token = _beginning.set(job_id)
        try:
            begun = self._tracer.start_span(name, Context() if job_id is not None else within)
        finally:
            _beginning.reset(token)
        # Not the library's record of an exception: its message may carry the value that was choked on.
        with trace.use_span(begun, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            try:
                yield OtlpSpan(begun)
            except BaseException as error:
                begun.set_status(trace.StatusCode.ERROR, type(error).__name__)
                raise

    def link(self, job_id: UUID) -> None:
        # A link has to name a span as well; which one the first attempt's will be, nobody knows yet.
        span, of_job = (
            trace.get_current_span(),
            trace.SpanContext(job_id.int, job_id.int & (1 << 64) - 1, is_remote=True),
        )
        span.add_link(of_job)
        span.set_attribute("escriba.job_id", str(job_id))

    def ids(self) -> dict[str, str]:
        context = trace.get_current_span().get_span_context()
        if not context.is_valid:
            return {}
        return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


def _pairs(headers: str) -> dict[str, str]:
    """As the specification has them: percent-encoded values, commas between."""
    split = (part.partition("=") for part in headers.split(",") if "=" in part)
    return {name.strip().lower(): unquote(value.strip()) for name, _, value in split}
