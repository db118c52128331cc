"""The dashboards of deploy/, as tests read them."""

import json
import re
from dataclasses import dataclass
from typing import Any

from tests.conftest import ROOT

DEPLOY = ROOT / "deploy"


@dataclass(frozen=True, slots=True)
class Query:
    board: str
    panel: str
    expression: str

    def within(self, window: str) -> str:
        """As Grafana asks it, which knows how far back a rate has to look."""
        return self.expression.replace("$__rate_interval", window)


def boards() -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((DEPLOY / "grafana/dashboards").glob("*.json"))]


def queries() -> list[Query]:
    return [
        Query(board["title"], panel["title"], target["expr"])
        for board in boards()
        for panel in board["panels"]
        for target in panel["targets"]
    ]


def names_in(text: str) -> set[str]:
    """The metrics of ours that PromQL asks for."""
    return set(re.findall(r"\bescriba_\w+", text))
