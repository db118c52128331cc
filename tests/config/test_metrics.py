"""Where a process shows what it has measured, and to whom."""

import httpx
import pytest

from config import metrics
from config.load import load_section
from config.telemetry_settings import TelemetrySettings
from domain.errors import BadSettings
from tests.support.servers import free_port

TOKEN = "a token for scrapers, of 32 bytes"


def settings(**environ: str) -> TelemetrySettings:
    return load_section(TelemetrySettings, environ)


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"METRICS_TOKEN": "short"}, "METRICS_TOKEN: is too short"),
        ({"METRICS_HOST": "0.0.0.0"}, "METRICS_HOST: is not loopback"),
        ({"METRICS_PORT": "9101", "METRICS_DIR": "/tmp/m"}, "METRICS_PORT: goes with no METRICS_DIR"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}, "OTEL_EXPORTER_OTLP_ENDPOINT: should start with http"),
    ],
)
def test_what_would_show_too_much_or_nothing_stops_the_start(environ: dict[str, str], named: str) -> None:
    with pytest.raises(BadSettings, match=named):
        settings(**environ)


def test_a_worker_shows_its_own_on_a_port() -> None:
    port = free_port()
    metrics.ATTEMPTS.labels("shown", "completed").inc()
    metrics.serve(settings(METRICS_PORT=str(port)))
    answer = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=60)
    assert answer.headers["content-type"] == metrics.CONTENT_TYPE
    assert 'escriba_attempts_total{engine="shown",outcome="completed"} 1.0' in answer.text.splitlines()


def test_a_port_asks_for_the_token() -> None:
    port = free_port()
    metrics.serve(settings(METRICS_PORT=str(port), METRICS_TOKEN=TOKEN, METRICS_HOST="0.0.0.0"))
    url = f"http://127.0.0.1:{port}/metrics"
    assert httpx.get(url, timeout=60).status_code == 401
    assert httpx.get(url, headers={"Authorization": "Bearer another"}, timeout=60).status_code == 401
    assert httpx.get(url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60).status_code == 200


def test_a_port_that_is_taken_is_named() -> None:
    port = str(free_port())
    metrics.serve(settings(METRICS_PORT=port))
    with pytest.raises(BadSettings, match=f"METRICS_PORT {port} of 127.0.0.1 cannot be listened on"):
        metrics.serve(settings(METRICS_PORT=port))
