"""Processes of one machine add up what they measure, and what the killed ones counted stays counted."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric

from config.metrics import LONG, REGISTRY
from config.shared_metrics import Folder
from tests.conftest import ROOT

PROCESS = """
import sys
from pathlib import Path
from config import metrics
from config.load import load_section
from config.telemetry_settings import TelemetrySettings

metrics.open_for(load_section(TelemetrySettings, {"METRICS_DIR": sys.argv[1]}))
metrics.STREAMS_OPEN.labels("sse").inc()
for line in sys.stdin:
    for _ in range(int(line)):
        metrics.ATTEMPTS.labels("e", "completed").inc()
        metrics.STAGE_SECONDS.labels("decode").observe(0.2)
    print("done", flush=True)
"""


class Counting:
    """A process with one open stream that counts attempts as it is told."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(folder)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.count(1)

    def count(self, attempts: int) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{attempts}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def end(self, how: signal.Signals = signal.SIGKILL) -> None:
        self.process.send_signal(how)
        self.process.communicate()


@contextmanager
def counting(folder: Path) -> Iterator[Counting]:
    process = Counting(folder)
    try:
        yield process
    finally:
        process.end()


def read(folder: Path) -> dict[str, float]:
    """The samples by name and, of buckets, their end."""
    found: dict[str, Metric] = {metric.name: metric for metric in Folder(folder).collect()}
    return {
        sample.name + sample.labels.get("le", ""): sample.value
        for metric in found.values()
        for sample in metric.samples
    }


def test_processes_are_added_up(tmp_path: Path) -> None:
    with counting(tmp_path) as one, counting(tmp_path) as other:
        one.count(2)
        other.count(3)
        samples = read(tmp_path)
    assert samples["escriba_attempts_total"] == 7
    assert samples["escriba_streams_open"] == 2
    assert samples["escriba_stage_seconds_count"] == 7
    assert samples["escriba_stage_seconds_sum"] == pytest.approx(1.4)
    assert [samples[f"escriba_stage_seconds_bucket{end}"] for end in (LONG[2], LONG[3])] == [0, 7]


def test_what_a_killed_process_counted_stays_and_what_it_had_open_does_not(tmp_path: Path) -> None:
    with counting(tmp_path) as one, counting(tmp_path) as other:
        one.count(4)
        one.end(signal.SIGKILL)
        samples = read(tmp_path)
        assert (samples["escriba_attempts_total"], samples["escriba_streams_open"]) == (6, 1)
        other.end(signal.SIGKILL)
        samples = read(tmp_path)
        assert samples["escriba_attempts_total"] == 6
        assert "escriba_streams_open" not in samples


def test_a_successor_goes_on_where_the_killed_one_stood(tmp_path: Path) -> None:
    for _ in range(5):
        with counting(tmp_path) as process:
            process.count(9)
            assert read(tmp_path)["escriba_streams_open"] == 1
    assert read(tmp_path)["escriba_attempts_total"] == 50
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "0.lock", "counter_0.db", "gauge_livesum_0.db", "histogram_0.db",
    ]  # fmt: skip


def test_a_file_that_its_process_had_not_begun_to_fill_hides_none_of_the_others(tmp_path: Path) -> None:
    with counting(tmp_path):
        (tmp_path / "counter_7.db").touch()
        assert read(tmp_path)["escriba_attempts_total"] == 1


def test_every_metric_has_labels() -> None:
    """One without would be kept in memory alone: it is made before anybody has said where its folder is."""
    assert [name for name, metric in vars(REGISTRY)["_names_to_collectors"].items() if not metric._labelnames] == []
