"""Spans of a process, as a collector gets them; and that nobody who makes none loads anything for it."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from tests.conftest import ROOT
from tests.support.collector import Collector, attributes_of
from tests.support.receiver import receiving

PROCESS = """
import sys
from uuid import UUID
from config import telemetry, traces
from config.load import load_section
from config.settings import LogSettings
from config.telemetry_settings import TelemetrySettings

telemetry.configure(LogSettings(), process="test")
traces.open_for(load_section(TelemetrySettings), process="test")
job_id = UUID(sys.argv[1])
import logging
with traces.span("request", parent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01") as span:
    span.rename("POST /somewhere")
    span.note(status=202)
    traces.link(job_id)
with traces.span("odd", parent="canary"):
    with traces.span("attempt", job_id=job_id):
        logging.getLogger("workers").info("within")
        try:
            with traces.span("hear"):
                raise ValueError("canary")
        except ValueError:
            pass
print(sorted(name for name in sys.modules if name.startswith("opentelemetry"))[:1])
"""


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with receiving() as receiver:
        yield Collector(receiver)


async def run(job_id: str, **environ: str) -> tuple[str, str]:
    """What a process says that makes a few spans: its output, and its log."""
    run = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", PROCESS, job_id],
        cwd=ROOT, env=environ, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return run.stdout.strip(), run.stderr


async def test_nothing_is_loaded_where_no_collector_is_set() -> None:
    loaded, log = await run(str(uuid4()))
    assert loaded == "[]"
    assert "trace_id" not in log


async def test_a_collector_gets_the_spans(collector: Collector) -> None:
    job_id = uuid4()
    said = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_EXPORTER_OTLP_HEADERS": "X-Key=a%20key,other=1"}
    _, log = await run(str(job_id), **said)
    spans = {span.name: span for span in collector.spans()}
    assert set(spans) == {"POST /somewhere", "odd", "attempt", "hear"}
    assert (collector.targets, collector.services()) == ({"/v1/traces"}, {"escriba-test"})
    assert (collector.headers["x-key"], collector.headers["other"]) == ("a key", "1")

    request = spans["POST /somewhere"]
    assert request.trace_id.hex() == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert request.parent_span_id.hex() == "00f067aa0ba902b7"
    assert [link.trace_id.hex() for link in request.links] == [job_id.hex]
    assert attributes_of(request) == {"escriba.status": 202, "escriba.job_id": str(job_id)}

    assert spans["attempt"].trace_id.hex() == job_id.hex
    assert spans["attempt"].parent_span_id == b""
    assert (spans["hear"].trace_id, spans["hear"].parent_span_id) == (
        spans["attempt"].trace_id,
        spans["attempt"].span_id,
    )
    assert (spans["hear"].status.message, list(spans["hear"].events)) == ("ValueError", [])
    assert spans["odd"].trace_id.hex() not in (job_id.hex, request.trace_id.hex())
    assert f'"trace_id": "{job_id.hex}", "span_id": "{spans["attempt"].span_id.hex()}"' in log
    assert "canary" not in str(collector.spans())
