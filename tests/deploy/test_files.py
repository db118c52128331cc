"""The files for Prometheus and Grafana are well-formed, and ask for what Escriba shows: no more, and no less."""

import re
import shutil
import subprocess
from collections import Counter
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.scrape import Scrape
from config.metrics import REGISTRY
from services.platform import Platform
from tests.conftest import ROOT, require_services
from tests.deploy.boards import DEPLOY, boards, names_in, queries

ALERTS = (DEPLOY / "alerts.yml").read_text()


def promtool(*arguments: str, heard: bytes | None = None) -> None:
    program = shutil.which("promtool")
    if program is None:
        assert not require_services(), "promtool is missing: run `make ci-services`"
        pytest.skip("needs promtool: run `make ci-services`")
    said = subprocess.run([program, *arguments], cwd=DEPLOY, input=heard, capture_output=True)
    assert said.returncode == 0, (said.stdout + said.stderr).decode()


def test_prometheus_takes_the_configuration() -> None:
    promtool("check", "config", "prometheus.yml")


def test_prometheus_takes_the_alerts() -> None:
    promtool("check", "rules", "alerts.yml")


def test_alerts_call_when_something_is_wrong_and_only_then() -> None:
    promtool("test", "rules", "alerts_test.yml")


def test_every_alert_is_tried_out() -> None:
    declared = re.findall(r"- alert: (\w+)", ALERTS)
    tried = re.findall(r'alertname="(\w+)"', (DEPLOY / "alerts_test.yml").read_text())
    assert sorted(declared) == sorted(tried)


def test_boards_have_names_of_their_own() -> None:
    assert [n for name in ("uid", "title") for n in Counter(board[name] for board in boards()).values() if n > 1] == []


@pytest.mark.parametrize("board", boards(), ids=lambda board: board["uid"])
def test_panels_have_names_and_places_of_their_own(board: dict[str, Any]) -> None:
    for name in ("id", "title"):
        assert max(Counter(panel[name] for panel in board["panels"]).values()) == 1
    cells = Counter(cell for panel in board["panels"] for cell in cells_of(**panel["gridPos"]))
    assert max(cells.values()) == 1
    assert all(panel["targets"] for panel in board["panels"])


def cells_of(x: int, y: int, w: int, h: int) -> list[tuple[int, int]]:
    assert x + w <= 24, "beyond the edge of Grafana's grid"
    return [(column, row) for column in range(x, x + w) for row in range(y, y + h)]


def test_docker_compose_mounts_what_is_there() -> None:
    compose = (ROOT / "docker-compose.dev.yml").read_text()
    mounted = re.findall(r"- \./(deploy/\S+?):", compose)
    assert len(mounted) == 4
    assert [path for path in mounted if not (ROOT / path).exists()] == []
    token = re.search(r"METRICS_TOKEN: (\S+)", compose)
    assert token is not None
    assert f"credentials: {token[1]}" in (DEPLOY / "prometheus.yml").read_text()


async def test_prometheus_finds_nothing_amiss_in_how_metrics_are_named(platform: Platform) -> None:
    promtool("check", "metrics", heard=await Scrape(platform).answer())


async def test_what_is_asked_for_is_shown_and_what_is_shown_is_asked_for(platform: Platform) -> None:
    measured = {family.name for family in REGISTRY.collect()}
    text = (await Scrape(platform).answer()).decode()
    shown = {family.name for family in text_string_to_metric_families(text)} | measured
    asked = names_in(ALERTS + " ".join(query.expression for query in queries()))
    assert {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in asked} == shown
