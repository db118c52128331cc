"""An OpenTelemetry collector on loopback: a receiver that understands OTLP over HTTP."""

from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.receiver import Receiver, always


class Collector:
    def __init__(self, receiver: Receiver) -> None:
        receiver.answer = always(200)
        self._receiver = receiver

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._receiver.port}"

    def spans(self) -> list[Span]:
        return [
            span
            for received in self._receiver.received
            for resource in ExportTraceServiceRequest.FromString(received.body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def services(self) -> set[str]:
        return {
            attribute.value.string_value
            for received in self._receiver.received
            for resource in ExportTraceServiceRequest.FromString(received.body).resource_spans
            for attribute in resource.resource.attributes
            if attribute.key == "service.name"
        }

    @property
    def headers(self) -> dict[str, str]:
        """Of the last that came."""
        return self._receiver.received[-1].headers

    @property
    def targets(self) -> set[str]:
        return {received.target for received in self._receiver.received}


def attributes_of(span: Span) -> dict[str, Any]:
    return {each.key: getattr(each.value, str(each.value.WhichOneof("value"))) for each in span.attributes}
